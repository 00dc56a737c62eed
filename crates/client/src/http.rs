//! The one place where requests are sent: over kept connections, bounded, repeated only where nothing was done.
//!
//! A request is tried again when no connection came about, because then nothing was sent, and a GET also when its
//! connection broke. A restarting server is back within these pauses. A refusal is given its kind here and nowhere else.

use std::fmt;
use std::time::Duration;

use ::http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, UPGRADE};
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use berth_agb_api::envelope::Received;
use bytes::Bytes;
use reqwest::{Response, Upgraded, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::{AgbConfig, Error};

/// Longest answer. A tool's answer is text inside JSON inside JSON, and 96 MiB are the most that a server takes from it.
const ANSWER_BYTES_MAX: usize = 128 << 20;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// As good as without an end, and no overflow of a clock.
const TIMEOUT_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// Pauses before a request is sent again; as many tries follow.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_millis(900),
];

/// The header in which a session's token is sent.
const ACCESS_TOKEN: HeaderName = HeaderName::from_static("x-access-token");

/// A server and the connections to it.
pub(crate) struct Http {
    client: reqwest::Client,
    endpoint: Url,
    authorization: HeaderValue,
    /// The longest that a request may take.
    pub(crate) timeout: Duration,
}

/// A success of the API: its data, and what stands beside it in a page.
pub(crate) struct Answer<T> {
    pub(crate) data: T,
    pub(crate) next_token: String,
    pub(crate) max_results: u32,
    pub(crate) count: u64,
}

/// A request of the API.
#[derive(Default)]
pub(crate) struct Call<'a> {
    method: Method,
    path: &'a [&'a str],
    query: Vec<(&'a str, &'a str)>,
    body: Option<Bytes>,
    session: Option<&'a str>,
    timeout: Option<Duration>,
}

