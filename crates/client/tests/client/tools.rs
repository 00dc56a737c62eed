//! Tools, commands, code and files: which way a call takes, and what its text becomes.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::post;
use berth_client::{Error, WriteMode};
use serde_json::{Value, json};

use super::{session, success};

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
