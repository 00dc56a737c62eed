//! The client against a server that is played here: what it sends, and what it makes of answers.

#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::extract::{DefaultBodyLimit, Query, Request};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use berth_client::{
    Agb, AgbConfig, CreateSessionParams, Error, ListParams, RunEvent, Session, SessionStatus, WriteMode,
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

/// The link route, with an answer for each body.
fn link(answer: impl Fn(Value) -> Value + Clone + Send + Sync + 'static) -> Router {
    Router::new().route(
        "/link/s-1/callTool",
        post(
            |headers: HeaderMap, axum::Json(body): axum::Json<Value>| async move {
                assert_eq!(headers["x-access-token"], "tok");
                assert!(headers.get("authorization").is_none());
                axum::Json(json!({"code": 0, "requestId": "l-1", "data": {"result": answer(body)}}))
            },
        ),
    )
}

fn text(text: impl Into<String>, is_error: bool) -> Value {
    json!({"isError": is_error, "content": [{"type": "text", "text": text.into()}]})
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
async fn a_command_is_called_on_the_link_route() {
    let session = session(link(|body| {
        assert_eq!(
            (&body["tool"], &body["server"]),
            (&json!("shell"), &json!("wuying_shell"))
        );
        let args = &body["args"];
        match args["command"].as_str().unwrap() {
            "fails" => {
                assert_eq!(
                    *args,
                    json!({"command": "fails", "timeout_ms": 1500, "cwd": "/tmp", "envs": {"A": "b"}})
                );
                text(r#"{"stdout":"o","stderr":"e","exit_code":3,"traceId":""}"#, true)
            }
            "ended" => text("session `s-1` not found or expired: it was released", true),
            _ => text("`cwd` is `x`; allowed: an absolute path", true),
        }
    }))
    .await;
    let command = session.command();
    let failed = command
        .execute("fails")
        .timeout(Duration::from_millis(1500))
        .cwd("/tmp")
        .env("A", "b")
        .await;
    let failed = failed.unwrap();
    assert_eq!(
        (failed.exit_code, failed.output().as_str(), failed.success()),
        (3, "oe", false)
    );
    let ended = command.execute("ended").await.unwrap_err();
    assert!(matches!(ended, Error::SessionEnded { .. }), "{ended}");
    let refused = command.execute("x").await.unwrap_err();
    assert!(
        matches!(&refused, Error::Tool { tool, .. } if tool == "shell"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_tool_that_is_not_listed_takes_the_api_route() {
    let session = session(Router::new().route(
        "/mcp",
        post(|axum::Json(body): axum::Json<Value>| async move {
            assert_eq!(
                body,
                json!({"args": r#"{"a":1}"#, "sessionId": "s-1", "name": "other"})
            );
            success(text("done", false))
        }),
    ))
    .await;
    assert_eq!(
        session.call_mcp_tool("other", &json!({"a": 1})).await.unwrap(),
        "done"
    );
}

#[tokio::test]
async fn long_files_go_in_pieces() {
    let content = Arc::new("ä".repeat(5 << 20));
    let whole = Arc::clone(&content);
    let session = session(link(move |body| {
        let args = &body["args"];
        if body["tool"] == "write_file" {
            assert!(args["content"].as_str().unwrap().len() <= 4 << 20);
            return text("true", false);
        }
        // Between characters, as the guest cuts.
        let offset = usize::try_from(args["offset"].as_u64().unwrap())
            .unwrap()
            .min(whole.len());
        let end = (offset + usize::try_from(args["length"].as_u64().unwrap()).unwrap()).min(whole.len());
        text(&whole[offset..end], false)
    }))
    .await;
    assert_eq!(session.file().read("/a").await.unwrap(), *content);
    session
        .file()
        .write_with("/a", &content, WriteMode::CreateNew)
        .await
        .unwrap();
}

/// The stream route: sends `data` members to the run that the client begins, then closes.
fn stream(messages: Vec<Value>) -> Router {
    Router::new()
        .route(
            "/ws/s-1",
            get(|headers: HeaderMap, upgrade: WebSocketUpgrade| async move {
                assert_eq!(headers["x-access-token"], "tok");
                upgrade.on_upgrade(async move |mut socket| {
                    let Some(Ok(Message::Text(request))) = socket.recv().await else {
                        return;
                    };
                    let request: Value = serde_json::from_str(request.as_str()).unwrap();
                    assert_eq!(request["target"], "code");
                    assert_eq!(
                        request["data"]["params"],
                        json!({"language": "python", "timeoutS": 60, "code": "x"})
                    );
                    for data in messages {
                        let message = json!({"invocationId": request["invocationId"], "data": data});
                        socket
                            .send(Message::Text(message.to_string().into()))
                            .await
                            .unwrap();
                    }
                })
            }),
        )
        .route(
            "/mcp/getSessionInfo",
            post(|| async { failure(400, "InvalidMcpSession.NotFound", "it was idle") }),
        )
}

fn events() -> Vec<Value> {
    vec![
        json!({"phase": "event", "eventType": "stdout", "chunk": "out"}),
        json!({"phase": "event", "eventType": "result", "result": {"isMainResult": true, "mime": {"text/plain": "42"}}}),
        json!({"phase": "event", "eventType": "error", "error": {"code": "E", "message": "m", "traceback": "t"}}),
        json!({"phase": "end", "status": "failed", "executionCount": 3, "executionTime": 0.5, "executionError": "E: m"}),
    ]
}

#[tokio::test]
async fn a_run_is_heard_event_by_event() {
    let session = session(stream(events())).await;
    let mut run = session.code().run("x", "python").stream().await.unwrap();
    assert_eq!(run.next().await.unwrap(), Some(RunEvent::Stdout("out".into())));
    assert!(
        matches!(run.next().await.unwrap(), Some(RunEvent::Result(result)) if result.text() == Some("42"))
    );
    // The end repeats the exception; it is heard once.
    assert!(matches!(run.next().await.unwrap(), Some(RunEvent::Error(error)) if error.traceback == "t"));
    assert_eq!(run.next().await.unwrap(), None);
    assert_eq!(run.next().await.unwrap(), None);
}

#[tokio::test]
async fn a_run_is_collected() {
    let session = session(stream(events())).await;
    let run = session
        .code()
        .run("x", "python")
        .stream()
        .await
        .unwrap()
        .finish()
        .await
        .unwrap();
    assert_eq!(
        (run.text(), run.execution_count, run.success()),
        ("42", Some(3), false)
    );
    assert_eq!(run.logs.stdout, ["out"]);
}

#[tokio::test]
async fn a_stream_that_breaks_with_its_session_says_why() {
    let session = session(stream(events()[..1].to_vec())).await;
    let mut run = session.code().run("x", "python").stream().await.unwrap();
    assert!(run.next().await.unwrap().is_some());
    let error = run.next().await.unwrap_err();
    assert!(
        matches!(&error, Error::SessionEnded { message, .. } if message == "it was idle"),
        "{error}"
    );
    assert_eq!(run.next().await.unwrap(), None);
}

#[tokio::test]
async fn a_refused_stream_has_its_reason() {
    let refused = || async { failure(400, "InvalidMcpSession.NotFound", "session ended") };
    let session = session(Router::new().route("/ws/s-1", get(refused))).await;
    let error = session.code().run("x", "python").stream().await.unwrap_err();
    assert!(matches!(error, Error::SessionEnded { .. }), "{error}");
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
async fn metrics_and_code_are_read_from_the_tools_text() {
    let session = session(
        link(|body| {
            assert_eq!(
                body["args"],
                json!({"code": "x", "language": "python", "timeout_s": 5})
            );
            text(
                r#"{"result":[],"stdout":["o"],"stderr":[],"executionError":""}"#,
                false,
            )
        })
        .route(
            "/mcp",
            post(|| async { success(text(r#"{"cpu_count":2,"mem_used":7,"later":1}"#, false)) }),
        ),
    )
    .await;
    let run = session
        .code()
        .run("x", "python")
        .timeout(Duration::from_secs(5))
        .await
        .unwrap();
    assert!(run.success() && run.text().is_empty() && run.logs.stdout == ["o"]);
    let metrics = session.get_metrics().await.unwrap();
    assert_eq!((metrics.cpu_count, metrics.mem_used), (2, 7));
}
