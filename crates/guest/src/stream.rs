//! The live stream of code runs: a WebSocket that carries output while the code still runs.
//!
//! A client sends an envelope with `method` `run_code`; it gets events (`stdout`, `stderr`, `result`, `error`) as
//! they happen and one `end`. Several runs may be under way on one socket, told apart by their `invocationId`. In the
//! same form `watch_directory` tells of changes below a directory. `stop` with the same id ends either.
//!
//! Two tasks share a socket: one reads and never waits for code, so pings are answered at once; one writes. A client
//! that goes away does not stop its runs: they end by themselves or by their timeout.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::ws::{Message, WebSocket};
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::code::{EVENTS_MAX, End, Event, Failure, Request, Shown, TIMEOUT_S};
use crate::files::{self, FileError};
use crate::guest::Guest;
use crate::runs::Run;
use crate::tools::text::Text;
use crate::watch::Watch;

/// Changes in one message; a message of long paths stays below [`MESSAGE_BYTES_MAX`].
const CHANGES_MAX: usize = 30;

/// Runs and watches that one socket may have under way.
const RUNS_MAX: usize = 32;

/// Messages that may wait for a slow client; then the code's own output waits.
const MESSAGES_MAX: usize = 64;

/// Bytes of text in one event. Written as JSON even the worst text stays below [`MESSAGE_BYTES_MAX`].
const CHUNK_BYTES_MAX: usize = 128 << 10;

/// Clients close the connection on a message of 1 MiB or more.
const MESSAGE_BYTES_MAX: usize = 1_000_000;

/// Longest message of a client: code with room for escapes.
pub const RECEIVED_BYTES_MAX: usize = 32 << 20;

/// Longest id of a run; clients use 32 characters.
const ID_BYTES_MAX: usize = 256;

/// What a client sends.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    invocation_id: Option<Text>,
    target: Option<Text>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Data<'a> {
    method: Option<Text>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Params {
    code: Text,
    language: Text,
    #[serde(rename = "timeoutS", alias = "timeout_s")]
    timeout_s: Option<u64>,
}

#[derive(Deserialize)]
struct WatchParams {
    path: Text,
}

/// What a client may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    RunCode,
    WatchDirectory,
}

impl Method {
    const ALLOWED: &str = "`run_code`, `watch_directory`";

    fn named(name: &str) -> Option<Self> {
        match name {
            "run_code" => Some(Self::RunCode),
            "watch_directory" => Some(Self::WatchDirectory),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::RunCode => "run_code",
            Self::WatchDirectory => "watch_directory",
        }
    }
}

/// What is under way on one socket, by id, and the way to stop it.
type Ids = Arc<Mutex<HashMap<String, (Method, CancellationToken)>>>;

/// Serves one socket until the client goes.
pub async fn serve(socket: WebSocket, guest: Guest) {
    let (mut to_client, mut from_client) = socket.split();
    let (messages, mut waiting) = mpsc::channel::<Message>(MESSAGES_MAX);
    let writer = tokio::spawn(async move {
        while let Some(message) = waiting.recv().await {
            if to_client.send(message).await.is_err() {
                return;
            }
        }
        let _ = to_client.close().await;
    });
    let ids = Ids::default();
    // Pings are answered by the WebSocket layer as long as it is read from.
    while let Some(Ok(message)) = from_client.next().await {
        match message {
            Message::Text(text) => receive(text.as_str(), &guest, &messages, &ids),
            Message::Close(_) => break,
            Message::Binary(_) | Message::Ping(_) | Message::Pong(_) => {}
        }
    }
    // The writer is stopped, not drained: nobody is there. Runs notice by their failing sends; a watch waits for changes
    // and may have none to send.
    writer.abort();
    for (method, stop) in ids.lock().unwrap_or_else(PoisonError::into_inner).values() {
        if *method == Method::WatchDirectory {
            stop.cancel();
        }
    }
}

