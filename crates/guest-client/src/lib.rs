//! Speaks to a guest: HTTP/1.1 over the Unix socket that the host made.
//!
//! In: a socket path, then tool calls and WebSocket handshakes. Out: the guest's answers, bounded: a session's code may
//! have taken over its guest, so no length, status or content that comes back is trusted.
//!
//! Never: a path or an address that came from a session. Start reading at [`Guest`].

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use berth_guest_api::{
    ACTIVITY, Activity, HELLO, Hello, PICTURE_BYTES_MAX, PICTURES, PICTURES_URL, PORT_UPGRADE, PORTS,
    TOOL_FAILED, TOOLS, VIEW_FILES, VIEWERS, VIEWERS_BYTES_MAX,
};
use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::value::RawValue;
use tokio::net::UnixStream;

mod body_memory;
mod connector;

pub use body_memory::{BodyError, BodyMemory};
use connector::SocketConnector;

/// Largest answer of a tool. Tools bound their own output far below; more than this is not a guest of ours.
pub const ANSWER_BYTES_MAX: usize = 96 << 20;

/// What answers may hold together, until their readers have them.
static ANSWERS: LazyLock<BodyMemory> = LazyLock::new(|| BodyMemory::new(1 << 30));

/// Largest answer of the guest about itself.
const OWN_ANSWER_BYTES_MAX: usize = 1 << 20;

/// What guests of older versions do not have, in the words of [`GuestError::Outdated`].
const FILES_OF_VIEWS: &str = "files in its live view";

/// How long a guest may take to answer about itself, and to accept a WebSocket.
const OWN_ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Open connections that wait for the next call. More calls than that at once open and close their own.
const IDLE_CONNECTIONS_MAX: usize = 8;

/// Bytes of a transfer that wait for a slow reader in each direction.
const TRANSFER_BUFFER_BYTES: usize = 512 << 10;

/// Why a guest gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// Nothing listens, or the connection broke.
    #[error("the session's guest does not answer")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No answer in time.
    #[error("the session's guest did not answer within {0:?}")]
    TimedOut(Duration),
    /// The guest works, but no server inside accepts connections on this port.
    #[error("nothing listens on port {port} of the session: {reason}")]
    NotListening {
        /// The port.
        port: u16,
        /// In the guest's words.
        reason: String,
    },
    /// The guest refuses what was asked of it, in its words.
    #[error("{0}")]
    Refused(String),
    /// The guest has no such picture, or none any more; in its words.
    #[error("{0}")]
    NoPicture(String),
    /// The guest is older than what was asked of it.
    #[error(
        "this session was made by an older version of the server, which had no {0}; create a new session"
    )]
    Outdated(&'static str),
    /// There is no room for its answer beside those of others.
    #[error("the server holds too many large answers at this moment; try again")]
    TooMuch,
    /// An answer that the contract does not know.
    #[error("the session's guest answered {0}")]
    Unexpected(String),
}

/// A tool's answer as it came: for the edge to pass on, not to read.
#[derive(Debug)]
pub struct ToolAnswer {
    /// False when the guest knows no such tool.
    pub known: bool,
    /// True when the guest says that the tool refused or failed. Guests of older versions do not say.
    pub failed: bool,
    /// A JSON document, checked to be one.
    pub body: Bytes,
}

/// A connection to the guest after its handshake.
pub type Upgraded = TokioIo<hyper::upgrade::Upgraded>;

/// A WebSocket that the guest has accepted.
#[derive(Debug)]
pub struct Tunnel {
    /// The guest's headers, `Sec-WebSocket-Accept` among them.
    pub headers: HeaderMap,
    /// The connection after the handshake.
    pub io: Upgraded,
}

/// What a guest answered instead of taking over a connection.
struct Refusal {
    status: StatusCode,
    text: String,
}

/// One session's guest; cheap to clone. Connections are kept and used again.
#[derive(Debug, Clone)]
pub struct Guest {
    socket: Arc<PathBuf>,
    client: Client<SocketConnector, Full<Bytes>>,
}

impl Guest {
    /// A guest that listens on `socket`. Connects when first used.
    pub fn new(socket: PathBuf) -> Self {
        let socket = Arc::new(socket);
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .pool_idle_timeout(None)
            .build(SocketConnector::new(Arc::clone(&socket)));
        Self { socket, client }
    }

