//! WebSockets: the handshake is passed on to the guest, then bytes flow both ways, unread.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use berth_agb_api::Code;
use berth_control::{Grant, Held, Session};
use berth_guest_api::{
    VIEW_HELLO, VIEW_NAME, VIEW_QUIET, VIEW_RIGHTS, VIEW_TICKET, ViewRights, percent_encode,
};
use http::header::{
    CONNECTION, HeaderMap, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderName, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use tracing::debug;

use crate::calls::{self, explained};
use crate::error::ApiError;
use crate::recorder::Recorders;
use crate::urls::{host, is_secure};
use crate::{App, audit};

/// Bytes that wait in each direction for a slow reader. Small: the live view's own flow control wants to feel the link.
const BUFFER_BYTES: usize = 16 << 10;

/// How often a guest is asked, after a stop was asked for, whether its code still runs, and how long the last answers may
/// take from there to the client.
const REST_POLL: Duration = Duration::from_millis(100);
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What a tunnel is for, and what follows from it.
#[derive(Debug)]
pub(crate) enum Tunnel {
    /// Code runs. Stays open while the session is paused, and thaws it when the client sends something. When the server
    /// stops, code that runs may finish.
    Stream,
    /// A live view. Ends with its ticket, and when the session is paused: the page then says so.
    View(View),
}

/// A live view that is to be opened.
#[derive(Debug)]
pub(crate) struct View {
    /// Whose it is.
    pub grant: Grant,
    /// It is a recorder's, and no use of the session.
    pub quiet: bool,
    /// What the page has said with its URL.
    pub hello: Option<HeaderValue>,
}

/// Connects the client's WebSocket to the guest's. The tunnel ends with the session, with the server, when either side
/// closes, or when its kind says so.
pub(crate) async fn open(
    app: &App,
    session: Arc<Session>,
    path: &str,
    mut request: Request,
    kind: Tunnel,
) -> Result<Response, ApiError> {
    audit::uses(&session);
    let mut headers = handshake(request.headers())?;
    let mut held = None;
    if let Tunnel::View(View { grant, quiet, hello }) = &kind {
        headers.extend(
            hello
                .clone()
                .map(|hello| (HeaderName::from_static(VIEW_HELLO), hello)),
        );
        headers.extend(handed_over(
            grant.rights,
            grant.name.as_deref(),
            grant.ticket_id.as_deref(),
            *quiet,
        ));
        // Before the guest is asked: a ticket that is revoked meanwhile opens nothing.
        held = Some(grant.hold());
    }
    let guest = match session.guest.open_tunnel(path, headers).await {
        Ok(guest) => guest,
        Err(error) => return Err(explained(&session, error).await),
    };
    if let Tunnel::View(..) = &kind {
        Recorders::begin(app, &session);
    }
    let client = hyper::upgrade::on(&mut request);
    let (app, connections) = (app.clone(), app.connections.clone());
    let opened = audit::opened();
    let accept = guest.headers.get(SEC_WEBSOCKET_ACCEPT).cloned();
    connections.spawn(async move {
        let _opened = opened;
        let client = match client.await {
            Ok(client) => client,
            Err(error) => return debug!("a client left during the handshake: {error}"),
        };
        let _view = matches!(kind, Tunnel::View(..)).then(|| session.begin_view());
        let client = TokioIo::new(client);
        // A view ends when its session is paused.
        let thaws = matches!(kind, Tunnel::Stream);
        let mut client = tokio_util::io::InspectReader::new(client, |bytes| {
            if thaws {
                calls::thaw_for(bytes, true, &app, &session);
            }
        });
        let mut guest = guest.io;
        let copy =
            tokio::io::copy_bidirectional_with_sizes(&mut client, &mut guest, BUFFER_BYTES, BUFFER_BYTES);
        let over = async {
            match (&kind, &held) {
                (Tunnel::View(View { grant, .. }), Some(held)) => tokio::select! {
                    () = runs_out(grant, held) => {}
                    () = session.paused() => {}
                },
                _ => std::future::pending().await,
            }
        };
        let stopped = async {
            app.stop.cancelled().await;
            if matches!(kind, Tunnel::Stream) {
                at_rest(&session).await;
            }
        };
        // However it ends, both connections are dropped here; the client asks why when it connects again.
        tokio::select! {
            _ = copy => {}
            _ = session.ended() => {}
            () = over => {}
            () = stopped => {}
        }
    });

    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("upgrade"));
    response
        .headers_mut()
        .insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Some(accept) = accept {
        response.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    Ok(response)
}

/// Completes when a ticket is good no more: it has expired, or is revoked.
pub(crate) async fn runs_out(grant: &Grant, held: &Held) {
    let left = Duration::try_from(grant.expires.duration_since(Timestamp::now())).unwrap_or_default();
    tokio::select! {
        () = tokio::time::sleep(left) => {}
        () = held.revoked() => {}
    }
}

/// What the guest is told of whoever opens a view.
pub(crate) fn handed_over(
    rights: ViewRights,
    name: Option<&str>,
    ticket_id: Option<&str>,
    quiet: bool,
) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let said = [
        (VIEW_RIGHTS, rights.to_string()),
        (VIEW_NAME, percent_encode(name.unwrap_or_default())),
        (VIEW_TICKET, percent_encode(ticket_id.unwrap_or_default())),
    ];
    let quiet = quiet.then(|| (VIEW_QUIET, "1".to_owned()));
    // All of it is words and escapes, so none is left out.
    said.into_iter().chain(quiet).filter_map(|(name, value)| {
        let value = HeaderValue::try_from(value).ok()?;
        Some((HeaderName::from_static(name), value))
    })
}

