//! The edge and the API, on axum: authenticates, limits, asks the control plane, proxies to the guest, serves the pages.
//!
//! In: HTTP and WebSocket requests with an API key, a session token, a live view ticket or a port link. Out: answers in the AGB
//! protocol's envelope, or in MCP's ([`mcp`]). A tool call is authenticated here and passed on to the session's guest as it
//! stands; its answer goes into the envelope unread, but for the pictures that MCP wants apart.
//!
//! Never: a path, an address or a length that a session chose. Errors of the layers below get their status and code in
//! one place, [`error`].
//!
//! Start reading at [`router`](mod@router), which is the whole surface at a glance, then [`openapi`] for how a route
//! describes itself.

mod audit;
mod auth;
mod body;
mod calls;
mod error;
mod listen;
mod mcp;
mod metrics;
mod openapi;
mod pages;
mod player;
mod proxy;
mod recorder;
mod request;
mod router;
mod routes;
mod tls;
mod tunnel;
mod urls;

use std::sync::Arc;

use berth_control::Control;
use http::HeaderMap;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use audit::{Audit, AuditError};
pub use listen::{Listener, serve};
pub use metrics::{Metrics, MetricsAccess};
pub use player::{Player, PlayerError};
pub use recorder::RecordConfig;
pub use tls::{Tls, TlsError, read_certificates, read_key};
pub use urls::LinksUrl;

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) control: Arc<Control>,
    /// Where clients reach this server, when it is not where they say they do (`Host`).
    pub(crate) public_url: Option<Arc<str>>,
    /// Clients speak TLS with this server itself.
    pub(crate) has_tls: bool,
    /// Where port links are, when they are not paths of this server.
    pub(crate) links_url: Option<LinksUrl>,
    pub(crate) audit: Arc<Audit>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) follow: Option<Follow>,
    pub(crate) tool_metrics: metrics::ToolMetrics,
    pub(crate) mcp: Arc<mcp::Mcp>,
    pub(crate) recorders: Arc<recorder::Recorders>,
    /// Cancelled when the server stops: open tunnels end, clients connect again.
    pub(crate) stop: CancellationToken,
    /// Connections and tunnels that a stop waits for.
    pub(crate) connections: TaskTracker,
}

/// Makes a request's span a child of the one that the client names in its headers.
pub type Follow = fn(&HeaderMap, &tracing::Span);

/// Settings of the edge.
#[derive(Debug)]
pub struct Config {
    /// Base URL for the links that the server hands out, such as `https://berth.example.com`. Without it, the `Host`
    /// of each request decides.
    pub public_url: Option<String>,
    /// The certificate, if clients speak TLS with this server itself.
    pub tls: Option<Tls>,
    /// Host names for port links. Without it, they are paths of this server.
    pub links_url: Option<LinksUrl>,
    /// Where it is written who did what.
    pub audit: Arc<Audit>,
    /// What is counted, and who may read it.
    pub metrics: Metrics,
    /// Where and how sessions are recorded, if they are.
    pub record: Option<RecordConfig>,
    /// How traces are continued, if they are exported.
    pub follow: Option<Follow>,
}