impl<'a> Call<'a> {
    /// Reads something. May be sent twice.
    pub(crate) fn get(path: &'a [&'a str]) -> Self {
        Self {
            method: Method::GET,
            path,
            ..Self::default()
        }
    }

    /// Changes something, or is a POST for another reason.
    pub(crate) fn post(path: &'a [&'a str]) -> Self {
        Self {
            method: Method::POST,
            body: Some(Bytes::from_static(b"{}")),
            ..Self::get(path)
        }
    }

    /// Takes something away.
    pub(crate) fn delete(path: &'a [&'a str]) -> Self {
        Self {
            method: Method::DELETE,
            ..Self::get(path)
        }
    }

    pub(crate) fn query(mut self, name: &'a str, value: &'a str) -> Self {
        self.query.push((name, value));
        self
    }

    pub(crate) fn body(mut self, body: &impl Serialize) -> Result<Self, Error> {
        self.body = Some(json(body)?);
        Ok(self)
    }

    /// Says which session it is about, for the refusal.
    pub(crate) fn about(mut self, session: &'a str) -> Self {
        self.session = Some(session);
        self
    }

    /// Instead of the usual time limit.
    pub(crate) fn within(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

impl Http {
    pub(crate) fn new(config: &AgbConfig) -> Result<Self, Error> {
        let text = config.endpoint.trim();
        let with_scheme = match text.contains("://") {
            true => text.to_owned(),
            false => format!("https://{text}"),
        };
        let endpoint = Url::parse(&with_scheme)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| {
                Error::invalid(
                    "endpoint",
                    format!("{text:?}"),
                    "a URL such as http://127.0.0.1:8080",
                )
            })?;
        let mut authorization =
            HeaderValue::from_str(&format!("Bearer {}", config.api_key.trim())).map_err(|_| {
                Error::InvalidApiKey {
                    message: "the API key has characters that no key has; allowed: printable ASCII".into(),
                }
            })?;
        authorization.set_sensitive(true);
        Ok(Self {
            client: client()?,
            endpoint,
            authorization,
            timeout: config.timeout,
        })
    }

    /// Where the server is, for a message.
    pub(crate) fn endpoint(&self) -> String {
        origin(&self.endpoint)
    }

    /// Sends a request of the API and reads its data.
    pub(crate) async fn call<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<Answer<T>, Error> {
        let session = call.session;
        let body = self.exchange(call).await?;
        let answer = received(&body, StatusCode::OK)?;
        let data = answer.data.map_or("null", |data| data.get());
        let data = serde_json::from_str(data)
            .map_err(|error| Error::Protocol(format!("`data`{}: {error}", about(session))))?;
        Ok(Answer {
            data,
            next_token: answer.next_token.unwrap_or_default(),
            max_results: answer.max_results.unwrap_or_default(),
            count: answer.count.unwrap_or_default(),
        })
    }

    /// Sends a request of the API that has no data in its answer.
    pub(crate) async fn order(&self, call: Call<'_>) -> Result<(), Error> {
        self.exchange(call).await.map(drop)
    }

    /// The body of a success.
    async fn exchange(&self, call: Call<'_>) -> Result<Bytes, Error> {
        let mut url = self.endpoint.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(call.path);
        }
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, self.authorization.clone());
        let request = Request {
            method: call.method,
            url,
            headers,
            body: call.body,
            timeout: call.timeout.unwrap_or(self.timeout),
        };
        let (status, body) = self.send(&request).await?;
        let answer = received(&body, status)?;
        if status != StatusCode::OK || !answer.success {
            return Err(Error::refused(status.as_u16(), call.session, answer));
        }
        Ok(body)
    }

    /// Posts to one of a session's own routes, with its token.
    pub(crate) async fn post_with_token(
        &self,
        url: &str,
        token: &str,
        session: &str,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, Error> {
        let request = Request {
            method: Method::POST,
            url: handed_out(url)?,
            headers: token_header(token)?,
            body: Some(body),
            timeout,
        };
        let (status, body) = self.send(&request).await?;
        match status.is_success() {
            true => Ok(body),
            false => Err(Error::refused(
                status.as_u16(),
                Some(session),
                received(&body, status)?,
            )),
        }
    }

    /// Opens a WebSocket with a session's token. Its TLS and its connection come from where all others do.
    pub(crate) async fn open_socket(&self, url: &str, token: &str, session: &str) -> Result<Upgraded, Error> {
        // `ws` is `http` and `wss` is `https`.
        let url = match url.strip_prefix("ws") {
            Some(rest) => handed_out(&format!("http{rest}"))?,
            None => return Err(Error::Protocol(format!("`wsUrl` is {url:?}"))),
        };
        let key = generate_key();
        let mut headers = token_header(token)?;
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert("sec-websocket-version", HeaderValue::from_static("13"));
        if let Ok(key) = HeaderValue::from_str(&key) {
            headers.insert("sec-websocket-key", key);
        }
        let request = Request {
            method: Method::GET,
            url,
            headers,
            body: None,
            timeout: self.timeout,
        };
        let wait = Wait::of(&request);
        let response = self.connected(&request, &wait).await?;
        let status = response.status();
        if status != StatusCode::SWITCHING_PROTOCOLS {
            let body = wait.body(response).await?;
            return Err(Error::refused(
                status.as_u16(),
                Some(session),
                received(&body, status)?,
            ));
        }
        let accepted = response.headers().get("sec-websocket-accept");
        if accepted.is_none_or(|accepted| accepted.as_bytes() != derive_accept_key(key.as_bytes()).as_bytes())
        {
            return Err(Error::Protocol(
                "the stream route does not speak WebSocket".into(),
            ));
        }
        wait.for_it(response.upgrade()).await
    }

    /// The whole answer. A GET is sent again when its connection broke.
    async fn send(&self, request: &Request) -> Result<(StatusCode, Bytes), Error> {
        let wait = Wait::of(request);
        let mut pauses = PAUSES.iter();
        loop {
            let outcome = async {
                let response = self.connected(request, &wait).await?;
                Ok((response.status(), wait.body(response).await?))
            };
            match (outcome.await, pauses.next()) {
                (Err(Error::Disconnected { .. }), Some(pause)) if request.method == Method::GET => {
                    tokio::time::sleep(*pause).await;
                }
                (outcome, _) => return outcome,
            }
        }
    }

    /// The beginning of the answer. Sent again while no connection comes about: then nothing was sent.
    async fn connected(&self, request: &Request, wait: &Wait) -> Result<Response, Error> {
        let mut pauses = PAUSES.iter();
        loop {
            let mut builder = self
                .client
                .request(request.method.clone(), request.url.clone())
                .headers(request.headers.clone());
            if let Some(body) = &request.body {
                builder = builder
                    .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
                    .body(body.clone());
            }
            match (wait.for_it(builder.send()).await, pauses.next()) {
                (Err(Error::Unreachable { .. }), Some(pause)) => tokio::time::sleep(*pause).await,
                (outcome, _) => return outcome,
            }
        }
    }
}

/// Without the key.
impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http")
            .field("endpoint", &self.endpoint.as_str())
            .finish_non_exhaustive()
    }
}

struct Request {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Option<Bytes>,
    timeout: Duration,
}

/// The time that a request has, tries and pauses included, and what it is said of.
struct Wait {
    endpoint: String,
    limit: Duration,
    until: Instant,
}

