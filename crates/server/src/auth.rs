//! Who calls: an API key on the API, a token on a session's own routes.

use axum::extract::FromRequestParts;
use berth_agb_api::Code;
use berth_control::KeyRow;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use jiff::Timestamp;

use crate::error::ApiError;
use crate::{App, audit};

/// The header in which clients send a session's token.
const ACCESS_TOKEN: &str = "x-access-token";

/// A caller with a valid API key.
#[derive(Debug)]
pub(crate) struct Caller {
    /// The key: sessions belong to it.
    pub(crate) key: KeyRow,
}

/// A caller with an API key that may have been revoked or have expired: enough to be told that a session is over, since
/// a client that waits for that would wait on for minutes if it were refused.
#[derive(Debug)]
pub(crate) struct FormerCaller {
    /// The key.
    pub(crate) key: KeyRow,
}

impl FormerCaller {
    /// The caller, if its key is still valid.
    pub(crate) fn valid(self) -> Result<Caller, ApiError> {
        if self.key.is_valid(Timestamp::now()) {
            return Ok(Caller { key: self.key });
        }
        Err(refused("the API key was revoked or has expired"))
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        FormerCaller::from_request_parts(parts, app).await?.valid()
    }
}

impl FromRequestParts<App> for FormerCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
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
            Some(key) => {
                audit::asked_by(&key);
                Ok(Self { key })
            }
            None => Err(refused("the API key is unknown")),
        }
    }
}

fn refused(why: &str) -> ApiError {
    ApiError::new(
        Code::InvalidApiKey,
        format!("{why}; send `Authorization: Bearer KEY` with a key from `berth key create`"),
    )
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
