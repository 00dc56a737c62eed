//! Tool calls: from an authenticated request to the guest and back, once, whatever the route.

use std::sync::Arc;
use std::time::Duration;

use berth_agb_api::Code;
use berth_control::{ControlError, Session};
use berth_guest_client::GuestError;
use bytes::Bytes;

use crate::error::ApiError;

/// The longest that a tool call may take. Tools have their own, shorter limits; this one ends a call whose guest hangs.
const CALL_TIMEOUT: Duration = Duration::from_secs(900);

/// How long a broken connection may wait for the reason: the sandbox's end arrives by another way.
const REASON_TIMEOUT: Duration = Duration::from_millis(500);

/// Runs a tool in a session: the guest's answer, a JSON document.
pub(crate) async fn call_tool(
    session: &Arc<Session>,
    tool: &str,
    arguments: Bytes,
) -> Result<Bytes, ApiError> {
    if tool.is_empty()
        || tool.len() > 100
        || !tool
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    {
        let shown: String = tool.chars().take(40).collect();
        return Err(ApiError::new(
            Code::InvalidParameter,
            format!(
                "the tool's name is {shown:?}; allowed: letters, digits and `_`, as `listTools` gives them"
            ),
        ));
    }
    let _call = session.begin_call();
    tokio::select! {
        answer = session.guest.call_tool(tool, arguments, CALL_TIMEOUT) => match answer {
            Ok(answer) => Ok(answer.body),
            Err(error) => Err(explained(session, error).await),
        },
        why = session.ended() => Err(ended(session, why)),
    }
}

/// A guest's failure; when its session has ended, that is the reason to tell.
pub(crate) async fn explained(session: &Session, error: GuestError) -> ApiError {
    if let GuestError::Unreachable(_) = error
        && let Ok(why) = tokio::time::timeout(REASON_TIMEOUT, session.ended()).await
    {
        return ended(session, why);
    }
    error.into()
}

fn ended(session: &Session, why: berth_control::EndReason) -> ApiError {
    ControlError::EndedSession {
        id: session.id.clone(),
        why,
        at: None,
    }
    .into()
}
