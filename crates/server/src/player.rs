//! Serves the page that plays one recording, to one person on this machine.
//!
//! The URL holds a key, which other users of the machine and pages of other sites do not know.

use std::io::{Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use berth_recording::{Contents, FormatError, Reader};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use tokio::net::TcpListener;

use crate::pages;

/// Bytes that are given at once; the page asks for no more.
const PIECE_BYTES_MAX: u64 = 8 << 20;

/// Why a recording is not played.
#[derive(Debug, thiserror::Error)]
pub enum PlayerError {
    /// The file.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The port.
    #[error("could not serve the page that plays it")]
    Io(#[from] std::io::Error),
    /// The binary.
    #[error("this build has no page that plays recordings; build `web/` first")]
    NoPage,
}

/// A page that is ready to be served.
#[derive(Debug)]
pub struct Player {
    listener: TcpListener,
    url: String,
    router: Router,
}

struct Playing {
    file: Mutex<fs_err::File>,
    contents: Contents,
}

impl Player {
    /// Looks at the recording and takes a port of this machine; 0 is a free one.
    ///
    /// # Errors
    ///
    /// When it is no recording, or the port is taken.
    pub async fn open(path: &std::path::Path, port: u16) -> Result<Self, PlayerError> {
        pages::player(&HeaderMap::new()).ok_or(PlayerError::NoPage)?;
        let file = fs_err::File::open(path).map_err(FormatError::from)?;
        let contents = Reader::open(&file)?.contents()?;
        let playing = Playing {
            file: Mutex::new(file),
            contents,
        };
        let key = format!("{:032x}", rand::random::<u128>());
        let routes = Router::new()
            .route("/play/", get(page))
            .route("/play/contents", get(contents_of))
            .route("/play/bytes", get(bytes_of))
            .route("/assets/{file}", get(asset))
            .with_state(Arc::new(playing));
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
        let url = format!("http://{}/{key}/play/", listener.local_addr()?);
        Ok(Self {
            listener,
            url,
            router: Router::new().nest(&format!("/{key}"), routes),
        })
    }

    /// The page.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Serves it until this is dropped.
    ///
    /// # Errors
    ///
    /// When the machine gives no more connections.
    pub async fn serve(self) -> Result<(), PlayerError> {
        Ok(axum::serve(self.listener, self.router).await?)
    }
}

async fn page(accepted: HeaderMap) -> Result<Response, StatusCode> {
    pages::player(&accepted).ok_or(StatusCode::NOT_FOUND)
}

async fn contents_of(State(playing): State<Arc<Playing>>) -> Response {
    ([(CACHE_CONTROL, "no-store")], axum::Json(&playing.contents)).into_response()
}

/// Which bytes of the file.
#[derive(Debug, Deserialize)]
struct Range {
    from: u64,
    to: u64,
}

async fn bytes_of(State(playing): State<Arc<Playing>>, Query(Range { from, to }): Query<Range>) -> Response {
    let length = to.saturating_sub(from);
    if length > PIECE_BYTES_MAX {
        let text = format!("`to` is {length} bytes after `from`; allowed: at most {PIECE_BYTES_MAX}");
        return (StatusCode::BAD_REQUEST, text).into_response();
    }
    let read = tokio::task::spawn_blocking(move || {
        let mut file = playing.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(from))?;
        file.by_ref().take(length).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    });
    match read.await {
        Ok(Ok(bytes)) => {
            let headers = [
                (CONTENT_TYPE, "application/octet-stream"),
                (CACHE_CONTROL, "no-store"),
            ];
            (headers, bytes).into_response()
        }
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn asset(Path(file): Path<String>, accepted: HeaderMap) -> Response {
    match pages::asset(&file, &accepted) {
        Some(asset) => ([(X_CONTENT_TYPE_OPTIONS, "nosniff")], asset).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
