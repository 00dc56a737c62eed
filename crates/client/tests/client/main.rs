//! The client against a server that is played here: what it sends, and what it makes of answers.

#![allow(missing_docs, clippy::unwrap_used)]

mod stream;
mod tools;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Query, Request};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use berth_client::{
    Agb, AgbConfig, CreateSessionParams, Error, ListParams, Session, SessionStatus, ShareParams,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Plays a server and gives a client for it.
async fn client(routes: Router) -> Agb {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = routes.layer(DefaultBodyLimit::disable());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Agb::new(AgbConfig::new(format!("http://{address}"), "key-1")).unwrap()
}

fn success(data: Value) -> Response {
    axum::Json(
        json!({"requestId": "r-1", "success": true, "code": "ok", "message": null, "httpStatusCode": 200,
        "data": data}),
    )
    .into_response()
}

fn failure(status: u16, code: &str, message: &str) -> Response {
    let body = json!({"requestId": "r-1", "success": false, "code": code, "message": message,
        "httpStatusCode": status});
    (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response()
}

/// `createSession` with links to the server itself.
fn with_session(routes: Router) -> Router {
    routes.route(
        "/mcp/createSession",
        post(|headers: HeaderMap| async move {
            let host = headers["host"].to_str().unwrap();
            let tools = r#"[{"name":"shell","server":"wuying_shell"},{"name":"run_code","server":"code"},
                {"name":"read_file","server":"f"},{"name":"write_file","server":"f"}]"#;
            success(
                json!({"sessionId": "s-1", "appInstanceId": "sb", "resourceId": "sb",
                "resourceUrl": format!("http://{host}/view/t/?resourceId=sb"),
                "linkUrl": format!("http://{host}/link/s-1"), "wsUrl": format!("ws://{host}/ws/s-1"),
                "token": "tok", "toolList": tools}),
            )
        }),
    )
}

async fn session(routes: Router) -> Session {
    let agb = client(with_session(routes)).await;
    agb.create(CreateSessionParams::new("image")).await.unwrap()
}

#[tokio::test]
async fn create_sends_what_was_asked_for() {
    let routes = Router::new().route(
        "/mcp/createSession",
        post(|headers: HeaderMap, request: Request| async move {
            assert_eq!(headers["authorization"], "Bearer key-1");
            assert_eq!(request.uri().query(), Some("imageId=a+b"));
            let body = axum::body::to_bytes(request.into_body(), 1000).await.unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body, json!({"labels": r#"{"k":"ü"}"#, "timeout": 60}));
            success(json!({"sessionId": "s-9"}))
        }),
    );
    let params = CreateSessionParams {
        labels: [("k".to_owned(), "ü".to_owned())].into(),
        idle_release_timeout: Some(Duration::from_secs(60)),
        ..CreateSessionParams::new("a b")
    };
    let session = client(routes).await.create(params).await.unwrap();
    assert_eq!((session.session_id(), session.link_url()), ("s-9", ""));
    assert!(!format!("{session:?}").contains("tok"));
}

#[tokio::test]
async fn refusals_have_kinds() {
    let routes = Router::new()
        .route(
            "/mcp/getSession",
            post(|| async { failure(400, "InvalidMcpSession.NotFound", "session gone") }),
        )
        .route(
            "/mcp/createSession",
            post(|| async { failure(429, "QuotaExceeded.Sessions", "5 sessions") }),
        )
        .route(
            "/sdk/ListSession",
            get(|| async { failure(401, "InvalidApiKey", "revoked") }),
        )
        .route(
            "/api/v1/sessions/s-1/pause",
            post(|| async { failure(500, "InternalError", "log r-1") }),
        )
        .fallback(any(|| async { (StatusCode::NOT_FOUND, "<html>elsewhere") }));
    let agb = client(routes).await;
    let ended = agb.get("s-1").await.unwrap_err();
    assert!(matches!(ended, Error::SessionEnded { id, message } if id == "s-1" && message == "session gone"));
    let full = agb.create(CreateSessionParams::new("i")).await.unwrap_err();
    assert!(matches!(full, Error::QuotaExceeded { .. }));
    let key = agb.list(&ListParams::new()).await.unwrap_err();
    assert!(matches!(key, Error::InvalidApiKey { .. }));
    let fault = agb.pause("s-1").await.unwrap_err();
    assert!(matches!(fault, Error::Api { status: 500, code, .. } if code == "InternalError"));
    let stranger = agb.resume("s-1").await.unwrap_err();
    assert!(
        matches!(&stranger, Error::Protocol(text) if text.contains("<html>")),
        "{stranger}"
    );
    for blank in ["", " ", ".."] {
        assert!(matches!(
            agb.detail(blank).await,
            Err(Error::InvalidParameter { .. })
        ));
    }
}

#[tokio::test]
async fn pages_are_read_and_asked_for() {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Asked {
        limit: String,
        labels: String,
        next_token: Option<String>,
    }
    let routes = Router::new().route(
        "/api/v1/sessions",
        get(|Query(asked): Query<Asked>| async move {
            assert_eq!(
                (asked.limit.as_str(), asked.labels.as_str()),
                ("2", r#"{"a":"b"}"#)
            );
            let token = if asked.next_token.is_none() { "t 2" } else { "" };
            let row = json!({"sessionId": "s-1", "image": "i", "status": "PAUSED", "labels": {"a": "b"},
                "createdAt": "2026-01-02T03:04:05Z"});
            axum::Json(
                json!({"requestId": "r", "success": true, "data": [row], "nextToken": token,
                "maxResults": 2, "count": 3}),
            )
        }),
    );
    let agb = client(routes).await;
    let mut params = ListParams {
        limit: 2,
        ..ListParams::new().label("a", "b")
    };
    let page = agb.sessions(&params).await.unwrap();
    assert_eq!((page.total_count, page.next_token.as_deref()), (3, Some("t 2")));
    assert_eq!(page.sessions[0].status, SessionStatus::Paused);
    params.next_token = page.next_token;
    assert_eq!(agb.sessions(&params).await.unwrap().next_token, None);
}

#[tokio::test]
async fn a_read_is_repeated_and_a_change_is_not() {
    // The connection of every first request breaks before there is an answer.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut head = [0; 2048];
            let _ = tokio::io::AsyncReadExt::read(&mut connection, &mut head).await;
            if count.fetch_add(1, Ordering::SeqCst) > 0 {
                let body = r#"{"success":true,"data":{"lines":["x"]}}"#;
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                let _ = tokio::io::AsyncWriteExt::write_all(&mut connection, answer.as_bytes()).await;
            }
        }
    });
    let agb = Agb::new(AgbConfig::new(format!("http://{address}"), "k")).unwrap();
    assert_eq!(agb.log("s-1").await.unwrap().lines, ["x"]);
    assert_eq!(seen.load(Ordering::SeqCst), 2);
    seen.store(0, Ordering::SeqCst);
    assert!(matches!(agb.pause("s-1").await, Err(Error::Disconnected { .. })));
    assert_eq!(seen.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn nobody_there_is_unreachable_and_silence_a_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = AgbConfig {
        timeout: Duration::from_millis(300),
        ..AgbConfig::new(format!("http://{address}"), "k")
    };
    // The kernel accepts; nobody answers.
    let silent = Agb::new(config.clone()).unwrap().detail("s-1").await.unwrap_err();
    assert!(
        matches!(silent, Error::Timeout { limit, .. } if limit == Duration::from_millis(300)),
        "{silent}"
    );
    drop(listener);
    let config = AgbConfig {
        timeout: AgbConfig::DEFAULT_TIMEOUT,
        ..config
    };
    let nobody = Agb::new(config).unwrap().detail("s-1").await.unwrap_err();
    assert!(
        matches!(&nobody, Error::Unreachable { endpoint, .. } if *endpoint == format!("http://{address}"))
    );
}

#[tokio::test]
async fn a_server_that_comes_back_is_found() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let agb = Agb::new(AgbConfig::new(format!("http://{address}"), "k")).unwrap();
    let asked = tokio::spawn(async move { agb.pause("s-1").await });
    tokio::task::yield_now().await;
    let listener = TcpListener::bind(address).await.unwrap();
    let routes = Router::new().route(
        "/api/v1/sessions/{id}/pause",
        post(|| async { failure(400, "InvalidMcpSession.NotFound", "it came") }),
    );
    tokio::spawn(async move { axum::serve(listener, routes).await });
    assert_eq!(asked.await.unwrap().unwrap_err().to_string(), "it came");
}

#[tokio::test]
async fn deleting_waits_for_the_end() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let routes = Router::new()
        .route(
            "/mcp/releaseSessionAsync",
            post(|| async { success(Value::Null) }),
        )
        .route(
            "/mcp/getSessionInfo",
            post(move || async move {
                match count.fetch_add(1, Ordering::SeqCst) {
                    0 => success(json!({"status": "DELETING"})),
                    _ => success(json!({"status": "FINISH"})),
                }
            }),
        );
    let agb = client(routes).await;
    agb.session("s-1").unwrap().delete().await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn the_rest_of_a_session_asks_as_the_protocol_says() {
    async fn asked(request: Request) -> Response {
        let query = request.uri().query().unwrap_or_default().to_owned();
        match (request.uri().path(), query.as_str()) {
            ("/sdk/SetLabel", "Labels=%7B%22a%22%3A%22b%22%7D&sessionId=s-1")
            | ("/mcp/refreshSessionIdleTime", "sessionId=s-1") => success(Value::Null),
            ("/sdk/GetLabel", "sessionId=s-1") => success(json!({"labels": r#"{"a":"b"}"#})),
            ("/internet/getLink", "sessionId=s-1&protocolType=https&port=30100") => {
                success(json!({"url": "u"}))
            }
            ("/mcp/listTools", "imageId=image") => success(json!(
                r#"[{"name":"shell","description":"d","inputSchema":{},"server":"s","tool":"shell"}]"#
            )),
            ("/mcp/getSessionInfo", "") => success(json!({"status": "RUNNING"})),
            (path, query) => failure(404, "RouteNotFound", &format!("{path}?{query}")),
        }
    }
    let session = session(Router::new().fallback(any(asked))).await;
    session.set_labels([("a", "b")]).await.unwrap();
    session.keep_alive().await.unwrap();
    assert_eq!(session.get_labels().await.unwrap()["a"], "b");
    assert_eq!(session.get_link(Some("https"), Some(30100)).await.unwrap(), "u");
    assert_eq!(session.list_mcp_tools(None).await.unwrap()[0].name, "shell");
    assert_eq!(session.get_status().await.unwrap(), "RUNNING");
}

#[tokio::test]
async fn a_live_view_is_shared_and_unshared() {
    let routes = Router::new()
        .route(
            "/api/v1/sessions/s-1/tickets",
            post(|request: Request| async move {
                let body = axum::body::to_bytes(request.into_body(), 1000).await.unwrap();
                let body: Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(
                    body,
                    json!({"rights": ["view", "files"], "name": "Ann", "ttlSeconds": 60})
                );
                success(
                    json!({"url": "http://h/view/x/", "ticketId": "t-1", "rights": ["view", "files"],
                    "name": "Ann", "expiresAt": "2026-01-02T03:04:05.000Z"}),
                )
            })
            .get(|| async { success(json!([{"ticketId": "t-1", "rights": ["view"], "expiresAt": "x"}])) })
            .delete(|| async { success(Value::Null) }),
        )
        .route(
            "/api/v1/sessions/s-1/tickets/t-2",
            axum::routing::delete(|| async { failure(400, "InvalidParameter", "no such ticket") }),
        )
        .route(
            "/api/v1/sessions/s-1/viewers",
            get(|| async {
                success(json!({"viewers": [{"id": 1, "name": "Ann", "new": {}}], "agent": {"acting": true}}))
            }),
        );
    let agb = client(routes).await;
    let params = ShareParams {
        rights: vec!["view".into(), "files".into()],
        name: Some("Ann".into()),
        ttl: Some(Duration::from_secs(60)),
    };
    let shared = agb.share("s-1", params).await.unwrap();
    assert_eq!(
        (shared.url.as_str(), shared.ticket.ticket_id.as_str()),
        ("http://h/view/x/", "t-1")
    );
    assert_eq!(agb.tickets("s-1").await.unwrap()[0].ticket_id, "t-1");
    agb.unshare("s-1", None).await.unwrap();
    for bad in ["", " ", "..", "t-2"] {
        let refused = agb.unshare("s-1", Some(bad)).await;
        assert!(matches!(refused, Err(Error::InvalidParameter { .. })), "{bad:?}");
    }
    let viewers = agb.viewers("s-1").await.unwrap();
    assert_eq!(
        (viewers.viewers[0].name.as_str(), viewers.viewers[0].control),
        ("Ann", false)
    );
}
