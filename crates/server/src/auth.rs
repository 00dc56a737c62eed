//! Who calls: an API key on the API, a token on a session's own routes.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use berth_agb_api::Code;
use berth_control::{ControlError, KeyRow, Session};
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
        let key = bearer(&parts.headers)?.ok_or_else(|| refused("the API key is missing"))?;
        Self::with_key(app, key).await
    }
}

impl FormerCaller {
    async fn with_key(app: &App, key: &str) -> Result<Self, ApiError> {
        match app.control.authenticate(key).await? {
            Some(key) => {
                audit::asked_by(&key);
                Ok(Self { key })
            }
            None => Err(refused("the API key is unknown")),
        }
    }
}

/// What the request shows as `Authorization: Bearer`, if it has that header.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let Some(header) = headers.get(AUTHORIZATION) else {
        return Ok(None);
    };
    header
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, shown)| Some(shown.trim()))
        .ok_or_else(|| refused("the Authorization header is not `Bearer KEY`"))
}

/// The caller of a route that takes its API key in the query as well, for clients that can send nothing but a URL.
pub(crate) async fn key_of(
    app: &App,
    headers: &HeaderMap,
    in_query: Option<&str>,
) -> Result<Caller, ApiError> {
    let key = bearer(headers)?
        .or(in_query)
        .ok_or_else(|| refused("the API key is missing"))?;
    FormerCaller::with_key(app, key).await?.valid()
}

/// The session, if the caller shows its token.
pub(crate) async fn by_token(app: &App, headers: &HeaderMap, id: &str) -> Result<Arc<Session>, ApiError> {
    audit::names(id);
    Ok(app.control.session_by_token(id, token(headers)?).await?)
}

/// The session, if the caller shows its token or the key that owns it. `Authorization: Bearer` takes either.
pub(crate) async fn holder(app: &App, headers: &HeaderMap, id: &str) -> Result<Arc<Session>, ApiError> {
    audit::names(id);
    let session = match (headers.contains_key(ACCESS_TOKEN), bearer(headers)?) {
        (false, Some(shown)) => match app.control.session_by_token(id, shown).await {
            Err(ControlError::WrongToken { .. }) => {
                let caller = FormerCaller::with_key(app, shown).await?.valid()?;
                audit::note(|note| note.credential = Some("key"));
                app.control.session(&caller.key.id, id).await
            }
            by_token => by_token,
        },
        (false, None) => {
            return Err(refused(
                "a credential is missing, and the session's token would do as well",
            ));
        }
        (true, _) => app.control.session_by_token(id, token(headers)?).await,
    }?;
    audit::uses(&session);
    Ok(session)
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
