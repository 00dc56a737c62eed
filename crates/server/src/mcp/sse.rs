//! HTTP with Server-Sent Events, the transport of the protocol's first version: answers come through one event stream, whose
//! first event names the URL that takes the messages. The URL is a secret; who has it speaks for the client.
//!
//! `rmcp` serves one connection over two bounded queues. When the client leaves, the stream is dropped, which ends the service,
//! its calls, and the session that was made for it.

use std::convert::Infallible;
use std::sync::Arc;

use axum::response::Response;
use axum::response::sse::Event;
use berth_agb_api::Code;
use futures_util::{StreamExt, stream};
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::service::serve_server_with_ct;
use rmcp::transport::Transport;
use rmcp::{RoleServer, transport::TransportAdapterIdentity};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{Instrument, Span, debug};

use super::http::events;
use super::message::Message;
use super::tools::{Seat, Tools};
use super::{MESSAGE_BYTES_MAX, Mcp, new_secret};
use crate::body::Unread;
use crate::error::ApiError;
use crate::urls::Base;
use crate::{App, audit};

/// Messages that wait in each direction.
const QUEUE: usize = 4;

/// Opens an event stream for a client that reaches the server at `base`.
pub(crate) fn open(app: &App, seat: Seat, base: Base) -> Response {
    let name = new_secret();
    let (messages_to, messages) = mpsc::channel(QUEUE);
    let (answers_to, answers) = mpsc::channel(QUEUE);
    app.mcp.streams().insert(name.clone(), messages_to);
    let first = Event::default().event("endpoint").data(base.mcp_stream(&name));
    let ended = CancellationToken::new();
    let open = Open {
        mcp: Arc::clone(&app.mcp),
        name,
        _ended: ended.clone().drop_guard(),
    };
    let tools = Tools {
        app: app.clone(),
        seat,
        base,
        part: audit::part(),
        cancelled: ended.clone(),
    };
    let transport = Queues { messages, answers_to };
    let service = async move {
        match serve_server_with_ct::<_, _, _, TransportAdapterIdentity>(tools, transport, ended).await {
            Ok(service) => drop(service.waiting().await),
            Err(error) => debug!("an MCP client was not served: {error}"),
        }
    };
    tokio::spawn(service.instrument(Span::current()));

    let answers = stream::unfold((answers, open), |(mut answers, open)| async move {
        let answer: ServerJsonRpcMessage = answers.recv().await?;
        // A message is made of strings, numbers and JSON, so it can always be written.
        let text = serde_json::to_string(&answer).unwrap_or_default();
        let event = Event::default().event("message").data(text);
        Some((Ok::<_, Infallible>(event), (answers, open)))
    });
    let stop = app.stop.clone().cancelled_owned();
    events(stream::once(async { Ok(first) }).chain(answers).take_until(stop))
}

/// Takes a message for an open event stream.
pub(crate) async fn deliver(app: &App, name: &str, body: Unread) -> Result<(), ApiError> {
    let gone = || {
        ApiError::new(
            Code::McpSessionNotFound,
            "there is no such event stream, or it has ended; open one with `GET /v2/sse`",
        )
    };
    // The lock is let go before anybody waits.
    let stream = app.mcp.streams().get(name).cloned().ok_or_else(gone)?;
    let body = body.read(MESSAGE_BYTES_MAX).await?;
    Message::read(&body)?;
    let message = serde_json::from_slice(&body).map_err(|error| {
        ApiError::new(
            Code::MalformedBody,
            format!("the body is no message of MCP: {error}"),
        )
    })?;
    stream.send(message).await.map_err(|_| gone())
}

/// An event stream that somebody reads.
struct Open {
    mcp: Arc<Mcp>,
    name: String,
    _ended: DropGuard,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.mcp.streams().remove(&self.name);
    }
}

/// A connection as `rmcp` sees it.
struct Queues {
    messages: mpsc::Receiver<ClientJsonRpcMessage>,
    answers_to: mpsc::Sender<ServerJsonRpcMessage>,
}

/// The client has left before its answer.
#[derive(Debug, thiserror::Error)]
#[error("the client has closed its event stream")]
struct Left;

impl Transport<RoleServer> for Queues {
    type Error = Left;

    fn send(
        &mut self,
        answer: ServerJsonRpcMessage,
    ) -> impl Future<Output = Result<(), Left>> + Send + 'static {
        let answers_to = self.answers_to.clone();
        async move { answers_to.send(answer).await.map_err(|_| Left) }
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        self.messages.recv().await
    }

    async fn close(&mut self) -> Result<(), Left> {
        self.messages.close();
        Ok(())
    }
}
