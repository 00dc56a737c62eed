//! HTTP to a server inside a session: one request, one connection through the guest, bodies as streams both ways.
//!
//! What answers may be hostile. hyper reads its heads, within limits; bodies pass unread, as fast as the slower side takes
//! them, and nothing is kept. Start reading at [`pass`].

mod answer;
mod headers;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use berth_agb_api::Code;
use berth_control::{Call, Session};
use berth_guest_client::{GuestError, Upgraded};
use http::header::{CONTENT_TYPE, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio_util::io::InspectReader;
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use crate::App;
use crate::calls::{self, explained};
use crate::error::ApiError;
use crate::listen::DRAIN_TIMEOUT;
use crate::request::Peer;
use crate::urls::Seen;
use answer::Answer;

/// Largest head of an answer, and the most of a body that is read ahead.
const READ_BYTES_MAX: usize = 128 << 10;

/// Most header lines of an answer.
const ANSWER_HEADERS_MAX: usize = 200;

/// A request that waits longer than this for its answer no longer counts as use of the session: its client may have gone
/// without a word.
const COUNTED_WAIT: Duration = Duration::from_secs(900);

/// How long an answer may go on when the server stops: a little less than the server waits.
const DRAIN_GRACE: Duration = Duration::from_secs(DRAIN_TIMEOUT.as_secs() - 2);

/// Bytes of an upgraded connection that wait in each direction for a slow reader.
const BUFFER_BYTES: usize = 64 << 10;

/// Passes a request on to a port of a session and its answer back. `path` is what the server inside is asked for.
pub(crate) async fn pass(
    app: &App,
    session: &Arc<Session>,
    port: u16,
    seen: &Seen,
    path: &str,
    request: Request,
) -> Result<Response, ApiError> {
    if request.method() == Method::CONNECT {
        return Err(ApiError::new(
            Code::MethodNotAllowed,
            "a port link takes every method but CONNECT",
        ));
    }
    let to = Port { session, port, seen };
    let call = app.control.begin_call(session).await?;
    tokio::select! {
        answer = to.exchange(app, path, request, call) => answer,
        end = session.ended() => Err(calls::ended(session, end)),
    }
}

/// Where a request goes, and how its client sees that place.
struct Port<'a> {
    session: &'a Arc<Session>,
    port: u16,
    seen: &'a Seen,
}