fn receive(text: &str, guest: &Guest, messages: &mpsc::Sender<Message>, ids: &Ids) {
    // Clients send `{"type":"ping"}` and expect no answer; what has no id cannot be answered at all.
    let Ok(envelope) = serde_json::from_str::<Envelope<'_>>(text) else {
        return;
    };
    let Some(id) = envelope.invocation_id.map(|id| id.0) else {
        return;
    };
    if id.is_empty() || id.len() > ID_BYTES_MAX {
        return;
    }
    let data = envelope
        .data
        .and_then(|data| serde_json::from_str::<Data<'_>>(data.get()).ok());
    let mut speaker = Speaker {
        id: id.clone(),
        source: envelope
            .target
            .map_or_else(|| "wuying_codespace".into(), |target| target.0),
        method: Method::RunCode,
        sequence: 0,
        messages: messages.clone(),
    };
    let Some(Data {
        method: Some(method),
        params,
    }) = data
    else {
        refuse(speaker, "data.method", "missing");
        return;
    };
    let stop = CancellationToken::new();
    let method = {
        let mut ids = ids.lock().unwrap_or_else(PoisonError::into_inner);
        // A second message with the id of something that is under way is a write to it; only `stop` means anything.
        if let Some((_, stop)) = ids.get(&id) {
            if method.0 == "stop" {
                stop.cancel();
            }
            return;
        }
        let Some(method) = Method::named(&method.0) else {
            refuse(speaker, "data.method", &format!("`{}`", shortened(&method.0)));
            return;
        };
        speaker.method = method;
        if ids.len() >= RUNS_MAX {
            let failure = Failure {
                name: "TooManyRuns".into(),
                value: format!("{RUNS_MAX} runs are under way on this connection; wait for one to end"),
                traceback: String::new(),
            };
            tokio::spawn(async move { speaker.fail(failure).await });
            return;
        }
        ids.insert(id.clone(), (method, stop.clone()));
        method
    };
    let params = params.map(ToOwned::to_owned);
    let (guest, ids) = (guest.clone(), Arc::clone(ids));
    tokio::spawn(async move {
        let done = match method {
            Method::RunCode => run_code(params.as_deref(), &guest, &mut speaker, stop).await,
            Method::WatchDirectory => watch(params.as_deref(), &guest, &mut speaker, &stop).await,
        };
        if let Err(failure) = done {
            speaker.fail(failure).await;
        }
        ids.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    });
}

/// A failure that is the fault of what the client sent.
fn invalid(value: String) -> Failure {
    Failure {
        name: "InvalidParameter".into(),
        value,
        traceback: String::new(),
    }
}

fn parsed<'a, T: Deserialize<'a>>(params: Option<&'a RawValue>) -> Result<T, Failure> {
    let mut parser = serde_json::Deserializer::from_str(params.map_or("{}", RawValue::get));
    serde_path_to_error::deserialize(&mut parser).map_err(|error| invalid(format!("`data.params`: {error}")))
}

async fn run_code(
    params: Option<&RawValue>,
    guest: &Guest,
    speaker: &mut Speaker,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let _running = guest.clock.run();
    let mut told = guest.runs.begin(params.map_or("{}", RawValue::get));
    let (failure, done) = match request(params) {
        Ok(request) => (run(request, guest, speaker, stop, &mut told).await, Ok(())),
        Err(failure) => (Some(failure.summary()), Err(failure)),
    };
    told.end(failure.as_deref());
    done
}

/// Tells of changes below a directory until the client stops it, or the directory is gone.
async fn watch(
    params: Option<&RawValue>,
    guest: &Guest,
    speaker: &mut Speaker,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let params: WatchParams = parsed(params)?;
    let failed = |error: FileError| Failure {
        name: "WatchFailed".into(),
        value: error.to_string(),
        traceback: String::new(),
    };
    let path = files::absolute(&params.path.0).map_err(|error| invalid(error.to_string()))?;
    let watch = Watch::start(&guest.files, path).await.map_err(failed)?;
    // From here on nothing is missed, which a client may have to know before it changes anything.
    if !speaker.event("ready", "path", params.path.0.into()).await {
        return Ok(());
    }
    loop {
        tokio::select! {
            () = watch.changed() => {}
            () = stop.cancelled() => {
                speaker.say(json!({ "phase": "end", "status": "finished" })).await;
                return Ok(());
            }
        }
        let changes = watch.take().await.map_err(failed)?;
        for changes in changes.chunks(CHANGES_MAX) {
            if !speaker.event("file_change", "changes", json!(changes)).await {
                return Ok(());
            }
        }
    }
}

