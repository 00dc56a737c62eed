//! A WebSocket of a session: opened with its token, asked for signs of life while it is silent, and explained when it
//! breaks.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use reqwest::Upgraded;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};

use crate::{Error, Session};

/// What one kind of WebSocket allows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Longest message.
    pub(crate) message_bytes_max: usize,
    /// Between two signs of life that are asked for.
    pub(crate) ping_pause: Duration,
    /// So many in a row without any answer, and the server counts as gone.
    pub(crate) pings_max: u32,
}

/// One connection. Whatever breaks it, the error is the session's end if it was that.
#[derive(Debug)]
pub(crate) struct Socket {
    session: Session,
    stream: WebSocketStream<Upgraded>,
    pings: Interval,
    pings_max: u32,
    unanswered: u32,
}

impl Socket {
    /// Connects to `url`, which is the session's `ws_url` or below it.
    pub(crate) async fn open(session: &Session, url: &str, limits: Limits) -> Result<Self, Error> {
        let http = &session.agb.http;
        let connection = http
            .open_socket(url, session.token(), session.session_id())
            .await?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(limits.message_bytes_max))
            .max_frame_size(Some(limits.message_bytes_max));
        let mut pings = interval(limits.ping_pause);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pings.reset();
        Ok(Self {
            session: session.clone(),
            stream: WebSocketStream::from_raw_socket(connection, Role::Client, Some(config)).await,
            pings,
            pings_max: limits.pings_max,
            unanswered: 0,
        })
    }

    /// The next message with content. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Message, Error> {
        loop {
            let heard = tokio::select! {
                heard = self.stream.next() => heard,
                _ = self.pings.tick() => {
                    self.unanswered += 1;
                    if self.unanswered > self.pings_max {
                        let silence = tungstenite::Error::Io(std::io::ErrorKind::TimedOut.into());
                        return Err(self.session.broken(silence).await);
                    }
                    self.send(Message::Ping(Bytes::new())).await?;
                    continue;
                }
            };
            self.unanswered = 0;
            match heard {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => return Ok(message),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_))) | None => {
                    return Err(self.session.broken(tungstenite::Error::ConnectionClosed).await);
                }
                Some(Err(error)) => return Err(self.session.broken(error).await),
            }
        }
    }

    pub(crate) async fn send(&mut self, message: Message) -> Result<(), Error> {
        match self.stream.send(message).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.session.broken(error).await),
        }
    }

    /// Says farewell. Nothing depends on whether the server hears it.
    pub(crate) async fn close(&mut self) {
        let _ = self.stream.close(None).await;
    }
}
