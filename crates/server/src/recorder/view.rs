//! The view of a guest's desktop that a recorder has, and what it is told besides the picture.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use berth_control::Session;
use berth_guest_api::{STREAM_RUN_BYTES_MAX, StreamRun, VIEW, VIEW_RUN, VIEW_RUNS, ViewRights};
use berth_guest_client::{GuestError, Upgraded};
use berth_recording::{Event, ToolCall, View};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::HeaderName;
use http::header::{
    CONNECTION, HOST, HeaderMap, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};
use tracing::debug;

use crate::tunnel;

/// Longest message of a guest: the engine keeps far below, and each recording may hold some of them in memory.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// What other viewers see.
const NAME: &str = "recorder";

/// A view of the guest's.
pub(super) struct GuestView {
    socket: WebSocketStream<Upgraded>,
    runs: Runs,
}

/// Where code that ran on streams is told of.
#[derive(Debug, Clone)]
pub(super) struct Runs {
    events: mpsc::Sender<Event>,
    /// The last that was told of: a second view tells of the same.
    last: Arc<AtomicU64>,
}

impl Runs {
    pub(super) fn of(events: mpsc::Sender<Event>) -> Self {
        Self {
            events,
            last: Arc::default(),
        }
    }

    /// Takes a run as a guest tells of it. It is cut again: nothing that a session says is believed.
    fn take(&self, json: &[u8]) {
        if json.len() > STREAM_RUN_BYTES_MAX {
            return debug!("a run on a stream is too long for a recording");
        }
        let Ok(run) = serde_json::from_slice::<StreamRun>(json) else {
            return debug!("a run on a stream is not told as it should be");
        };
        if self.last.fetch_max(run.number, Ordering::Relaxed) >= run.number {
            return;
        }
        let call = ToolCall::new("run_code", run.arguments.as_bytes(), run.output.as_bytes());
        let call = ToolCall {
            cut: call.cut.saturating_add(run.cut),
            failed: run.failed,
            duration: run.duration_ms,
            ..call
        };
        if self.events.try_send(Event::Tool(call)).is_err() {
            debug!("a run on a stream is not in its recording");
        }
    }
}

/// Opens a view that can only look, and is no use of the session.
pub(super) async fn open(session: &Session, runs: &Runs) -> Result<GuestView, ViewError> {
    let mut headers: HeaderMap = tunnel::handed_over(ViewRights::VIEW, Some(NAME), None, true).collect();
    headers.insert(HeaderName::from_static(VIEW_RUNS), HeaderValue::from_static("1"));
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(HOST, HeaderValue::from_static("guest"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    if let Ok(key) = HeaderValue::try_from(generate_key()) {
        headers.insert(SEC_WEBSOCKET_KEY, key);
    }
    let tunnel = session.guest.open_tunnel(VIEW, headers).await?;
    let limits = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let socket = WebSocketStream::from_raw_socket(tunnel.io, Role::Client, Some(limits)).await;
    Ok(GuestView {
        socket,
        runs: runs.clone(),
    })
}

/// Why a view broke.
#[derive(Debug, thiserror::Error)]
pub(super) enum ViewError {
    #[error("no view could be opened")]
    Guest(#[from] GuestError),
    #[error("the view's socket broke")]
    Socket(#[from] tungstenite::Error),
}

impl View for GuestView {
    type Error = ViewError;

    async fn next(&mut self) -> Result<Bytes, ViewError> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Binary(bytes))) => match bytes.split_first() {
                    Some((&VIEW_RUN, run)) => self.runs.take(run),
                    _ => return Ok(bytes),
                },
                Some(Ok(Message::Close(_))) | None => return Err(tungstenite::Error::ConnectionClosed.into()),
                Some(Ok(Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(error)) => return Err(error.into()),
            }
        }
    }

    async fn send(&mut self, message: Bytes) -> Result<(), ViewError> {
        Ok(self.socket.send(Message::Binary(message)).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(number: u64, output: &str) -> Vec<u8> {
        let run = StreamRun {
            number,
            arguments: "{}".into(),
            output: output.into(),
            cut: u64::MAX,
            ..StreamRun::default()
        };
        serde_json::to_vec(&run).unwrap()
    }

    #[test]
    fn a_run_is_told_of_once_and_within_bounds() {
        let (sender, mut events) = mpsc::channel(8);
        let runs = Runs::of(sender);
        let other = runs.clone();
        runs.take(&told(1, "a"));
        other.take(&told(1, "a"));
        other.take(&told(2, &"b".repeat(100_000)));
        runs.take(&told(2, "b"));
        runs.take(b"no JSON");
        runs.take(&told(3, &"c".repeat(STREAM_RUN_BYTES_MAX)));
        let mut outputs = Vec::new();
        while let Ok(Event::Tool(call)) = events.try_recv() {
            assert_eq!((&*call.name, &*call.who, call.cut), ("run_code", "", u64::MAX));
            outputs.push(call.output.len());
        }
        assert_eq!(outputs, [1, berth_recording::OUTPUT_BYTES_MAX]);
    }
}
