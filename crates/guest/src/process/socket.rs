//! A WebSocket to one process: what it writes, from any place that is still known, and what is typed.
//!
//! Binary messages begin with one byte: 0 for input (to the process), 1 for standard output or the terminal, 2 for
//! standard error. Text messages are JSON: from the client `{"resize": {"columns": 80, "rows": 24}}`,
//! `{"signal": "INT"}` and `{"close_input": true}`; to it, first `{"attached": {...}}` with what is known of the process
//! and the `position` where output begins, then `{"gap": bytes}` where some was too old or came too fast,
//! `{"error": "..."}`, and `{"exited": {"exit_code": 0}}` last.

use std::sync::Arc;

use axum::extract::ws::{Message, WebSocket};
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::json;

use super::replay::{Channel, Piece};
use super::{Process, Size};
use crate::activity::Clock;
use crate::tools::signal_named;

/// Longest message of a client: a paste.
pub const RECEIVED_BYTES_MAX: usize = 4 << 20;

/// Output in one go; then the client's own pace is waited for.
const WINDOW_BYTES: usize = 64 << 10;

const STDIN: u8 = 0;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    Resize(Size),
    Signal(String),
    CloseInput(bool),
}

/// Serves one watcher, from `position` on, until either side is over.
pub async fn serve(socket: WebSocket, process: Arc<Process>, position: Option<u64>, clock: Clock) {
    let (mut to_client, mut from_client) = socket.split();
    let (answers_to, mut answers) = tokio::sync::mpsc::channel::<String>(16);
    let typing = Arc::clone(&process);
    let listening = tokio::spawn(async move {
        while let Some(Ok(message)) = from_client.next().await {
            // A person at the keys is a use, as in the live view.
            clock.touch();
            let done = match message {
                Message::Binary(bytes) => match bytes.split_first() {
                    Some((&STDIN, input)) => typing.write(input).await.map_err(|error| error.to_string()),
                    _ => Err("a binary message begins with the byte 0 and holds input".into()),
                },
                Message::Text(text) => hear(text.as_str(), &typing).await,
                Message::Close(_) => break,
                Message::Ping(_) | Message::Pong(_) => Ok(()),
            };
            if let Err(error) = done
                && answers_to
                    .send(json!({ "error": error }).to_string())
                    .await
                    .is_err()
            {
                break;
            }
        }
    });
    let mut position = position.unwrap_or(0).min(process.replay.end());
    let known = process
        .replay
        .from(position, 1)
        .first()
        .map_or(position, |piece| piece.position);
    let attached = json!({ "attached": { "process": process.about(), "position": known } });
    if to_client
        .send(Message::Text(attached.to_string().into()))
        .await
        .is_err()
    {
        listening.abort();
        return;
    }
    position = known;
    loop {
        // Asked before reading: what it wrote before its end is then read after.
        let exit = process.exit();
        let pieces = process.replay.from(position, WINDOW_BYTES);
        if pieces.is_empty() {
            if let Some(exit) = exit {
                let over = json!({ "exited": { "exit_code": exit.shell_code() } });
                let _ = to_client.send(Message::Text(over.to_string().into())).await;
                let _ = to_client.close().await;
                break;
            }
            tokio::select! {
                () = process.replay.after(position) => {}
                () = process.ended() => {}
                answer = answers.recv() => match answer {
                    Some(answer) => if to_client.send(Message::Text(answer.into())).await.is_err() { break },
                    None => break,
                },
            }
            continue;
        }
        for piece in pieces {
            if piece.position > position {
                let gap = json!({ "gap": piece.position - position });
                if to_client
                    .send(Message::Text(gap.to_string().into()))
                    .await
                    .is_err()
                {
                    break;
                }
            }
            position = piece.position + piece.bytes.len() as u64;
            if to_client.send(Message::Binary(framed(&piece))).await.is_err() {
                listening.abort();
                return;
            }
        }
    }
    listening.abort();
}

fn framed(piece: &Piece) -> bytes::Bytes {
    let tag = match piece.channel {
        Channel::Stdout => 1,
        Channel::Stderr => 2,
    };
    [&[tag], &piece.bytes[..]].concat().into()
}

async fn hear(text: &str, process: &Process) -> Result<(), String> {
    let said: Said = serde_json::from_str(text).map_err(|error| {
        format!(
            "not understood ({error}); allowed: `resize` with `columns` and `rows`, `signal`, `close_input`"
        )
    })?;
    match said {
        Said::Resize(size) if !size.is_sane() => Err("`columns` and `rows` are from 1 to 1000".into()),
        Said::Resize(size) => process.resize(size).map_err(|error| error.to_string()),
        Said::Signal(name) => {
            let signal = signal_named(&name).map_err(|error| error.to_string())?;
            process.signal(signal).await.map_err(|error| error.to_string())
        }
        Said::CloseInput(false) => Ok(()),
        Said::CloseInput(true) => process.close_input().await.map_err(|error| error.to_string()),
    }
}
