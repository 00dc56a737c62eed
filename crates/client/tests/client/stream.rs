//! Code runs on the stream route.

use axum::Router;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::http::HeaderMap;
use axum::routing::{get, post};
use berth_client::{Error, RunEvent};
use serde_json::{Value, json};

use super::{failure, session};

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
