//! `berth-guest serve`: the daemon. Routes, and a graceful end.

use std::io;
use std::os::unix::net::UnixListener as BlockingListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use berth_guest_api as api;
use http::{HeaderMap, StatusCode};
use tokio::signal::unix::{SignalKind, signal};

use crate::guest::{Guest, GuestError};
use crate::settings::{Settings, SettingsError};
use crate::{pictures, ports, process, stream, tools, transfer, view, view_files};

/// Largest body of a tool call.
const BODY_BYTES_MAX: usize = 64 << 20;

/// How long open requests may take to end after the order to stop.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(3);

/// Threads for requests. Code, programs and files have their own.
const THREADS: usize = 2;

/// Why the daemon could not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Bad settings.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A part did not start.
    #[error(transparent)]
    Guest(#[from] GuestError),
    /// The socket.
    #[error("could not listen")]
    Listen(#[source] io::Error),
    /// The runtime.
    #[error("could not start the runtime")]
    Runtime(#[source] io::Error),
}

/// Serves `listener` until SIGTERM.
pub fn run(listener: BlockingListener) -> Result<(), ServeError> {
    let settings = Settings::read(|name| std::env::var(name).ok())?;
    let guest = Guest::new(settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .map_err(ServeError::Runtime)?;
    let served = runtime.block_on(serve(listener, guest));
    // Work that does not end by itself does not keep the session alive.
    runtime.shutdown_background();
    served
}

async fn serve(listener: BlockingListener, guest: Guest) -> Result<(), ServeError> {
    listener.set_nonblocking(true).map_err(ServeError::Listen)?;
    let listener = tokio::net::UnixListener::from_std(listener).map_err(ServeError::Listen)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Runtime)?;
    let warming = guest.clone();
    tokio::spawn(async move { warming.warm_up().await });
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "guest is listening");

    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = axum::serve(listener, routes(guest)).with_graceful_shutdown(async {
        let _ = stopped.await;
    });
    let mut server = std::pin::pin!(server.into_future());
    tokio::select! {
        ended = &mut server => return ended.map_err(ServeError::Listen),
        _ = terminate.recv() => tracing::info!("guest is stopping"),
    }
    let _ = stop.send(());
    let _ = tokio::time::timeout(DRAIN_TIME_MAX, server).await;
    Ok(())
}

fn routes(guest: Guest) -> Router {
    Router::new()
        .route(api::HELLO, get(hello))
        .route(api::ACTIVITY, get(activity))
        .route(&format!("{}{{name}}", api::TOOLS), post(tool))
        .route(api::STREAM, get(open_stream))
        .route(api::VIEW, get(open_view))
        .route(api::VIEWERS, get(viewers))
        .route(&format!("{}{{id}}", api::PICTURES), get(pictures::send))
        .route(&format!("{}{{port}}", api::PORTS), get(ports::open))
        .route(&format!("{}{{id}}", api::PROCESSES), get(open_process))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .route(api::FILES, get(transfer::download).put(transfer::upload))
        .route(api::VIEW_FILES, get(view_files::download).put(view_files::upload))
        .with_state(guest)
}

async fn hello(State(guest): State<Guest>) -> Json<api::Hello> {
    Json(api::Hello {
        contract_version: api::CONTRACT_VERSION,
        guest_version: env!("CARGO_PKG_VERSION").into(),
        tools: tools::specs(),
        warm: guest.code.is_warm(),
        features: vec![api::FEATURE_VIEW_RIGHTS.into()],
    })
}

async fn activity(State(guest): State<Guest>) -> Json<api::Activity> {
    Json(guest.clock.report())
}

async fn tool(
    State(mut guest): State<Guest>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(tool) = tools::find(&name) else {
        let names: Vec<_> = tools::TABLE
            .iter()
            .map(|entry| format!("`{}`", entry.spec.name))
            .collect();
        let text = format!(
            "tool `{name}` does not exist in this session; there are {}",
            names.join(", ")
        );
        return (StatusCode::NOT_FOUND, Json(api::ToolResult::error(text))).into_response();
    };
    let url = headers.get(api::PICTURES_URL).and_then(|url| url.to_str().ok());
    guest.pictures_url = url.map(Arc::from);
    let result = (tool.call)(body, guest).await;
    let failed = result.is_error.then_some([(api::TOOL_FAILED, "1")]);
    (failed, Json(result)).into_response()
}

async fn open_stream(State(guest): State<Guest>, upgrade: WebSocketUpgrade) -> Response {
    guest.clock.touch();
    upgrade
        .max_message_size(stream::RECEIVED_BYTES_MAX)
        .max_frame_size(stream::RECEIVED_BYTES_MAX)
        .on_upgrade(|socket| stream::serve(socket, guest))
}

async fn open_view(State(guest): State<Guest>, headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    let quiet = headers.contains_key(api::VIEW_QUIET);
    let runs = headers.contains_key(api::VIEW_RUNS).then(|| guest.runs.listen());
    let visitor = match view::visitor(&headers) {
        Ok(visitor) => visitor,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    let first = view::first_message(&headers);
    upgrade
        .max_message_size(view::RECEIVED_BYTES_MAX)
        .max_frame_size(view::RECEIVED_BYTES_MAX)
        .on_upgrade(move |socket| view::serve(socket, guest, visitor, first, quiet, runs))
}

async fn viewers(State(guest): State<Guest>) -> Json<view::Viewers> {
    Json(guest.views.viewers().await)
}

#[derive(Debug, serde::Deserialize)]
struct From {
    position: Option<u64>,
}

async fn open_process(
    State(guest): State<Guest>,
    Path(id): Path<String>,
    Query(from): Query<From>,
    upgrade: WebSocketUpgrade,
) -> Response {
    guest.clock.touch();
    match guest.processes.get(&id) {
        Err(error) => (StatusCode::NOT_FOUND, error.to_string()).into_response(),
        Ok(process) => upgrade
            .max_message_size(process::socket::RECEIVED_BYTES_MAX)
            .max_frame_size(process::socket::RECEIVED_BYTES_MAX)
            .on_upgrade(move |socket| process::socket::serve(socket, process, from.position, guest.clock)),
    }
}
