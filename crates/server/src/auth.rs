//! Who calls: an API key on the API, a token on a session's own routes.

use axum::extract::FromRequestParts;
use berth_agb_api::Code;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;

use crate::App;
use crate::error::ApiError;

/// The header in which clients send a session's token.
const ACCESS_TOKEN: &str = "x-access-token";

/// A caller with a valid API key.
#[derive(Debug)]
pub(crate) struct Caller {
    /// The key's id: sessions belong to it.
    pub(crate) key_id: String,
}

impl FromRequestParts<App> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let refused = |why: &str| {
            ApiError::new(
                Code::InvalidApiKey,
                format!("{why}; send `Authorization: Bearer KEY` with a key from `berth key create`"),
            )
        };
        let header = parts
            .headers
            .get(AUTHORIZATION)
            .ok_or_else(|| refused("the API key is missing"))?;
        let key = header
            .to_str()
            .ok()
            .and_then(|text| text.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, key)| key.trim())
            .ok_or_else(|| refused("the Authorization header is not `Bearer KEY`"))?;
        match app.control.authenticate(key).await? {
            Some(key_id) => Ok(Self { key_id }),
            None => Err(refused("the API key is unknown or revoked")),
        }
    }
}

/// The session token that a request carries, or a refusal.
pub(crate) fn token(headers: &HeaderMap) -> Result<&str, ApiError> {
    headers
        .get(ACCESS_TOKEN)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| {
            ApiError::new(
                Code::InvalidApiKey,
                "the session token is missing; send it as `X-Access-Token`",
            )
        })
}