impl Port<'_> {
    async fn exchange(
        &self,
        app: &App,
        path: &str,
        mut request: Request,
        call: Call,
    ) -> Result<Response, ApiError> {
        let io = match self.session.guest.open_port(self.port).await {
            Ok(io) => io,
            Err(GuestError::NotListening { reason, .. }) => {
                return Err(self.unavailable(&format!(
                    "does not accept connections: {reason}; start one there, on 127.0.0.1 is enough"
                )));
            }
            Err(error) => return Err(explained(self.session, error).await),
        };
        let (mut sender, connection) = match http1::Builder::new()
            .max_buf_size(READ_BYTES_MAX)
            .max_headers(ANSWER_HEADERS_MAX)
            .handshake(io.into_inner())
            .await
        {
            Ok(open) => open,
            Err(error) => return Err(self.broken(error).await),
        };
        // Its end, with an error or without, shows in the answer.
        let connection = AbortOnDropHandle::new(tokio::spawn(async move {
            let _ = connection.with_upgrades().await;
        }));

        let wanted = headers::upgrade(request.headers());
        let client = wanted.as_ref().map(|_| hyper::upgrade::on(&mut request));
        let request = self.outgoing(path, wanted, request)?;
        let mut sending = std::pin::pin!(sender.send_request(request));
        let answer = match tokio::time::timeout(COUNTED_WAIT, &mut sending).await {
            Ok(answer) => answer,
            Err(_) => {
                drop(call);
                sending.await
            }
        };
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(error) => return Err(self.broken(error).await),
        };

        let status = answer.status();
        let mut headers = std::mem::take(answer.headers_mut());
        let upgraded_to = headers::upgrade(&headers);
        headers::from_the_port(&mut headers, self.seen, self.port);
        if status != StatusCode::SWITCHING_PROTOCOLS {
            let grace = drain_grace(&headers);
            let answer = Answer::new(
                answer.into_body(),
                Arc::clone(self.session),
                app.stop.clone(),
                grace,
                connection,
            );
            return Ok((status, headers, Body::new(answer)).into_response());
        }
        let (Some(client), Some(to)) = (client, upgraded_to) else {
            return Err(self.unavailable("answered 101 to a request that did not ask for that"));
        };
        tokio::spawn(carry(app.clone(), Arc::clone(self.session), client, answer));
        headers::set_upgrade(&mut headers, to);
        Ok((status, headers).into_response())
    }

    /// The request as the server inside gets it.
    fn outgoing(
        &self,
        path: &str,
        upgrade: Option<HeaderValue>,
        request: Request,
    ) -> Result<http::Request<Body>, ApiError> {
        let client = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
        let (mut parts, body) = request.into_parts();
        headers::to_the_port(&mut parts.headers, self.seen, self.port, client);
        if let Some(to) = upgrade {
            headers::set_upgrade(&mut parts.headers, to);
        }
        let session = Arc::clone(self.session);
        let body = body.map_frame(move |frame| {
            session.touch();
            frame
        });
        let mut outgoing = http::Request::new(Body::new(body));
        *outgoing.method_mut() = parts.method;
        *outgoing.version_mut() = Version::HTTP_11;
        *outgoing.headers_mut() = parts.headers;
        *outgoing.uri_mut() = path.parse().map_err(|error| {
            ApiError::new(Code::Internal, format!("a path that was one is none: {error}"))
        })?;
        Ok(outgoing)
    }

    /// Why no answer came.
    async fn broken(&self, error: hyper::Error) -> ApiError {
        if error.is_user() {
            return ApiError::new(
                Code::MalformedBody,
                format!("the body could not be read: {error}"),
            );
        }
        if error.is_parse() {
            return self.unavailable(&format!("did not answer in HTTP/1.1: {error}"));
        }
        // The end of a session breaks its connections too, and would be the reason to tell.
        match calls::end_of(self.session).await {
            Some(ended) => ended,
            None => self.unavailable(&format!("did not answer: {error}")),
        }
    }

    fn unavailable(&self, what: &str) -> ApiError {
        ApiError::new(
            Code::PortUnavailable,
            format!(
                "the server on port {} of session `{}` {what}",
                self.port, self.session.id
            ),
        )
    }
}

/// Carries bytes between the client and the inside of an upgraded connection. Bytes count as use, silence does not. What a
/// client sends thaws a paused session.
async fn carry(
    app: App,
    session: Arc<Session>,
    client: hyper::upgrade::OnUpgrade,
    mut answer: http::Response<Incoming>,
) {
    let is_websocket = answer
        .headers()
        .get(UPGRADE)
        .is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let opened = tokio::select! {
        opened = async { tokio::try_join!(client, hyper::upgrade::on(&mut answer)) } => opened,
        _ = session.ended() => return,
    };
    let (client, inside): (Upgraded, Upgraded) = match opened {
        Ok((client, inside)) => (TokioIo::new(client), TokioIo::new(inside)),
        Err(error) => return debug!("an upgrade broke off: {error}"),
    };
    let used = |bytes: &[u8]| {
        if !bytes.is_empty() {
            session.touch();
        }
    };
    let sent = |bytes: &[u8]| {
        used(bytes);
        calls::thaw_for(bytes, is_websocket, &app, &session);
    };
    let (mut client, mut inside) = (InspectReader::new(client, sent), InspectReader::new(inside, used));
    // However it ends, both connections are dropped here.
    tokio::select! {
        _ = tokio::io::copy_bidirectional_with_sizes(&mut client, &mut inside, BUFFER_BYTES, BUFFER_BYTES) => {}
        _ = session.ended() => {}
        () = app.stop.cancelled() => {}
    }
}

/// An event stream has no end to wait for, and its reader connects again by itself.
fn drain_grace(headers: &HeaderMap) -> Duration {
    let events = headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    if events { Duration::ZERO } else { DRAIN_GRACE }
}
