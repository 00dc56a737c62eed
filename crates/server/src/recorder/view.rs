//! The view of a guest's desktop that a recorder has, and what it is told besides the picture.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use berth_control::Session;
use berth_guest_api::{STREAM_RUN_BYTES_MAX, StreamRun, VIEW, VIEW_RUN, VIEW_RUNS, ViewRights};
use berth_guest_client::{GuestError, Upgraded};
use berth_recording::{Event, Paced, Told, ToolCall, View};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::HeaderName;
use http::header::{
    CONNECTION, HOST, HeaderMap, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use tokio::io::{Join, ReadHalf, WriteHalf};
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
    socket: WebSocketStream<Join<Paced<ReadHalf<Upgraded>>, WriteHalf<Upgraded>>>,
    runs: Runs,
}

/// What is known of code that ran on streams: the last run that was told of, for a second view tells of the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Runs(Arc<AtomicU64>);

impl Runs {
    /// Takes a run as a guest tells of it, unless it is known. It is cut again: nothing that a session says is believed.
    fn take(&self, json: &[u8]) -> Told {
        if json.len() > STREAM_RUN_BYTES_MAX {
            debug!("a run on a stream is too long for a recording");
            return Told::Nothing;
        }
        let Ok(run) = serde_json::from_slice::<StreamRun>(json) else {
            debug!("a run on a stream is not told as it should be");
            return Told::Nothing;
        };
        if self.0.fetch_max(run.number, Ordering::Relaxed) >= run.number {
            return Told::Nothing;
        }
        let call = ToolCall::new("run_code", run.arguments.as_bytes(), run.output.as_bytes());
        Told::Event(Event::Tool(ToolCall {
            cut: call.cut.saturating_add(run.cut),
            failed: run.failed,
            duration: run.duration_ms,
            ..call
        }))
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
    let (reader, writer) = tokio::io::split(tunnel.io);
    let io = tokio::io::join(Paced::new(reader), writer);
    let socket = WebSocketStream::from_raw_socket(io, Role::Client, Some(limits)).await;
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

    async fn next(&mut self) -> Result<Told, ViewError> {
        match self.socket.next().await {
            Some(Ok(Message::Binary(bytes))) => match bytes.split_first() {
                Some((&VIEW_RUN, run)) => Ok(self.runs.take(run)),
                _ => Ok(Told::Message(bytes)),
            },
            Some(Ok(Message::Close(_))) | None => Err(tungstenite::Error::ConnectionClosed.into()),
            Some(Ok(Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {
                Ok(Told::Nothing)
            }
            Some(Err(error)) => Err(error.into()),
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
        let runs = Runs::default();
        let other = runs.clone();
        let taken = [
            runs.take(&told(1, "a")),
            other.take(&told(1, "a")),
            other.take(&told(2, &"b".repeat(100_000))),
            runs.take(&told(2, "b")),
            runs.take(b"no JSON"),
            runs.take(&told(3, &"c".repeat(STREAM_RUN_BYTES_MAX))),
        ];
        let outputs = taken.map(|told| match told {
            Told::Event(Event::Tool(call)) => {
                assert_eq!((&*call.name, &*call.who, call.cut), ("run_code", "", u64::MAX));
                Some(call.output.len())
            }
            Told::Nothing => None,
            other => panic!("{other:?}"),
        });
        assert_eq!(
            outputs,
            [
                Some(1),
                None,
                Some(berth_recording::OUTPUT_BYTES_MAX),
                None,
                None,
                None
            ]
        );
    }
}