    /// What the guest says of itself. A guest that is still starting answers once it listens.
    pub async fn hello(&self) -> Result<Hello, GuestError> {
        self.own_answer(HELLO).await
    }

    /// When the session was last used, by what the guest can see.
    pub async fn activity(&self) -> Result<Activity, GuestError> {
        self.own_answer(ACTIVITY).await
    }

    /// Who looks at the session, as it came.
    pub async fn viewers(&self) -> Result<Box<RawValue>, GuestError> {
        self.told(VIEWERS, VIEWERS_BYTES_MAX, "list of viewers").await
    }

    /// The files that a live view can download, as it came.
    pub async fn view_files(&self) -> Result<Box<RawValue>, GuestError> {
        self.told(VIEW_FILES, OWN_ANSWER_BYTES_MAX, FILES_OF_VIEWS).await
    }

    /// Runs a tool. `arguments` is a JSON object, passed on as it stands; `pictures_url` is where its caller finds the
    /// session's pictures.
    pub async fn call_tool(
        &self,
        tool: &str,
        arguments: Bytes,
        pictures_url: &str,
        timeout: Duration,
    ) -> Result<ToolAnswer, GuestError> {
        let mut request = request(Method::POST, &format!("{TOOLS}{tool}"), arguments)?;
        if let Ok(url) = HeaderValue::from_str(pictures_url) {
            request.headers_mut().insert(PICTURES_URL, url);
        }
        let (head, body) = within(timeout, self.send(request, ANSWER_BYTES_MAX)).await?;
        let known = match head.status {
            StatusCode::OK => true,
            StatusCode::NOT_FOUND => false,
            other => {
                return Err(GuestError::Unexpected(format!(
                    "with status {other} to a tool call"
                )));
            }
        };
        // The body goes into an envelope as it is, so it must not be able to close it.
        serde_json::from_slice::<&RawValue>(&body)
            .map_err(|_| GuestError::Unexpected("a tool call with something that is not JSON".into()))?;
        let failed = head.headers.contains_key(TOOL_FAILED);
        Ok(ToolAnswer { known, failed, body })
    }

    /// A picture that a tool took: its length, and its bytes as they come, which are no more than that.
    pub async fn picture(&self, id: &str) -> Result<(u64, Incoming), GuestError> {
        let request = request(Method::GET, &format!("{PICTURES}{id}"), Bytes::new())?;
        let answer = async { self.client.request(request).await.map_err(unreachable) };
        let response = within(OWN_ANSWER_TIMEOUT, answer).await?;
        if response.status() != StatusCode::OK {
            let Refusal { status, text } =
                within(OWN_ANSWER_TIMEOUT, async { Ok(refusal(response).await) }).await?;
            return Err(match status {
                StatusCode::NOT_FOUND if text.is_empty() => GuestError::Outdated("pictures"),
                StatusCode::NOT_FOUND => GuestError::NoPicture(text),
                _ => GuestError::Unexpected(format!("{status} to a picture: {text}")),
            });
        }
        let body = response.into_body();
        match body.size_hint().exact() {
            Some(length) if length <= PICTURE_BYTES_MAX as u64 => Ok((length, body)),
            length => Err(GuestError::Unexpected(format!(
                "with a picture of {} bytes",
                length.map_or("unknown many".to_owned(), |length| length.to_string())
            ))),
        }
    }

    /// Asks the guest to take over a WebSocket. `headers` are the client's handshake headers.
    pub async fn open_tunnel(&self, path: &str, headers: HeaderMap) -> Result<Tunnel, GuestError> {
        within(OWN_ANSWER_TIMEOUT, self.upgrade(path, headers))
            .await?
            .map_err(|Refusal { status, text }| match status {
                StatusCode::NOT_FOUND if text.is_empty() => GuestError::Outdated("processes"),
                StatusCode::NOT_FOUND => GuestError::Refused(text),
                _ => GuestError::Unexpected(format!("{status} to a WebSocket: {text}")),
            })
    }

