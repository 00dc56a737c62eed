//! The live stream through a real guest and a real IPython.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use support::TestGuest;
use tokio_tungstenite::tungstenite::Message;

/// The text of all chunks of one kind.
fn chunks(events: &[Value], kind: &str) -> String {
    events
        .iter()
        .filter(|event| event["eventType"] == kind)
        .map(|event| event["chunk"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn output_arrives_while_the_code_runs() {
    let guest = TestGuest::with_python().await;
    let mut stream = guest.stream().await;
    let marker = guest.path("go");
    // The code waits for a file that this test makes only after it has seen the first chunk.
    let code = format!(
        "import os, time\nos.write(1, b'one\\n')\nwhile not os.path.exists('{marker}'): time.sleep(0.01)\nprint('two')\n\
         42"
    );
    stream.run("a1", &code, 60).await;
    let first = stream.next().await;
    assert_eq!(first["invocationId"], "a1");
    assert_eq!(
        (&first["source"], &first["target"]),
        (&json!("wuying_codespace"), &json!("SDK"))
    );
    let data = &first["data"];
    assert_eq!(
        (&data["phase"], &data["eventType"], &data["chunk"]),
        (&json!("event"), &json!("stdout"), &json!("one\n"))
    );
    assert_eq!(
        (&data["method"], &data["mode"], &data["seq"]),
        (&json!("run_code"), &json!("stream"), &json!(1))
    );
    fs_err::write(&marker, "").unwrap();
    let rest = stream.until_end("a1").await;
    let kinds: Vec<_> = rest
        .iter()
        .map(|data| (data["phase"].as_str().unwrap(), data["seq"].as_u64().unwrap()))
        .collect();
    assert_eq!(kinds, [("event", 2), ("event", 3), ("end", 4)]);
    assert_eq!(rest[0]["chunk"], "two\n");
    assert_eq!(
        rest[1]["result"],
        json!({ "isMainResult": true, "mime": { "text/plain": "42" } })
    );
    assert_eq!(
        (&rest[2]["status"], rest[2].get("executionError")),
        (&json!("finished"), None)
    );
    assert!(rest[2]["executionCount"].is_u64() && rest[2]["executionTime"].is_number());
}

#[tokio::test]
async fn results_and_output_keep_their_order() {
    let guest = TestGuest::with_python().await;
    let mut stream = guest.stream().await;
    let code = "for i in range(20):\n    print('before', i, end='')\n    display(i)\nprint('after')";
    stream.run("o", code, 60).await;
    let events = stream.until_end("o").await;
    let mut wanted = String::new();
    let mut seen = String::new();
    for i in 0..20 {
        wanted += &format!("before {i}<{i}>");
    }
    wanted += "after\n";
    for event in &events {
        match event["eventType"].as_str() {
            Some("stdout") => seen += event["chunk"].as_str().unwrap(),
            Some("result") => {
                seen += &format!("<{}>", event["result"]["mime"]["text/plain"].as_str().unwrap())
            }
            _ => {}
        }
    }
    assert_eq!(seen, wanted);
}

#[tokio::test]
async fn an_exception_is_an_object_and_ends_as_failed() {
    let guest = TestGuest::with_python().await;
    let mut stream = guest.stream().await;
    stream.run("e", "print('x'); nowhere", 60).await;
    let events = stream.until_end("e").await;
    let error = events.iter().find(|event| event["eventType"] == "error").unwrap();
    assert_eq!(error["error"]["code"], "NameError");
    assert_eq!(error["error"]["message"], "name 'nowhere' is not defined");
    assert!(chunks(&events, "stderr").contains("NameError"));
    let end = events.last().unwrap();
    assert_eq!(end["status"], "failed");
    assert_eq!(end["executionError"], "NameError: name 'nowhere' is not defined");
    // No member that would make a client fail the whole stream.
    assert!(events.iter().all(|event| !event["error"].is_string()));
}

#[tokio::test]
async fn a_run_is_stopped_and_keeps_its_variables() {
    let guest = TestGuest::with_python().await;
    let mut stream = guest.stream().await;
    stream
        .run("s", "x = 1\nprint('on')\nimport time\ntime.sleep(600)", 60)
        .await;
    assert_eq!(stream.next().await["data"]["chunk"], "on\n");
    // Waits for its turn behind the first, and never gets it.
    stream.run("w", "x = 2", 60).await;
    for id in ["w", "s"] {
        stream
            .send(json!({ "invocationId": id, "data": { "method": "stop" } }))
            .await;
        let end = stream.until_end(id).await.pop().unwrap();
        assert_eq!(end["status"], "failed");
        assert!(
            end["executionError"]
                .as_str()
                .unwrap()
                .starts_with("Cancelled: the run was stopped")
        );
    }
    stream.run("a", "x", 60).await;
    assert_eq!(
        stream.until_end("a").await[0]["result"]["mime"]["text/plain"],
        "1"
    );
}

#[tokio::test]
async fn requests_that_make_no_sense_are_answered() {
    let guest = TestGuest::with_python().await;
    let mut stream = guest.stream().await;
    for (id, params, wanted) in [
        (
            "b1",
            json!({ "code": "1", "language": "cobol" }),
            "`language` is `cobol`",
        ),
        ("b2", json!({ "language": "python" }), "missing field `code`"),
        (
            "b3",
            json!({ "code": " ", "language": "python" }),
            "`code` is empty",
        ),
        (
            "b4",
            json!({ "code": "1", "language": "python", "timeoutS": "x" }),
            "timeoutS",
        ),
    ] {
        stream
            .send(json!({ "invocationId": id, "data": { "method": "run_code", "params": params } }))
            .await;
        let events = stream.until_end(id).await;
        let end = events.last().unwrap();
        assert_eq!(end["status"], "failed");
        assert!(end["executionError"].as_str().unwrap().contains(wanted), "{end}");
    }
    stream
        .send(json!({ "invocationId": "m", "data": { "method": "fly" } }))
        .await;
    let refusal = stream.until_end("m").await;
    assert_eq!(
        (&refusal[0]["phase"], &refusal[0]["error"]["code"]),
        (&json!("error"), &json!("InvalidParameter"))
    );
    // Messages that cannot be answered are no reason to end the stream.
    for text in [
        "not json",
        "[]",
        "{}",
        r#"{"type":"ping"}"#,
        r#"{"invocationId":7}"#,
        r#"{"invocationId":""}"#,
    ] {
        stream.send_text(text).await;
    }
    stream.run("after", "1", 60).await;
    assert_eq!(
        stream.until_end("after").await.last().unwrap()["status"],
        "finished"
    );
}

#[tokio::test]
async fn pings_are_answered_and_messages_read_while_code_runs() {
    let guest = TestGuest::with_python().await;
    let mut stream = guest.stream().await;
    let marker = guest.path("go");
    let code = format!("import os, time\nwhile not os.path.exists('{marker}'): time.sleep(0.01)");
    stream.run("long", &code, 60).await;
    stream.send_text(r#"{"type":"ping"}"#).await;
    stream
        .socket
        .send(Message::Ping("are you there".into()))
        .await
        .unwrap();
    let Message::Pong(answer) = stream.socket.next().await.unwrap().unwrap() else {
        panic!("not a pong")
    };
    assert_eq!(&answer[..], b"are you there");
    // The same id again is a write to the running stream, and nobody reads it.
    stream.run("long", "print('no')", 60).await;
    fs_err::write(&marker, "").unwrap();
    let events = stream.until_end("long").await;
    assert_eq!((events.len(), &events[0]["status"]), (1, &json!("finished")));
}

#[tokio::test]
async fn several_runs_share_a_socket_and_several_sockets_a_session() {
    let guest = TestGuest::with_python().await;
    let mut stream = guest.stream().await;
    for number in 0..5 {
        stream
            .run(&format!("r{number}"), &format!("print({number})"), 60)
            .await;
    }
    let mut ended = Vec::new();
    while ended.len() < 5 {
        let message = stream.next().await;
        if message["data"]["phase"] == "end" {
            ended.push(message["invocationId"].as_str().unwrap().to_owned());
        } else {
            assert_eq!(
                format!("r{}\n", message["data"]["chunk"].as_str().unwrap().trim()),
                format!("{}\n", message["invocationId"].as_str().unwrap())
            );
        }
    }
    ended.sort();
    assert_eq!(ended, ["r0", "r1", "r2", "r3", "r4"]);
    let (mut one, mut two) = (guest.stream().await, guest.stream().await);
    one.run("one", "shared = 1", 60).await;
    one.until_end("one").await;
    two.run("two", "shared", 60).await;
    assert_eq!(two.until_end("two").await[0]["result"]["mime"]["text/plain"], "1");
}

#[tokio::test]
async fn a_client_that_leaves_does_not_stop_its_run() {
    let guest = TestGuest::with_python().await;
    let marker = guest.path("go");
    let mut stream = guest.stream().await;
    let code = format!(
        "import os, time\nprint('running')\nwhile not os.path.exists('{marker}'): time.sleep(0.01)\n\
         print('x' * 10_000_000)\nfinished = True"
    );
    stream.run("left", &code, 60).await;
    assert_eq!(stream.next().await["data"]["eventType"], "stdout");
    drop(stream);
    assert_eq!(guest.activity().await.running, 1);
    fs_err::write(&marker, "").unwrap();
    // Queued behind the run, which nobody watches.
    let answer = guest.python("finished").await;
    assert_eq!(answer["result"][0]["text/plain"], "True");
}

#[tokio::test]
async fn long_output_comes_in_messages_that_clients_take() {
    let guest = TestGuest::with_python().await;
    let mut stream = guest.stream().await;
    stream
        .run("big", "import sys\nsys.stdout.write('ä\\0' * 2_000_000);", 60)
        .await;
    let events = stream.until_end("big").await;
    assert_eq!(chunks(&events, "stdout"), "ä\0".repeat(2_000_000));
    stream
        .run(
            "png",
            "display({'image/png': 'A' * 3_000_000, 'text/plain': '<Figure>'}, raw=True)",
            60,
        )
        .await;
    let events = stream.until_end("png").await;
    let mime = &events[0]["result"]["mime"];
    assert_eq!(mime.get("image/png"), None);
    assert!(
        mime["text/plain"]
            .as_str()
            .unwrap()
            .starts_with("<Figure>\n[image/png left out"),
        "{mime}"
    );
}

#[tokio::test]
async fn a_timeout_and_a_lost_interpreter_end_the_stream() {
    let guest = TestGuest::with_python().await;
    let mut stream = guest.stream().await;
    stream.run("t", "print('loop')\nwhile True: pass", 1).await;
    let events = stream.until_end("t").await;
    assert_eq!(chunks(&events, "stdout"), "loop\n");
    let end = events.last().unwrap();
    assert!(
        end["executionError"]
            .as_str()
            .unwrap()
            .contains("timed out after 1 s"),
        "{end}"
    );
    stream.run("k", "import os; os.kill(os.getpid(), 9)", 60).await;
    let events = stream.until_end("k").await;
    assert_eq!(events[0]["error"]["code"], "InterpreterLost");
    stream.run("n", "1", 60).await;
    assert_eq!(stream.until_end("n").await.last().unwrap()["status"], "finished");
}

#[tokio::test]
async fn a_client_that_does_not_read_ends_with_its_timeout() {
    let guest = TestGuest::with_python().await;
    let mut stream = guest.stream().await;
    // Far more than the queues and the socket hold.
    stream.run("slow", "while True: print('x' * 100_000)", 2).await;
    let answer = guest.python("'next'").await;
    assert_eq!(answer["result"][0]["text/plain"], "'next'");
}