/// Completes when no code runs in the session any more, and the results of what ran have had time to pass.
async fn at_rest(session: &Session) {
    // A paused one gets nowhere, and is asked nothing.
    while !session.is_paused() && session.guest.activity().await.is_ok_and(|it| it.running > 0) {
        tokio::time::sleep(REST_POLL).await;
    }
    tokio::time::sleep(LAST_WORDS).await;
}

/// Refuses what a page of another site asks for.
pub(crate) fn check_origin(app: &App, headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(origin) = headers.get(ORIGIN) else {
        return Ok(());
    };
    if is_own_origin(
        origin,
        host(headers),
        app.public_url.as_deref(),
        is_secure(headers, app),
    ) {
        return Ok(());
    }
    let origin = audit::shown(&String::from_utf8_lossy(origin.as_bytes()));
    Err(ApiError::new(
        Code::InvalidParameter,
        format!(
            "a page of another site asked for this: the header `Origin` is `{origin}`; open the live view at its own URL, \
             and start the server with `--public-url` if a proxy changes the host"
        ),
    ))
}

/// Is a page of this origin one of this server's? A proxy with TLS may not say that it has it, so without it the host
/// decides.
fn is_own_origin(origin: &HeaderValue, host: Option<&str>, public_url: Option<&str>, secure: bool) -> bool {
    let Some(from) = origin.to_str().ok().and_then(Origin::of) else {
        return false;
    };
    let seen = host.and_then(|host| Origin::of(&format!("{}://{host}", from.scheme)));
    let by_host = seen.is_some_and(|seen| seen == from) && (from.scheme == "https" || !secure);
    by_host
        || public_url
            .and_then(Origin::of)
            .is_some_and(|public| public == from)
}

/// What browsers compare.
#[derive(Debug, PartialEq, Eq)]
struct Origin {
    scheme: &'static str,
    host: String,
    port: u16,
}

impl Origin {
    fn of(url: &str) -> Option<Self> {
        let url: Uri = url.parse().ok()?;
        let (scheme, port) = match url.scheme_str()? {
            "http" => ("http", 80),
            "https" => ("https", 443),
            _ => return None,
        };
        let authority = url.authority().filter(|it| !it.as_str().contains('@'))?;
        Some(Self {
            scheme,
            host: authority.host().to_ascii_lowercase(),
            port: authority.port_u16().unwrap_or(port),
        })
    }
}

