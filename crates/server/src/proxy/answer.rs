//! The body of an answer from inside a session, as it streams to the client.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use berth_control::{End, Session};
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Why an answer was cut off. The client sees a connection that breaks, so it cannot take the part for the whole.
#[derive(Debug, thiserror::Error)]
pub(super) enum Cut {
    #[error("the session ended: {0}")]
    SessionEnded(End),
    #[error("the server is stopping")]
    ServerStops,
}

/// A body that passes through. Each piece counts as use of the session; the connection to the inside ends with it.
pub(super) struct Answer {
    body: Incoming,
    session: Arc<Session>,
    cut: Pin<Box<dyn Future<Output = Cut> + Send>>,
    _connection: AbortOnDropHandle<()>,
}

impl Answer {
    /// `grace`: how long the answer may go on after the server was asked to stop.
    pub(super) fn new(
        body: Incoming,
        session: Arc<Session>,
        stop: CancellationToken,
        grace: Duration,
        connection: AbortOnDropHandle<()>,
    ) -> Self {
        let living = Arc::clone(&session);
        let cut = Box::pin(async move {
            let stopping = async {
                stop.cancelled().await;
                tokio::time::sleep(grace).await;
            };
            tokio::select! {
                end = living.ended() => Cut::SessionEnded(end),
                () = stopping => Cut::ServerStops,
            }
        });
        Self {
            body,
            session,
            cut,
            _connection: connection,
        }
    }
}

/// Tells no size: the headers of the answer do, and the answer to a HEAD request has a size without having a body.
impl Body for Answer {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Poll::Ready(cut) = self.cut.as_mut().poll(context) {
            return Poll::Ready(Some(Err(cut.into())));
        }
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(_)) = &frame {
            self.session.touch();
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
