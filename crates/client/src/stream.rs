//! A code run that is heard while it runs: one WebSocket for one run.
//!
//! The protocol ends a stream with its socket: there is no going on after a break. The reason for a break that was the
//! session's end is asked for, since the socket cannot tell it.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::code::RUN_CODE;
use crate::socket::{Limits, Socket};
use crate::{EnhancedCodeExecutionResult, Error, ExecutionError, ExecutionResult, Run};

/// Servers of this protocol stay below 1 MiB a message, for other clients' sake.
const LIMITS: Limits = Limits {
    message_bytes_max: 16 << 20,
    ping_pause: Duration::from_secs(20),
    pings_max: 3,
};

/// All that [`RunStream::finish`] keeps.
const KEPT_BYTES_MAX: usize = 64 << 20;

/// What happens in a run, as it happens.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum RunEvent {
    /// A piece of standard output.
    Stdout(String),
    /// A piece of standard error.
    Stderr(String),
    /// Something was shown.
    Result(ExecutionResult),
    /// An exception ended the code.
    Error(ExecutionError),
}

/// A run under way. Dropping it does not stop the code, which goes on until it ends or its timeout strikes.
///
/// ```no_run
/// use berth_client::RunEvent;
///
/// # async fn example(session: berth_client::Session) -> Result<(), berth_client::Error> {
/// let mut run = session.code().run("for n in range(3): print(n)", "python").stream().await?;
/// while let Some(event) = run.next().await? {
///     if let RunEvent::Stdout(text) = event {
///         print!("{text}");
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct RunStream {
    id: String,
    socket: Socket,
    state: State,
}

#[derive(Debug)]
enum State {
    Running,
    /// The exception came in an event of its own; the end repeats it.
    Failed,
    Over,
}

/// What the end says of the run.
#[derive(Debug, Clone, Copy, Default)]
struct End {
    execution_count: Option<u64>,
    execution_time: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    invocation_id: Option<String>,
    data: Option<Data>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    phase: Option<String>,
    event_type: Option<String>,
    chunk: Option<String>,
    result: Option<Value>,
    error: Option<Value>,
    execution_count: Option<u64>,
    #[serde(default)]
    execution_time: f64,
    #[serde(default)]
    execution_error: String,
}

/// What one message means for the run.
enum Step {
    Event(RunEvent),
    End(End, Option<ExecutionError>),
    Nothing,
}

impl RunStream {
    pub(crate) async fn open(run: Run<'_>) -> Result<Self, Error> {
        let session = run.session;
        if session.ws_url().is_empty() || session.token().is_empty() {
            let message = format!(
                "session `{}` was named without asking the server, so its stream is not known; recover it with `get`",
                session.session_id()
            );
            return Err(Error::InvalidParameter { message });
        }
        let mut socket = Socket::open(session, session.ws_url(), LIMITS).await?;
        let id = format!("{:032x}", rand::random::<u128>());
        let target = session.tool_server(RUN_CODE).unwrap_or("wuying_codespace");
        let request = json!({
            "invocationId": id,
            "source": "SDK",
            "target": target,
            "data": {
                "method": RUN_CODE,
                "mode": "stream",
                "params": { "language": run.language, "timeoutS": run.timeout.as_secs(), "code": run.code },
            },
        });
        socket.send(Message::text(request.to_string())).await?;
        Ok(Self {
            id,
            socket,
            state: State::Running,
        })
    }

    /// What happens next; `None` when the run is over.
    ///
    /// # Errors
    ///
    /// [`Error::SessionEnded`] when the session ended under the run, [`Error::Disconnected`] when the connection broke.
    pub async fn next(&mut self) -> Result<Option<RunEvent>, Error> {
        match self.step().await? {
            Some(Step::Event(event)) => Ok(Some(event)),
            Some(Step::End(_, Some(error))) => Ok(Some(RunEvent::Error(error))),
            Some(Step::End(_, None) | Step::Nothing) | None => Ok(None),
        }
    }

    /// Waits for the end and gives all that is still to come, at most 64 MiB of it.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next); [`Error::Protocol`] when it is more than that.
    pub async fn finish(mut self) -> Result<EnhancedCodeExecutionResult, Error> {
        let mut run = EnhancedCodeExecutionResult::default();
        let mut kept = 0;
        while let Some(step) = self.step().await? {
            match step {
                Step::Event(RunEvent::Stdout(text)) => {
                    kept += text.len();
                    run.logs.stdout.push(text);
                }
                Step::Event(RunEvent::Stderr(text)) => {
                    kept += text.len();
                    run.logs.stderr.push(text);
                }
                Step::Event(RunEvent::Result(result)) => {
                    kept += result
                        .mime
                        .values()
                        .map(|form| form.to_string().len())
                        .sum::<usize>();
                    run.results.push(result);
                }
                Step::Event(RunEvent::Error(error)) => run.error = Some(error),
                Step::End(end, error) => {
                    run.execution_count = end.execution_count;
                    run.execution_time = end.execution_time;
                    run.error = run.error.or(error);
                }
                Step::Nothing => {}
            }
            if kept > KEPT_BYTES_MAX {
                return Err(Error::Protocol(format!(
                    "the run says more than {} MiB; hear it piece by piece with `next`",
                    KEPT_BYTES_MAX >> 20
                )));
            }
        }
        Ok(run)
    }

