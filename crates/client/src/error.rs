//! Why a call failed: one enum, a kind for each thing that a caller can act on.

use std::time::Duration;

use berth_agb_api::Code;
use berth_agb_api::envelope::Received;

/// What went wrong. Texts that come from the server are shown as they came: they name the field, the value and what is
/// allowed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The session is over, or this key never had it. The message says why and when.
    #[error("{message}")]
    SessionEnded {
        /// The session.
        id: String,
        /// The server's words.
        message: String,
    },
    /// The API key is missing, unknown, revoked or expired; or a session's token is not the right one.
    #[error("{message}")]
    InvalidApiKey {
        /// What is wrong with it.
        message: String,
    },
    /// Something that was asked for is not allowed; the message names the field.
    #[error("{message}")]
    InvalidParameter {
        /// The field, its value, what is allowed.
        message: String,
    },
    /// The key has reached one of its limits.
    #[error("{message}")]
    QuotaExceeded {
        /// The limit and its value.
        message: String,
    },
    /// The server has no room for another session now.
    #[error("{message}")]
    NoCapacity {
        /// What is lacking.
        message: String,
    },
    /// No connection to the server came about, so nothing was done.
    #[error("could not reach {endpoint}")]
    Unreachable {
        /// Scheme, host and port.
        endpoint: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The connection broke before the answer was there. What was asked for may have been done.
    #[error(
        "lost the connection to {endpoint} before the answer came; what was asked for may have been done"
    )]
    Disconnected {
        /// Scheme, host and port.
        endpoint: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There was no answer in time. What was asked for may have been done.
    #[error("{what} took longer than {} s", .limit.as_secs_f64())]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        limit: Duration,
    },
    /// A tool refused its arguments or failed.
    #[error("{message}")]
    Tool {
        /// The tool.
        tool: String,
        /// Its words.
        message: String,
    },
    /// Another refusal or failure of the server.
    #[error("{message}")]
    Api {
        /// The protocol's word for it; empty if there was none.
        code: String,
        /// The server's words.
        message: String,
        /// Under which the server's log has it; empty if there was none.
        request_id: String,
        /// The HTTP status.
        status: u16,
    },
    /// What answered does not speak the protocol, or said more than this client takes.
    #[error("unexpected answer from the server: {0}")]
    Protocol(String),
}

impl Error {
    /// The name of the kind, for programs.
    pub fn kind(&self) -> &'static str {
        match self {
            Error::SessionEnded { .. } => "SessionEnded",
            Error::InvalidApiKey { .. } => "InvalidApiKey",
            Error::InvalidParameter { .. } => "InvalidParameter",
            Error::QuotaExceeded { .. } => "QuotaExceeded",
            Error::NoCapacity { .. } => "NoCapacity",
            Error::Unreachable { .. } => "Unreachable",
            Error::Disconnected { .. } => "Disconnected",
            Error::Timeout { .. } => "Timeout",
            Error::Tool { .. } => "Tool",
            Error::Api { .. } => "Api",
            Error::Protocol(_) => "Protocol",
        }
    }

    /// A value that is refused before anything is sent.
    pub(crate) fn invalid(field: &str, got: impl std::fmt::Display, allowed: &str) -> Self {
        Error::InvalidParameter {
            message: format!("`{field}` is {got}; allowed: {allowed}"),
        }
    }

    /// The kind of a refusal. `session` is the one that the request was about.
    pub(crate) fn refused(status: u16, session: Option<&str>, answer: Received<'_>) -> Self {
        let code = answer.code.unwrap_or_default();
        let message = answer
            .message
            .filter(|message| !message.trim().is_empty())
            .unwrap_or_else(|| format!("the server answered with HTTP status {status} and no reason"));
        let is = |wanted: Code| code == wanted.as_str();
        if is(Code::SessionNotFound) {
            let id = session.unwrap_or_default().to_owned();
            Error::SessionEnded { id, message }
        } else if is(Code::InvalidApiKey) {
            Error::InvalidApiKey { message }
        } else if is(Code::InvalidParameter) || is(Code::ImageNotFound) || is(Code::BodyTooLarge) {
            Error::InvalidParameter { message }
        } else if code.starts_with("QuotaExceeded.") {
            Error::QuotaExceeded { message }
        } else if is(Code::NoCapacity) {
            Error::NoCapacity { message }
        } else {
            let request_id = answer.request_id.unwrap_or_default();
            Error::Api {
                code,
                message,
                request_id,
                status,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: &str) -> Error {
        let answer = Received {
            code: Some(code.into()),
            message: Some("why".into()),
            request_id: Some("r-1".into()),
            ..Received::default()
        };
        Error::refused(400, Some("s-1"), answer)
    }

    #[test]
    fn each_code_has_its_kind_and_keeps_the_servers_words() {
        for (code, kind) in [
            ("InvalidMcpSession.NotFound", "SessionEnded"),
            ("InvalidApiKey", "InvalidApiKey"),
            ("InvalidParameter", "InvalidParameter"),
            ("InvalidImage.NotFound", "InvalidParameter"),
            ("QuotaExceeded.Sessions", "QuotaExceeded"),
            ("NoCapacity", "NoCapacity"),
            ("SessionPaused", "Api"),
            ("", "Api"),
        ] {
            let error = refused(code);
            assert_eq!(error.kind(), kind, "{code}");
            assert_eq!(error.to_string(), "why");
        }
        assert!(
            matches!(refused("InvalidMcpSession.NotFound"), Error::SessionEnded { id, .. } if id == "s-1")
        );
        assert!(matches!(refused("X"), Error::Api { status: 400, request_id, .. } if request_id == "r-1"));
    }

    #[test]
    fn a_refusal_without_words_still_says_something() {
        let error = Error::refused(502, None, Received::default());
        assert!(error.to_string().contains("502"), "{error}");
    }
}
