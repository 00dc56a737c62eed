//! Refusals in JSON-RPC's words. On MCP's routes the body of a refusal is both: Berth's envelope, and an error that an MCP
//! client shows to its user.

use berth_agb_api::Code;
use berth_agb_api::envelope::Failure;
use rmcp::model::{ErrorCode, ErrorData};
use serde::Serialize;
use serde_json::json;
use tracing::{error, info};

use crate::error::ApiError;

/// Whether the clients of a route speak MCP; `route` is its pattern.
pub(crate) fn is_spoken_on(route: &str) -> bool {
    route == "/link/{session}/mcp" || route == "/v2/mcp" || route.starts_with("/v2/sse")
}

/// MCP's clients begin anew on a 404, so that is the status when there is no such session any more.
pub(crate) fn as_not_found(error: ApiError) -> ApiError {
    match error.code {
        Code::SessionNotFound => ApiError {
            code: Code::McpSessionNotFound,
            ..error
        },
        _ => error,
    }
}

/// The body of a refusal for a client of either protocol.
#[derive(Debug, Serialize)]
pub(crate) struct Both<'a> {
    #[serde(flatten)]
    envelope: Failure<'a>,
    jsonrpc: &'static str,
    /// The request was refused before anybody looked at its id.
    id: (),
    error: ErrorData,
}

/// Adds JSON-RPC's members to a failure.
pub(crate) fn with_json_rpc<'a>(envelope: Failure<'a>, code: Code, message: &str) -> Both<'a> {
    Both {
        envelope,
        jsonrpc: "2.0",
        id: (),
        error: error_data(code, message.to_owned()),
    }
}

/// A refusal in the answer to a request, which the log tells of as it does of one by status.
pub(super) fn in_answer(what: &str, refused: ApiError) -> ErrorData {
    let message = logged(what, &refused);
    error_data(refused.code, message)
}

/// Logs a refusal whose answer is a success by its status; gives back the text for the client.
pub(super) fn logged(what: &str, refused: &ApiError) -> String {
    match &refused.cause {
        Some(cause) => {
            let error = cause.as_ref() as &dyn std::error::Error;
            error!(error, "{what}: {}", refused.message);
            format!("{}; the server's log has the cause", refused.message)
        }
        None => {
            info!("refused {what}: {}", refused.message);
            refused.message.clone()
        }
    }
}

fn error_data(code: Code, message: String) -> ErrorData {
    let number = match code.status() {
        400 => ErrorCode::INVALID_PARAMS,
        500.. => ErrorCode::INTERNAL_ERROR,
        _ => ErrorCode::INVALID_REQUEST,
    };
    ErrorData::new(number, message, Some(json!({"code": code.as_str()})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_both_an_envelope_and_an_error() {
        let failure = Failure::new("R", Code::InvalidApiKey, "m");
        assert_eq!(
            json!(with_json_rpc(failure, Code::InvalidApiKey, "m")),
            json!({"requestId": "R", "success": false, "code": "InvalidApiKey", "message": "m", "httpStatusCode": 401,
                "jsonrpc": "2.0", "id": null,
                "error": {"code": -32600, "message": "m", "data": {"code": "InvalidApiKey"}}})
        );
    }
}