impl Wait {
    fn of(request: &Request) -> Self {
        Self {
            endpoint: origin(&request.url),
            limit: request.timeout,
            until: Instant::now() + request.timeout.min(TIMEOUT_MAX),
        }
    }

    /// What comes of `work`, in time.
    async fn for_it<T>(&self, work: impl Future<Output = Result<T, reqwest::Error>>) -> Result<T, Error> {
        let endpoint = self.endpoint.clone();
        match timeout_at(self.until, work).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) if error.is_connect() => Err(Error::Unreachable {
                endpoint,
                source: error.without_url().into(),
            }),
            Ok(Err(error)) => Err(Error::Disconnected {
                endpoint,
                source: error.without_url().into(),
            }),
            Err(_) => Err(Error::Timeout {
                what: format!("the answer of {endpoint}"),
                limit: self.limit,
            }),
        }
    }

    /// The rest of an answer.
    async fn body(&self, mut response: Response) -> Result<Bytes, Error> {
        let mut body = Vec::new();
        while let Some(chunk) = self.for_it(response.chunk()).await? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(Error::Protocol(format!(
                    "it is longer than {} MiB, the most that this client takes",
                    ANSWER_BYTES_MAX >> 20
                )));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.into())
    }
}

/// One client for everything. A machine without any certificates can still reach a server without TLS.
fn client() -> Result<reqwest::Client, Error> {
    // Another one is installed only if another library was first; it is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = || {
        reqwest::Client::builder()
            .user_agent(concat!("berth-client/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            // The key goes to the endpoint and nowhere else.
            .redirect(reqwest::redirect::Policy::none())
    };
    builder()
        .build()
        .or_else(|_| builder().tls_certs_only([]).build())
        .map_err(|error| Error::Protocol(format!("no HTTP client could be made: {}", causes(&error))))
}

/// A URL that the server handed out.
fn handed_out(url: &str) -> Result<Url, Error> {
    Url::parse(url)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .ok_or_else(|| Error::Protocol(format!("the server handed out {url:?}, which is no URL of HTTP")))
}

fn token_header(token: &str) -> Result<HeaderMap, Error> {
    let mut value = HeaderValue::from_str(token)
        .map_err(|_| Error::Protocol("the session's token cannot stand in a header".into()))?;
    value.set_sensitive(true);
    Ok(HeaderMap::from_iter([(ACCESS_TOKEN, value)]))
}

/// Writes a body.
pub(crate) fn json(body: &impl Serialize) -> Result<Bytes, Error> {
    serde_json::to_vec(body)
        .map(Bytes::from)
        .map_err(|error| Error::invalid("body", format!("not JSON ({error})"), "what JSON can hold"))
}

/// Reads an envelope. What is none is shown by its beginning.
fn received(body: &[u8], status: StatusCode) -> Result<Received<'_>, Error> {
    serde_json::from_slice(body).map_err(|_| {
        let shown: String = String::from_utf8_lossy(&body[..body.len().min(200)])
            .chars()
            .map(|character| if character.is_control() { ' ' } else { character })
            .collect();
        Error::Protocol(format!(
            "HTTP status {} with a body that is not Berth's: {:?}; is the endpoint right?",
            status.as_u16(),
            shown.trim()
        ))
    })
}

fn about(session: Option<&str>) -> String {
    session
        .map(|id| format!(" about session `{id}`"))
        .unwrap_or_default()
}

/// Scheme, host and port: all of a URL that may be shown. Paths and queries can hold secrets.
fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Result<String, String> {
        let http = Http::new(&AgbConfig::new(text, "k"));
        http.map(|http| http.endpoint.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn an_endpoint_without_a_scheme_is_https() {
        assert_eq!(endpoint("h:8080").unwrap(), "https://h:8080/");
        assert_eq!(endpoint(" http://h/base/ ").unwrap(), "http://h/base/");
        assert_eq!(
            endpoint("ftp://h").unwrap_err(),
            r#"`endpoint` is "ftp://h"; allowed: a URL such as http://127.0.0.1:8080"#
        );
        assert!(endpoint("").is_err() && endpoint("http://").is_err());
    }

    #[test]
    fn a_key_that_cannot_be_sent_is_refused() {
        let error = Http::new(&AgbConfig::new("http://h", "a\nb")).unwrap_err();
        assert!(matches!(error, Error::InvalidApiKey { .. }));
    }

    #[test]
    fn a_stranger_is_shown_by_its_beginning() {
        let error = received(b"<html>\nWelcome to nginx", StatusCode::NOT_FOUND).unwrap_err();
        assert!(
            error.to_string().contains("404") && error.to_string().contains("<html> Welcome"),
            "{error}"
        );
    }
}