fn request(params: Option<&RawValue>) -> Result<Request, Failure> {
    let params: Params = parsed(params)?;
    Request::checked(
        params.code.0,
        &params.language.0,
        params.timeout_s.unwrap_or(TIMEOUT_S),
    )
    .map_err(|error| invalid(error.to_string()))
}

/// A message that is no run: the client's stream fails with this.
fn refuse(mut speaker: Speaker, field: &str, got: &str) {
    let error = json!({
        "code": "InvalidParameter",
        "message": format!("`{field}` is {got}; allowed: {}", Method::ALLOWED),
    });
    tokio::spawn(async move {
        speaker.say(json!({ "phase": "error", "error": error })).await;
    });
}

/// Runs code; gives why it failed, if it did.
async fn run(
    request: Request,
    guest: &Guest,
    speaker: &mut Speaker,
    stop: CancellationToken,
    told: &mut Run<'_>,
) -> Option<String> {
    let (events_to, mut events) = mpsc::channel(EVENTS_MAX);
    let code = guest.code.clone();
    let run = tokio::spawn(async move { code.run(request, events_to, stop).await });
    while let Some(event) = events.recv().await {
        let heard = match event {
            Event::Stdout(text) => {
                told.says(&text);
                speaker.text("stdout", &text).await
            }
            Event::Stderr(text) => {
                told.says(&text);
                speaker.text("stderr", &text).await
            }
            Event::Result(shown) => {
                let text = shown
                    .mime
                    .get("text/plain")
                    .map(|text| serde_json::from_str(text.get()));
                if let Some(Ok(Text(text))) = text {
                    told.says(&text);
                }
                speaker.event("result", "result", result(&shown)).await
            }
        };
        if !heard {
            // The client has gone: the run goes on, its output is dropped where it is made.
            events.close();
            break;
        }
    }
    match run.await {
        Ok(Ok(end)) => {
            let failure = end.error.as_ref().map(Failure::summary);
            speaker.end(end).await;
            failure
        }
        Ok(Err(error)) => {
            let failure = Failure {
                name: "ExecutionError".into(),
                value: error.to_string(),
                traceback: String::new(),
            };
            let summary = failure.summary();
            speaker.fail(failure).await;
            Some(summary)
        }
        Err(_) => {
            tracing::error!("a streamed run broke");
            Some("the run was lost".into())
        }
    }
}

/// A result small enough to be sent: representations that are too large give way to a note.
fn result(shown: &Shown) -> Value {
    let mut mime = serde_json::Map::new();
    let mut notes = Vec::new();
    let mut left = MESSAGE_BYTES_MAX - 10_000;
    // Text first: it is what remains when the rest is too much.
    let text_first = shown.mime.iter().filter(|(name, _)| *name == "text/plain");
    let others = shown.mime.iter().filter(|(name, _)| *name != "text/plain");
    for (name, value) in text_first.chain(others) {
        let bytes = name.len() + value.get().len() + 16;
        if bytes > left {
            notes.push(format!(
                "[{name} left out: {bytes} bytes are more than a streamed result can carry]"
            ));
            continue;
        }
        left -= bytes;
        let Ok(value) = serde_json::from_str(value.get()) else {
            continue;
        };
        mime.insert(name.clone(), value);
    }
    if !notes.is_empty() {
        let text = mime.get("text/plain").and_then(Value::as_str).unwrap_or_default();
        // Names come from the code; a thousand long ones are not worth a message.
        let text: String = format!("{text}\n{}", notes.join("\n"))
            .trim_start()
            .chars()
            .take(100_000)
            .collect();
        mime.insert("text/plain".into(), text.into());
    }
    json!({ "isMainResult": shown.is_main, "mime": mime })
}

