//! A live view that a program looks at: the messages of its WebSocket, as they come.

use std::time::Duration;

use bytes::Bytes;
use tokio_tungstenite::tungstenite::Message;

use crate::socket::{Limits, Socket};
use crate::{Agb, Error};

/// A full picture of the largest screen deflates to less.
const LIMITS: Limits = Limits {
    message_bytes_max: 64 << 20,
    ping_pause: Duration::from_secs(20),
    pings_max: 3,
};

/// A live view's connection. What the messages mean is the page's business, and a recorder's.
#[derive(Debug)]
pub struct LiveView(Socket);

impl Agb {
    /// Opens the live view behind a URL of [`share`](Self::share). Does not count as use.
    ///
    /// # Errors
    ///
    /// [`Error::SessionEnded`] when the session is over, or the URL is not good any more.
    pub async fn open_view(&self, session_id: &str, url: &str) -> Result<LiveView, Error> {
        let session = self.session(session_id)?;
        // The page's query is not the socket's.
        let page = url.split('?').next().unwrap_or(url);
        let socket = match page.strip_prefix("http") {
            Some(rest) => format!("ws{}/ws?quiet=true", rest.trim_end_matches('/')),
            None => return Err(Error::Protocol(format!("the live view's URL is {url:?}"))),
        };
        Ok(LiveView(Socket::open(&session, &socket, LIMITS).await?))
    }
}

impl LiveView {
    /// The next message. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Error::SessionEnded`] when the session ended, [`Error::Disconnected`] when the connection broke.
    pub async fn next(&mut self) -> Result<Bytes, Error> {
        loop {
            if let Message::Binary(bytes) = self.0.next().await? {
                return Ok(bytes);
            }
        }
    }

    /// Sends a message, such as an acknowledgement.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub async fn send(&mut self, message: Bytes) -> Result<(), Error> {
        self.0.send(Message::Binary(message)).await
    }
}