    /// Connects to a server inside the session: raw bytes both ways, each direction with its own end.
    pub async fn open_port(&self, port: u16) -> Result<Upgraded, GuestError> {
        let headers = [
            (CONNECTION, HeaderValue::from_static("upgrade")),
            (UPGRADE, HeaderValue::from_static(PORT_UPGRADE)),
        ];
        let path = format!("{PORTS}{port}");
        let opened = self.upgrade(&path, headers.into_iter().collect());
        match within(OWN_ANSWER_TIMEOUT, opened).await? {
            Ok(tunnel) => Ok(tunnel.io),
            Err(Refusal { status, text }) => Err(match status {
                StatusCode::BAD_GATEWAY => GuestError::NotListening { port, reason: text },
                StatusCode::NOT_FOUND => GuestError::Outdated("port links"),
                _ => GuestError::Unexpected(format!("{status} to a port connection: {text}")),
            }),
        }
    }

    /// Passes a request on to [`berth_guest_api::FILES`] and gives back what the guest answers, both as streams, on a connection of their
    /// own. An answer is one of success; a refusal is an error.
    pub async fn transfer<B>(&self, request: Request<B>) -> Result<Response<Incoming>, GuestError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let stream = UnixStream::connect(self.socket.as_path())
            .await
            .map_err(unreachable)?;
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(TRANSFER_BUFFER_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(unreachable)?;
        tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(unreachable)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let Refusal { text, .. } = refusal(response).await;
        Err(match status {
            StatusCode::NOT_FOUND => GuestError::Outdated("such file transfers"),
            _ if status.is_client_error() && !text.is_empty() => GuestError::Refused(text),
            _ => GuestError::Unexpected(format!("{status} to a file transfer: {text}")),
        })
    }

    /// As [`Guest::transfer`], for a request whose answer is a short document, given back as it came.
    pub async fn transfer_in<B>(&self, request: Request<B>) -> Result<Box<RawValue>, GuestError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let response = self.transfer(request).await?;
        let body = Limited::new(response.into_body(), OWN_ANSWER_BYTES_MAX)
            .collect()
            .await
            .map_err(GuestError::Unreachable)?;
        document(&body.to_bytes(), "a file transfer")
    }

    /// A document of the guest that is passed on and not read. `what` is what an older guest does not have.
    async fn told(
        &self,
        path: &str,
        bytes_max: usize,
        what: &'static str,
    ) -> Result<Box<RawValue>, GuestError> {
        let request = request(Method::GET, path, Bytes::new())?;
        let (head, body) = within(OWN_ANSWER_TIMEOUT, self.send(request, bytes_max)).await?;
        match head.status {
            StatusCode::OK => document(&body, path),
            StatusCode::NOT_FOUND => Err(GuestError::Outdated(what)),
            StatusCode::BAD_REQUEST => Err(GuestError::Refused(shown(&body))),
            status => Err(GuestError::Unexpected(format!("{status} to `{path}`"))),
        }
    }

    async fn upgrade(&self, path: &str, headers: HeaderMap) -> Result<Result<Tunnel, Refusal>, GuestError> {
        let stream = UnixStream::connect(self.socket.as_path())
            .await
            .map_err(unreachable)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(unreachable)?;
        tokio::spawn(connection.with_upgrades());
        let mut request = request(Method::GET, path, Bytes::new())?;
        request.headers_mut().extend(headers);
        let mut response = sender.send_request(request).await.map_err(unreachable)?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Err(refusal(response).await));
        }
        let upgraded = hyper::upgrade::on(&mut response).await.map_err(unreachable)?;
        Ok(Ok(Tunnel {
            headers: std::mem::take(response.headers_mut()),
            io: TokioIo::new(upgraded),
        }))
    }

    async fn own_answer<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, GuestError> {
        let request = request(Method::GET, path, Bytes::new())?;
        let (head, body) = within(OWN_ANSWER_TIMEOUT, self.send(request, OWN_ANSWER_BYTES_MAX)).await?;
        let status = head.status;
        if status != StatusCode::OK {
            return Err(GuestError::Unexpected(format!("{status} to `{path}`")));
        }
        serde_json::from_slice(&body)
            .map_err(|error| GuestError::Unexpected(format!("`{path}` with a form unknown here: {error}")))
    }

    async fn send(
        &self,
        request: Request<Full<Bytes>>,
        bytes_max: usize,
    ) -> Result<(Parts, Bytes), GuestError> {
        let response = self.client.request(request).await.map_err(unreachable)?;
        let (head, body) = response.into_parts();
        match ANSWERS.read(body, bytes_max).await {
            Ok(body) => Ok((head, body)),
            Err(error @ BodyError::Broken(_)) => Err(unreachable(error)),
            Err(BodyError::Full) => Err(GuestError::TooMuch),
            Err(error @ (BodyError::TooLong(_) | BodyError::Slow)) => {
                Err(GuestError::Unexpected(format!("with too much: {error}")))
            }
        }
    }
}

