//! Accepting connections, and ending them in order.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use berth_control::Control;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tracing::{debug, info, warn};

use crate::mcp::Mcp;
use crate::metrics::{ToolMetrics, UPKEEP_EVERY};
use crate::request::Peer;
use crate::router::{collapse_slashes, router};
use crate::urls::{LinksUrl, lead_to_link};
use crate::{App, Config};

/// A client that has not sent a whole request head by then is cut off.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Largest request head: clients put up to tens of KiB into query strings.
const HEAD_BYTES_MAX: usize = 256 << 10;

/// How long calls that are under way may take after a stop was asked for.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a start waits for a port that is in use, and how often it tries.
const BIND_PATIENCE: Duration = Duration::from_secs(3);
const BIND_PAUSE: Duration = Duration::from_millis(20);

/// The pause after `accept` failed, for want of file descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound address, on which nothing is served yet.
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds an address such as `127.0.0.1:8080`; port 0 takes a free one.
    ///
    /// A child that a killed server had just forked holds the server's sockets until it runs its program, so a port
    /// that is taken may be free a moment later.
    pub async fn bind(address: &str) -> io::Result<Self> {
        let patience = Instant::now() + BIND_PATIENCE;
        let mut told = false;
        let tcp = loop {
            match TcpListener::bind(address).await {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < patience => {
                    if !std::mem::replace(&mut told, true) {
                        info!("{address} is in use; trying again for {BIND_PATIENCE:?}");
                    }
                    tokio::time::sleep(BIND_PAUSE).await;
                }
                bound => break bound?,
            }
        };
        let address = tcp.local_addr()?;
        Ok(Self { tcp, address })
    }

    /// The address that was bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Serves until `stop` is cancelled, then lets the calls that are under way finish.
pub async fn serve(listener: Listener, control: Arc<Control>, config: Config, stop: CancellationToken) {
    let connections = TaskTracker::new();
    let metrics = Arc::new(config.metrics);
    tokio::spawn({
        let (metrics, stop) = (Arc::clone(&metrics), stop.clone());
        async move {
            while !stop.is_cancelled() {
                metrics.keep_small();
                let _ = tokio::time::timeout(UPKEEP_EVERY, stop.cancelled()).await;
            }
        }
    });
    let app = App {
        tool_metrics: ToolMetrics::new(control.session_tools()),
        mcp: Arc::new(Mcp::new(control.session_tools())),
        control,
        metrics,
        follow: config.follow,
        public_url: config.public_url.map(Into::into),
        links_url: config.links_url.clone(),
        audit: config.audit,
        stop: stop.clone(),
        connections: connections.clone(),
    };
    let links = config.links_url.map(Arc::new);
    let router = router(app);
    loop {
        let accepted = tokio::select! {
            accepted = listener.tcp.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                connections.spawn(connection(
                    stream,
                    peer,
                    router.clone(),
                    links.clone(),
                    stop.clone(),
                ));
            }
            Err(error) => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "could not accept a connection"
                );
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    info!("stopping: waiting for calls that are under way");
    connections.close();
    if tokio::time::timeout(DRAIN_TIMEOUT, connections.wait())
        .await
        .is_err()
    {
        warn!("calls were still under way after {DRAIN_TIMEOUT:?}; they are cut off");
    }
}

/// Serves one connection until the client leaves; after a stop, until its present call is answered.
async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: axum::Router,
    links: Option<Arc<LinksUrl>>,
    stop: CancellationToken,
) {
    // Answers and screen updates are small and urgent.
    if let Err(error) = stream.set_nodelay(true) {
        debug!("no TCP_NODELAY for {peer}: {error}");
    }
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = match &links {
            Some(links) => lead_to_link(links, request).unwrap_or_else(collapse_slashes),
            None => collapse_slashes(request),
        };
        request.extensions_mut().insert(Peer(peer));
        router.clone().oneshot(request)
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut serving = pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        debug!("connection from {peer} ended: {error}");
    }
}