/// The client's handshake, as far as the guest should see it: no credentials, no extensions, and nothing that the guest
/// takes from the edge alone.
fn handshake(headers: &HeaderMap) -> Result<HeaderMap, ApiError> {
    let is_websocket = headers
        .get(UPGRADE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.eq_ignore_ascii_case("websocket"));
    if !is_websocket || !headers.contains_key(SEC_WEBSOCKET_KEY) {
        return Err(ApiError::new(
            Code::InvalidParameter,
            "this route takes WebSocket connections only",
        ));
    }
    let mut passed = HeaderMap::new();
    passed.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    passed.insert(UPGRADE, HeaderValue::from_static("websocket"));
    passed.insert(HeaderName::from_static("host"), HeaderValue::from_static("guest"));
    for name in [SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION] {
        if let Some(value) = headers.get(&name) {
            passed.insert(name, value.clone());
        }
    }
    Ok(passed)
}

#[cfg(test)]
mod tests {
    use berth_guest_api::VIEW_RUNS;

    use super::*;

    #[test]
    fn the_guest_is_told_whose_view_it_is_by_the_edge_alone() {
        let mut sent = HeaderMap::new();
        sent.insert(UPGRADE, HeaderValue::from_static("websocket"));
        sent.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_static("k"));
        for name in [
            VIEW_RIGHTS,
            VIEW_NAME,
            VIEW_TICKET,
            VIEW_QUIET,
            VIEW_HELLO,
            VIEW_RUNS,
            "cookie",
            "authorization",
        ] {
            sent.insert(name, HeaderValue::from_static("view,control"));
        }
        let mut passed = handshake(&sent).unwrap();
        assert_eq!(passed.len(), 4, "{passed:?}");

        let rights = ViewRights::parse("view,files").unwrap();
        passed.extend(handed_over(rights, Some("Zoë\r\nx: y"), Some("t-1"), true));
        assert_eq!(passed[VIEW_RIGHTS], "view,files");
        assert_eq!(passed[VIEW_NAME], "Zo%C3%AB%0D%0Ax%3A%20y");
        assert_eq!(passed[VIEW_TICKET], "t-1");
        assert_eq!(passed[VIEW_QUIET], "1");

        let whole: HeaderMap = handed_over(ViewRights::ALL, None, None, false).collect();
        assert_eq!(whole[VIEW_RIGHTS], ViewRights::ALL.to_string());
        assert!(whole[VIEW_NAME].is_empty() && whole[VIEW_TICKET].is_empty());
        assert!(!whole.contains_key(VIEW_QUIET));
    }

    fn allowed(origin: &str, host: &str, public_url: Option<&str>, secure: bool) -> bool {
        is_own_origin(
            &HeaderValue::from_str(origin).unwrap(),
            Some(host),
            public_url,
            secure,
        )
    }

    #[test]
    fn a_page_of_the_server_is_known_by_its_whole_origin() {
        let own = "10.0.0.1:8080";
        assert!(allowed("http://10.0.0.1:8080", own, None, false));
        assert!(allowed("https://10.0.0.1:8080", own, None, false));
        assert!(allowed("https://10.0.0.1:8080", own, None, true));
        assert!(
            !allowed("http://10.0.0.1:8080", own, None, true),
            "a page without TLS"
        );
        assert!(allowed("https://B.example", "b.example:443", None, true));
        let public = Some("https://b.example/berth");
        assert!(allowed("https://b.example", "inner", public, false));
        assert!(!allowed("http://b.example", "inner", public, false));
        for other in [
            "null",
            "",
            "http://10.0.0.1:80801",
            "http://10.0.0.1:808",
            "http://10.0.0.1",
            "http://10.0.0.1:8080.evil.example",
            "http://10.0.0.1:8080@evil.example",
            "http://evil@10.0.0.1:8080",
            "http://evil.example/10.0.0.1:8080",
            "https://b.example.evil.example",
            "https://ab.example",
            "ws://10.0.0.1:8080",
            "file://10.0.0.1:8080",
            "10.0.0.1:8080",
        ] {
            assert!(!allowed(other, own, public, false), "{other}");
        }
    }
}