/// Says things about one run.
struct Speaker {
    id: String,
    source: String,
    method: Method,
    sequence: u64,
    messages: mpsc::Sender<Message>,
}

impl Speaker {
    /// Sends `data` with the members that every message has. False when the client is gone.
    async fn say(&mut self, mut data: Value) -> bool {
        self.sequence += 1;
        data["method"] = self.method.name().into();
        data["mode"] = "stream".into();
        data["seq"] = self.sequence.into();
        let message =
            json!({ "invocationId": self.id, "source": self.source, "target": "SDK", "data": data });
        let text = message.to_string();
        debug_assert!(text.len() < 1 << 20, "{} bytes", text.len());
        self.messages.send(Message::Text(text.into())).await.is_ok()
    }

    async fn event(&mut self, kind: &str, member: &str, value: Value) -> bool {
        let mut data = json!({ "phase": "event", "eventType": kind });
        data[member] = value;
        self.say(data).await
    }

    async fn text(&mut self, kind: &str, text: &str) -> bool {
        for chunk in chunks(text) {
            if !self.event(kind, "chunk", chunk.into()).await {
                return false;
            }
        }
        true
    }

    async fn fail(&mut self, failure: Failure) {
        self.end(End {
            execution_count: None,
            seconds: 0.0,
            error: Some(failure),
        })
        .await;
    }

    /// Both an error event and the end: clients take the class from one and the message from the other.
    async fn end(&mut self, end: End) {
        let mut data = json!({ "phase": "end", "status": "finished", "executionTime": end.seconds });
        if let Some(count) = end.execution_count {
            data["executionCount"] = count.into();
        }
        if let Some(failure) = end.error {
            let error = json!({
                "code": failure.name, "message": failure.value, "traceId": "", "traceback": failure.traceback,
            });
            if !self.event("error", "error", error).await {
                return;
            }
            data["status"] = "failed".into();
            data["executionError"] = failure.summary().into();
        }
        self.say(data).await;
    }
}

/// Pieces that are small enough, cut between characters.
fn chunks(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        if text.is_empty() {
            return None;
        }
        let (chunk, rest) = text.split_at(text.floor_char_boundary(CHUNK_BYTES_MAX));
        text = rest;
        Some(chunk)
    })
}

fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(100)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_join_to_the_text() {
        let text = "ä😀x".repeat(100_000);
        let pieces: Vec<&str> = chunks(&text).collect();
        assert!(pieces.iter().all(|piece| piece.len() <= CHUNK_BYTES_MAX));
        assert_eq!(pieces.concat(), text);
    }

    #[test]
    fn the_worst_chunk_is_a_message_that_clients_take() {
        let worst = "\0".repeat(CHUNK_BYTES_MAX);
        assert!(serde_json::to_string(&worst).unwrap().len() + 1000 < 1 << 20);
    }

    #[test]
    fn a_large_representation_gives_way_to_a_note() {
        let big = format!("\"{}\"", "x".repeat(2 << 20));
        let json = format!(r#"{{"main":true,"mime":{{"image/png":{big},"text/plain":"<Figure>"}}}}"#);
        let shown: Shown = serde_json::from_str(&json).unwrap();
        let sent = result(&shown);
        assert_eq!(sent["mime"].get("image/png"), None);
        let text = sent["mime"]["text/plain"].as_str().unwrap();
        assert!(text.starts_with("<Figure>\n[image/png left out"), "{text}");
    }

    #[test]
    fn a_bad_request_names_the_field() {
        let params =
            RawValue::from_string(r#"{"code":"1","language":"python","timeoutS":"x"}"#.into()).unwrap();
        let failure = request(Some(&params)).unwrap_err();
        assert!(failure.value.contains("timeoutS"), "{}", failure.value);
    }
}
