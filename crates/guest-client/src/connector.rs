//! Connects hyper's client to a Unix socket, whatever the URI says.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tower::Service;

/// Opens connections to one socket.
#[derive(Debug, Clone)]
pub(crate) struct SocketConnector(Arc<PathBuf>);

impl SocketConnector {
    pub(crate) fn new(socket: Arc<PathBuf>) -> Self {
        Self(socket)
    }
}

impl Service<Uri> for SocketConnector {
    type Response = TokioIo<UnixStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<UnixStream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let socket = Arc::clone(&self.0);
        Box::pin(async move { UnixStream::connect(socket.as_path()).await.map(TokioIo::new) })
    }
}