    /// The next message that means something; `None` after the end.
    async fn step(&mut self) -> Result<Option<Step>, Error> {
        loop {
            if let State::Over = self.state {
                return Ok(None);
            }
            let outcome = match self.socket.next().await {
                Ok(Message::Text(text)) => read(text.as_str(), &self.id),
                Ok(_) => Ok(Step::Nothing),
                Err(error) => Err(error),
            };
            match outcome {
                Ok(Step::Nothing) => {}
                Ok(Step::Event(event)) => {
                    if let RunEvent::Error(_) = event {
                        self.state = State::Failed;
                    }
                    return Ok(Some(Step::Event(event)));
                }
                Ok(Step::End(end, error)) => {
                    let told = matches!(self.state, State::Failed);
                    self.state = State::Over;
                    self.socket.close().await;
                    return Ok(Some(Step::End(end, error.filter(|_| !told))));
                }
                Err(error) => {
                    self.state = State::Over;
                    return Err(error);
                }
            }
        }
    }
}

/// What a message says about the run `id`.
fn read(text: &str, id: &str) -> Result<Step, Error> {
    let envelope: Envelope = serde_json::from_str(text)
        .map_err(|error| Error::Protocol(format!("a message of the stream: {error}")))?;
    if envelope.invocation_id.as_deref() != Some(id) {
        return Ok(Step::Nothing);
    }
    let data = envelope
        .data
        .ok_or_else(|| Error::Protocol("a message of the stream has no `data`".into()))?;
    let kind = (data.phase.as_deref(), data.event_type.as_deref());
    Ok(match kind {
        (Some("event"), Some("stdout")) => Step::Event(RunEvent::Stdout(data.chunk.unwrap_or_default())),
        (Some("event"), Some("stderr")) => Step::Event(RunEvent::Stderr(data.chunk.unwrap_or_default())),
        (Some("event"), Some("result")) => {
            let result = data.result.unwrap_or_default();
            Step::Event(RunEvent::Result(ExecutionResult::nested(result)))
        }
        (Some("event"), Some("error")) => Step::Event(RunEvent::Error(exception(data.error))),
        // Kinds of events that a later server has.
        (Some("event"), _) => Step::Nothing,
        (Some("end"), _) => {
            let end = End {
                execution_count: data.execution_count,
                execution_time: data.execution_time,
            };
            Step::End(end, ExecutionError::summary(&data.execution_error))
        }
        (Some("error"), _) => {
            return Err(Error::Tool {
                tool: RUN_CODE.into(),
                message: exception(data.error).value,
            });
        }
        (phase, _) => {
            let phase = phase.unwrap_or_default();
            return Err(Error::Protocol(format!(
                "a message of the stream has the phase {phase:?}"
            )));
        }
    })
}

/// An exception as the stream tells it.
fn exception(error: Option<Value>) -> ExecutionError {
    let error = error.unwrap_or_default();
    let member = |name| {
        error
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    match error {
        Value::String(value) => ExecutionError {
            value,
            ..ExecutionError::default()
        },
        _ => ExecutionError {
            name: member("code"),
            value: member("message"),
            traceback: member("traceback"),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_message_is_read_or_refused(text in ".{0,300}", phase in "event|end|error|x", kind in "stdout|result|error|y") {
            let _ = read(&text, "1");
            let message = json!({"invocationId": "1", "data": {"phase": phase, "eventType": kind, "chunk": text}});
            let _ = read(&message.to_string(), "1");
        }
    }

    #[test]
    fn messages_of_other_runs_and_later_kinds_mean_nothing() {
        let other = json!({"invocationId": "2", "data": {"phase": "end"}}).to_string();
        assert!(matches!(read(&other, "1"), Ok(Step::Nothing)));
        let later =
            json!({"invocationId": "1", "data": {"phase": "event", "eventType": "status"}}).to_string();
        assert!(matches!(read(&later, "1"), Ok(Step::Nothing)));
    }

    #[test]
    fn a_refusal_keeps_its_words() {
        let text =
            json!({"invocationId": "1", "data": {"phase": "error", "error": {"code": "C", "message": "no"}}});
        let Err(Error::Tool { message, .. }) = read(&text.to_string(), "1") else {
            panic!("no refusal");
        };
        assert_eq!(message, "no");
    }
}
