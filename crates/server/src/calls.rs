//! Tool calls: from an authenticated request to the guest and back, once, whatever the route.

use std::sync::Arc;
use std::time::{Duration, Instant};

use berth_agb_api::Code;
use berth_control::{ControlError, End, Session, TRACE_TARGET};
use berth_guest_client::{GuestError, ToolAnswer};
use bytes::Bytes;
use tracing::field::Empty;
use tracing::{Instrument, info_span, warn};

use crate::error::ApiError;
use crate::metrics::Outcome;
use crate::recorder::Recorders;
use crate::urls::Base;
use crate::{App, audit};

/// The longest that a tool call may take. Tools have their own, shorter limits; this one ends a call whose guest hangs.
const CALL_TIMEOUT: Duration = Duration::from_secs(900);

/// While a call waits for its answer, the guest is asked so often whether it lives. One that says nothing so many times
/// in a row stands still, and what it was asked for will not come.
const PULSE_EVERY: Duration = Duration::from_secs(5);
const PULSES_MISSED_MAX: u32 = 3;

/// How long a broken connection may wait for the reason: the sandbox's end arrives by another way.
const REASON_TIMEOUT: Duration = Duration::from_secs(3);

/// Runs a tool in a session, and counts it: the guest's answer, a JSON document. `base` is where its caller reaches the server.
pub(crate) async fn call_tool(
    app: &App,
    session: &Arc<Session>,
    tool: &str,
    arguments: Bytes,
    base: &Base,
) -> Result<Bytes, ApiError> {
    let started = Instant::now();
    let span = info_span!(
        target: TRACE_TARGET,
        "tool call",
        otel.name = %format!("execute_tool {}", app.tool_metrics.known(tool)),
        otel.status_code = Empty,
        gen_ai.operation.name = "execute_tool",
        gen_ai.tool.name = app.tool_metrics.known(tool),
        session.id = %session.id,
        berth.tool.outcome = Empty,
    );
    let sent = arguments.clone();
    let answer = run(app, session, tool, arguments, base)
        .instrument(span.clone())
        .await;
    let outcome = match &answer {
        Ok(answer) if answer.known && !answer.failed => Outcome::Ok,
        Ok(_) => Outcome::Error,
        Err(error) => match error.code {
            Code::InvalidParameter => Outcome::Error,
            Code::SessionTimeout => Outcome::Timeout,
            Code::SessionNotFound => Outcome::Ended,
            _ => Outcome::Failed,
        },
    };
    span.record("berth.tool.outcome", outcome.word());
    if outcome != Outcome::Ok {
        span.record("otel.status_code", "ERROR");
    }
    app.tool_metrics.count(tool, outcome, started);
    let told = match &answer {
        Ok(answer) => &answer.body,
        Err(error) => error.message.as_bytes(),
    };
    Recorders::called(app, session, tool, (&sent, told), outcome != Outcome::Ok, started);
    Ok(answer?.body)
}

async fn run(
    app: &App,
    session: &Arc<Session>,
    tool: &str,
    arguments: Bytes,
    base: &Base,
) -> Result<ToolAnswer, ApiError> {
    audit::uses(session);
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
    audit::note(|note| note.tool = Some(tool.to_owned()));
    let _call = app.control.begin_call(session).await?;
    let pictures = base.pictures(&app.control.pictures_link(session));
    let answer = session.guest.call_tool(tool, arguments, &pictures, CALL_TIMEOUT);
    answered(session, answer).await
}

/// What a session's guest answers; the reason when its session ends, or it stops answering anything.
pub(crate) async fn answered<T>(
    session: &Session,
    answer: impl Future<Output = Result<T, GuestError>>,
) -> Result<T, ApiError> {
    tokio::select! {
        answer = answer => match answer {
            Ok(answer) => Ok(answer),
            Err(error) => Err(explained(session, error).await),
        },
        end = session.ended() => Err(ended(session, end)),
        silence = silence(session) => Err(silence.into()),
    }
}

/// Completes when the guest has stopped answering, though its session is not paused.
async fn silence(session: &Session) -> GuestError {
    let mut missed = 0;
    loop {
        tokio::time::sleep(PULSE_EVERY).await;
        missed = match session.guest.hello().await {
            Err(GuestError::TimedOut(_)) if session.is_paused() => 0,
            Err(error @ GuestError::TimedOut(_)) if missed + 1 == PULSES_MISSED_MAX => return error,
            Err(GuestError::TimedOut(_)) => missed + 1,
            // Another failure reaches the call as well, which knows better what it means.
            _ => 0,
        };
    }
}

/// A guest's failure; when its session has ended, that is the reason to tell.
pub(crate) async fn explained(session: &Session, error: GuestError) -> ApiError {
    if let GuestError::Unreachable(_) = error
        && let Some(ended) = end_of(session).await
    {
        return ended;
    }
    error.into()
}

/// The end of a session whose connection broke, if that was the reason.
pub(crate) async fn end_of(session: &Session) -> Option<ApiError> {
    let ends = tokio::time::timeout(REASON_TIMEOUT, session.ended()).await;
    ends.ok().map(|end| ended(session, end))
}

pub(crate) fn ended(session: &Session, end: End) -> ApiError {
    ControlError::EndedSession {
        id: session.id.clone(),
        end,
        at: None,
    }
    .into()
}

/// Thaws a paused session in the background for `bytes` that its client has sent: they wait in the socket until the guest
/// goes on. Not for nothing, which is what a connection that ends has sent, nor for what [`is_small_talk`].
pub(crate) fn thaw_for(bytes: &[u8], is_websocket: bool, app: &App, session: &Arc<Session>) {
    if !session.is_paused() || bytes.is_empty() || (is_websocket && is_small_talk(bytes)) {
        return;
    }
    let (control, session) = (Arc::clone(&app.control), Arc::clone(session));
    tokio::spawn(async move {
        if let Err(error) = control.resume(&session).await {
            let error = &error as &dyn std::error::Error;
            warn!(error, "could not thaw session {} for its stream", session.id);
        }
    });
}

/// Whether a client's bytes are control frames alone (RFC 6455, section 5.5): it asks whether somebody is there, says that
/// it is, or takes its leave, and wants nothing of the session.
fn is_small_talk(mut bytes: &[u8]) -> bool {
    const HEAD_AND_MASK: usize = 6;
    while let [0x88..=0x8A, length @ 0x80..=0xFD, ..] = bytes {
        let frame = HEAD_AND_MASK + usize::from(length & 0x7F);
        bytes = bytes.get(frame..).unwrap_or_default();
    }
    bytes.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_sends_to_be_heard_is_told_from_pings_and_goodbyes() {
        let ping = [0x89, 0x80, 1, 2, 3, 4];
        let close = [0x88, 0x82, 1, 2, 3, 4, 5, 6];
        let text = [0x81, 0x81, 1, 2, 3, 4, 5];
        assert!(is_small_talk(&ping) && is_small_talk(&close));
        assert!(is_small_talk(&[&ping[..], &close[..]].concat()));
        assert!(is_small_talk(&close[..3]), "the rest is on its way");
        assert!(!is_small_talk(&text));
        assert!(!is_small_talk(&[&ping[..], &text[..]].concat()));
        assert!(
            !is_small_talk(&[0x89, 0xFE, 0, 200]),
            "a control frame is never so long"
        );
    }
}
