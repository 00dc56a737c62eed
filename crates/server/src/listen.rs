//! Accepting connections, and ending them in order.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use berth_control::Control;
use http::header::{CACHE_CONTROL, CONNECTION, LOCATION, REFERRER_POLICY};
use http::{HeaderValue, StatusCode};
use hyper::body::Incoming;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tracing::{debug, info, warn};

use crate::mcp::Mcp;
use crate::metrics::{ToolMetrics, UPKEEP_EVERY};
use crate::recorder::Recorders;
use crate::request::Peer;
use crate::router::{collapse_slashes, router};
use crate::tls::{Accepted, Tls};
use crate::urls::{LinksUrl, host, lead_to_link};
use crate::{App, Config};

/// A connection that was quiet for so long is asked whether there is still somebody, and so often from then on.
const ALIVE_AFTER: Duration = Duration::from_secs(30);
const ALIVE_EVERY: Duration = Duration::from_secs(10);

/// How long a peer may not answer that, or take nothing of what it was sent, milliseconds. A program may be busy with what it
/// has read.
const ALIVE_TIMEOUT_MS: u32 = 180_000;

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
    let recorders = Arc::new(Recorders::new(config.record));
    tokio::spawn({
        let (metrics, recorders, stop) = (Arc::clone(&metrics), Arc::clone(&recorders), stop.clone());
        async move {
            while !stop.is_cancelled() {
                metrics.keep_small();
                recorders.keep_small().await;
                let _ = tokio::time::timeout(UPKEEP_EVERY, stop.cancelled()).await;
            }
        }
    });
    let app = App {
        tool_metrics: ToolMetrics::new(control.session_tools()),
        recorders,
        mcp: Arc::new(Mcp::new(control.session_tools())),
        control,
        metrics,
        follow: config.follow,
        public_url: config.public_url.map(Into::into),
        has_tls: config.tls.is_some(),
        links_url: config.links_url.clone(),
        audit: config.audit,
        stop: stop.clone(),
        connections: connections.clone(),
    };
    crate::pages::prepare();
    let shared = Shared {
        router: router(app),
        links: config.links_url.map(Arc::new),
        tls: config.tls.map(Arc::new),
        stop: stop.clone(),
    };
    loop {
        let accepted = tokio::select! {
            accepted = listener.tcp.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                connections.spawn(connection(stream, peer, shared.clone()));
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

/// What every connection needs.
#[derive(Clone)]
struct Shared {
    router: axum::Router,
    links: Option<Arc<LinksUrl>>,
    tls: Option<Arc<Tls>>,
    stop: CancellationToken,
}

/// Serves one connection until the client leaves; after a stop, until its present call is answered.
async fn connection(stream: TcpStream, peer: SocketAddr, shared: Shared) {
    if let Err(error) = tune(&stream) {
        debug!("the connection with {peer} is left as it is: {error}");
    }
    let Shared {
        router,
        links,
        tls,
        stop,
    } = shared;
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = match &links {
            Some(links) => lead_to_link(links, request).unwrap_or_else(collapse_slashes),
            None => collapse_slashes(request),
        };
        request.extensions_mut().insert(Peer(peer));
        router.clone().oneshot(request)
    });
    let begun = match &tls {
        None => return converse(stream, service, peer, stop).await,
        Some(tls) => tokio::select! {
            begun = tls.accept(stream) => begun,
            () = stop.cancelled() => return,
        },
    };
    match begun {
        Ok(Accepted::Secure(stream)) => converse(stream, service, peer, stop).await,
        Ok(Accepted::Plain(stream)) => {
            let service = service_fn(async |request| Ok::<_, Infallible>(lead_to_tls(&request)));
            converse(stream, service, peer, stop).await;
        }
        Err(error) => debug!("no TLS with {peer}: {error}"),
    }
}

/// Small writes go out at once, for answers and screen updates are urgent; and a peer that is gone without a word is noticed,
/// though nothing is sent, or what is sent is not taken.
fn tune(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, ALIVE_AFTER)?;
    sockopt::set_tcp_keepintvl(stream, ALIVE_EVERY)?;
    sockopt::set_tcp_user_timeout(stream, ALIVE_TIMEOUT_MS)?;
    Ok(())
}

/// Answers requests on one connection.
async fn converse<S>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    service: S,
    peer: SocketAddr,
    stop: CancellationToken,
) where
    S: HttpService<Incoming, ResBody = Body>,
    S::Error: std::error::Error + Send + Sync + 'static,
{
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

/// What a client is told that speaks plain HTTP to the port for TLS: where to go, when it only wants to look.
fn lead_to_tls(request: &hyper::Request<Incoming>) -> Response {
    let host = host(request.headers()).filter(|_| request.method().is_safe());
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let to = host.and_then(|host| HeaderValue::try_from(format!("https://{host}{path}")).ok());
    // The URL may be a credential, so it is neither kept nor told to anybody.
    let common = [
        (CONNECTION, "close"),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    match to {
        Some(to) => (StatusCode::PERMANENT_REDIRECT, common, [(LOCATION, to)]).into_response(),
        None => {
            let message = "this server speaks HTTPS on this port, and the request was plain HTTP; begin the URL with https://";
            (StatusCode::BAD_REQUEST, common, message).into_response()
        }
    }
}
