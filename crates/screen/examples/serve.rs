//! Serves one display as a live view, without tickets: for trying the page and for measuring.
//!
//! ```text
//! cargo run -p berth-screen --example serve -- --display :5 --listen 127.0.0.1:8081 --dist web/dist
//! ```
//!
//! The page is at `/`, its files at `/assets/`, the WebSocket at `/ws`. Anyone who reaches the address has the display:
//! listen on loopback only.

#![allow(clippy::print_stderr, reason = "a program for a terminal")]

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path as UrlPath, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::ListenerExt;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use berth_screen::{Screen, Viewer, Visitor};
use clap::Parser;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};

#[derive(Parser)]
struct Args {
    /// The X display to show.
    #[arg(long)]
    display: String,
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// Folder with the built page.
    #[arg(long, default_value = "web/dist")]
    dist: PathBuf,
}

struct App {
    screen: Screen,
    dist: PathBuf,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let screen = Screen::open(&args.display)?;
    let app = Arc::new(App {
        screen: screen.clone(),
        dist: args.dist,
    });
    let router = Router::new()
        .route(
            "/",
            get(async |State(app): State<Arc<App>>| file(&app.dist.join("index.html"))),
        )
        .route("/assets/{name}", get(asset))
        .route("/status", get(status))
        .route("/ws", get(connect))
        .with_state(app);
    let listener = tokio::net::TcpListener::bind(args.listen)
        .await?
        .tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
    let server = axum::serve(listener, router).with_graceful_shutdown(async move { screen.closed().await });
    server.await?;
    Ok(())
}

async fn asset(State(app): State<Arc<App>>, UrlPath(name): UrlPath<String>) -> Response {
    // One path segment, so it can only leave the folder by being `..`.
    if name.contains("..") {
        return StatusCode::NOT_FOUND.into_response();
    }
    file(&app.dist.join("assets").join(name))
}

fn file(path: &Path) -> Response {
    let kind = match path.extension().and_then(|ending| ending.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript",
        Some("css") => "text/css",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    };
    match fs_err::read(path) {
        // Small as the server's pages are, so that a slow link is measured as it would be there.
        Ok(bytes) => match gzip(&bytes) {
            Ok(packed) => {
                let headers = [(header::CONTENT_TYPE, kind), (header::CONTENT_ENCODING, "gzip")];
                (headers, packed).into_response()
            }
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        },
        Err(error) => (StatusCode::NOT_FOUND, error.to_string()).into_response(),
    }
}

fn gzip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(bytes)?;
    packed.finish()
}

async fn status(State(app): State<Arc<App>>) -> Response {
    let state = if app.screen.is_closed() { "ended" } else { "live" };
    (
        [(header::CONTENT_TYPE, "application/json")],
        format!("{{\"state\":\"{state}\"}}"),
    )
        .into_response()
}

#[derive(serde::Deserialize)]
struct Opening {
    hello: Option<String>,
}

async fn connect(
    State(app): State<Arc<App>>,
    Query(opening): Query<Opening>,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade.max_message_size(2 << 20).on_upgrade(async move |socket| {
        let viewer = app.screen.attach(Visitor::owner());
        if let Some(hello) = opening.hello.and_then(|hello| URL_SAFE_NO_PAD.decode(hello).ok())
            && let Err(error) = viewer.receive(&hello)
        {
            return eprintln!("the page is not let in: {error}");
        }
        let (to_page, from_page) = socket.split();
        // Side by side, so that a full socket holds up no input. Whichever ends first ends both.
        tokio::select! {
            () = show(&viewer, to_page) => {}
            () = listen(&viewer, from_page) => {}
        }
    })
}

async fn show(viewer: &Viewer, mut page: SplitSink<WebSocket, Message>) {
    while let Some(message) = viewer.next().await {
        if page.send(Message::Binary(message)).await.is_err() {
            return;
        }
    }
}

async fn listen(viewer: &Viewer, mut page: SplitStream<WebSocket>) {
    while let Some(Ok(message)) = page.next().await {
        if let Message::Binary(message) = message
            && let Err(error) = viewer.receive(&message)
        {
            eprintln!("the page is closed: {error}");
            return;
        }
    }
}
