//! The one error of the edge, and the one place where the layers below get their status and code.

use std::error::Error;

use axum::response::{IntoResponse, Response};
use berth_agb_api::{Code, LabelError};
use berth_control::{ControlError, QuotaLimit};
use berth_guest_client::GuestError;
use http::StatusCode;

/// What a client is told when its request fails. The cause, if there is one, goes to the log and not to the client.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) cause: Option<Box<dyn Error + Send + Sync>>,
}

impl ApiError {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            cause: None,
        }
    }

    /// An error of a layer below, under its code. Our own faults keep their cause, for the log.
    fn of(code: Code, error: impl Error + Send + Sync + 'static) -> Self {
        let api = Self::new(code, error.to_string());
        match code {
            Code::Internal | Code::DatabaseBusy => Self {
                cause: Some(Box::new(error)),
                ..api
            },
            _ => api,
        }
    }

    /// A field that is missing.
    pub(crate) fn missing(field: &str, allowed: &str) -> Self {
        Self::new(
            Code::InvalidParameter,
            format!("`{field}` is missing; allowed: {allowed}"),
        )
    }

    /// The same where a link was shown. Its clients are not those of the API, where an ended session is a 400.
    pub(crate) fn of_link(self) -> Self {
        let code = match self.code {
            Code::SessionNotFound => Code::LinkEnded,
            code => code,
        };
        Self { code, ..self }
    }

    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<ControlError> for ApiError {
    fn from(error: ControlError) -> Self {
        use ControlError as E;
        // No wildcard: a new variant does not compile until someone chose its code.
        let code = match &error {
            E::UnknownSession { .. } | E::EndedSession { .. } => Code::SessionNotFound,
            E::Elsewhere { .. } => Code::SessionElsewhere,
            E::Quota {
                limit: QuotaLimit::Sessions,
                ..
            } => Code::QuotaSessions,
            E::Quota {
                limit: QuotaLimit::Memory,
                ..
            } => Code::QuotaMemory,
            E::Quota {
                limit: QuotaLimit::Creations,
                ..
            } => Code::QuotaCreations,
            E::WrongToken { .. } => Code::InvalidApiKey,
            E::UnknownLink | E::UnknownPicture => Code::LinkNotFound,
            E::UnknownImage { .. } => Code::ImageNotFound,
            E::Invalid { .. } | E::TooManyTickets { .. } => Code::InvalidParameter,
            E::Full { .. } => Code::NoCapacity,
            E::SandboxId(_) | E::Start(_) | E::Silent { .. } | E::Freeze(_) | E::Store(_) | E::Images(_) => {
                Code::Internal
            }
        };
        Self::of(code, error)
    }
}

impl From<GuestError> for ApiError {
    fn from(error: GuestError) -> Self {
        let code = match &error {
            GuestError::TimedOut(_) => Code::SessionTimeout,
            GuestError::NotListening { .. } => Code::PortUnavailable,
            GuestError::Refused(_) => Code::InvalidParameter,
            GuestError::NoPicture(_) => Code::LinkNotFound,
            GuestError::Outdated(_) => Code::SessionOutdated,
            GuestError::TooMuch => Code::NoCapacity,
            GuestError::Unreachable(_) | GuestError::Unexpected(_) => Code::Internal,
        };
        Self::of(code, error)
    }
}

impl From<LabelError> for ApiError {
    fn from(error: LabelError) -> Self {
        Self::new(Code::InvalidParameter, error.to_string())
    }
}

/// The error travels in the response's extensions; [`crate::request`] gives it its body, because only there is the
/// request's id known.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(std::sync::Arc::new(self));
        response
    }
}