/// A guest's refusal: not more of its text than a message should have.
async fn refusal(response: Response<Incoming>) -> Refusal {
    let status = response.status();
    let body = Limited::new(response.into_body(), OWN_ANSWER_BYTES_MAX)
        .collect()
        .await;
    let text = body.map(|body| shown(&body.to_bytes())).unwrap_or_default();
    Refusal { status, text }
}

/// A guest's words, as many as a message should have.
fn shown(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().take(500).collect()
}

/// A JSON document that goes into an answer as it is, so it must not be able to close what is around it.
fn document(body: &[u8], to: &str) -> Result<Box<RawValue>, GuestError> {
    serde_json::from_slice(body)
        .map_err(|_| GuestError::Unexpected(format!("{to} with something that is not JSON")))
}

fn request(method: Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, GuestError> {
    Request::builder()
        .method(method)
        .uri(format!("http://guest{path}"))
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .map_err(|error| GuestError::Unexpected(format!("nothing: `{path}` is not a path ({error})")))
}

fn unreachable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> GuestError {
    GuestError::Unreachable(error.into())
}

async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, GuestError>>,
) -> Result<T, GuestError> {
    tokio::time::timeout(limit, answer)
        .await
        .unwrap_or(Err(GuestError::TimedOut(limit)))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    use super::*;

    /// What a guest that says `answer`, byte for byte, is to somebody who wants a port.
    async fn port_of(answer: &str) -> Result<Upgraded, GuestError> {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let answering = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = String::new();
            while !asked.ends_with("\r\n\r\n") {
                asked.push(char::from(stream.read_u8().await.unwrap()));
            }
            assert!(asked.contains("/v1/ports/30100 HTTP/1.1"), "{asked}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let guest = Guest::new(socket);
        tokio::join!(guest.open_port(30100), answering).0
    }

    #[tokio::test]
    async fn what_comes_after_an_upgrade_are_bytes() {
        let mut io = port_of("HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: tcp\r\n\r\nbytes")
            .await
            .unwrap();
        let mut bytes = String::new();
        io.read_to_string(&mut bytes).await.unwrap();
        assert_eq!(bytes, "bytes");
    }

    #[tokio::test]
    async fn why_a_port_cannot_be_reached_is_told_apart() {
        let refused = port_of("HTTP/1.1 502 x\r\ncontent-length: 7\r\n\r\nrefused").await;
        assert!(
            matches!(&refused, Err(GuestError::NotListening { port: 30100, reason }) if reason == "refused"),
            "{refused:?}"
        );
        let long = format!(
            "HTTP/1.1 502 x\r\ncontent-length: 100000\r\n\r\n{}",
            "x".repeat(100_000)
        );
        let long = port_of(&long).await;
        assert!(
            matches!(&long, Err(GuestError::NotListening { reason, .. }) if reason.len() == 500),
            "{long:?}"
        );
        let old = port_of("HTTP/1.1 404 x\r\ncontent-length: 0\r\n\r\n")
            .await
            .unwrap_err();
        assert!(
            matches!(old, GuestError::Outdated(_)) && old.to_string().contains("create a new session"),
            "{old:?}"
        );
        let odd = port_of("HTTP/1.1 200 x\r\ncontent-length: 0\r\n\r\n").await;
        assert!(matches!(odd, Err(GuestError::Unexpected(_))), "{odd:?}");
        let gone = port_of("").await;
        assert!(matches!(gone, Err(GuestError::Unreachable(_))), "{gone:?}");
    }
}
