//! The daemon around the tools: what it says of itself, what it refuses, how it ends.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::process::Command;

use berth_guest_api::{CONTRACT_VERSION, ToolResult, ToolSpec};
use hyper::{Method, StatusCode};
use serde_json::json;
use support::TestGuest;

#[tokio::test]
async fn hello_names_the_tools_that_the_program_prints() {
    let guest = TestGuest::start();
    let hello = guest.hello().await;
    assert_eq!(hello.contract_version, CONTRACT_VERSION);
    let printed = Command::new(env!("CARGO_BIN_EXE_berth-guest"))
        .arg("tools")
        .output()
        .unwrap()
        .stdout;
    let printed: Vec<ToolSpec> = serde_json::from_slice(&printed).unwrap();
    assert_eq!(printed, hello.tools);
    let server = |name: &str| {
        hello
            .tools
            .iter()
            .find(|tool| tool.name == name)
            .unwrap()
            .server
            .as_str()
    };
    assert_eq!(server("run_code"), "wuying_codespace");
    assert_eq!(server("shell"), "wuying_shell");
}

#[tokio::test]
async fn an_unknown_tool_is_not_found_and_says_what_there_is() {
    let guest = TestGuest::start();
    let (status, body) = guest.request(Method::POST, "/v1/tools/fly", "{}").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let result: ToolResult = serde_json::from_slice(&body).unwrap();
    assert!(result.is_error);
    assert!(String::from_utf8_lossy(&body).contains("`shell`"));
}

#[tokio::test]
async fn a_tool_without_arguments_takes_an_object_or_nothing() {
    let guest = TestGuest::start();
    for body in ["{}", "", r#"{"more":1}"#] {
        let answer = guest.call_raw("get_metrics", body).await;
        assert!(!answer.is_error, "{}", answer.text);
        let metrics = answer.json();
        assert!(metrics["cpu_count"].as_u64().unwrap() >= 1);
        assert!((0.0..=100.0).contains(&metrics["cpu_used_pct"].as_f64().unwrap()));
        for name in ["mem_total", "disk_total"] {
            assert!(metrics[name].as_u64().unwrap() > 0, "{metrics}");
        }
        for name in [
            "rx_rate_kbyte_per_s",
            "tx_rate_kbyte_per_s",
            "rx_used_kbyte",
            "tx_used_kbyte",
        ] {
            assert!(metrics[name].is_number(), "{metrics}");
        }
        assert!(!metrics["timestamp"].as_str().unwrap().is_empty());
    }
    assert!(guest.call_raw("get_metrics", "[1]").await.is_error);
}

#[tokio::test]
async fn activity_is_running_work_and_asking_is_none() {
    let guest = TestGuest::start();
    guest.shell("true").await;
    let first = guest.activity().await;
    assert_eq!(first.running, 0);
    let marker = guest.path("started");
    let command = format!("touch {marker}; while [ -e {marker} ]; do sleep 0.01; done");
    let watching = async {
        while !std::path::Path::new(&marker).exists() {
            tokio::task::yield_now().await;
        }
        let during = guest.activity().await;
        fs_err::remove_file(&marker).unwrap();
        during
    };
    let (_, during) = tokio::join!(guest.shell(&command), watching);
    assert_eq!((during.idle_ms, during.running), (0, 1));
}

#[tokio::test]
async fn without_python_the_answer_says_so() {
    let guest = TestGuest::start();
    let answer = guest
        .call("run_code", json!({ "code": "1", "language": "python" }))
        .await;
    assert!(
        answer.is_error && answer.text.contains("python could not be started"),
        "{}",
        answer.text
    );
    let answer = guest
        .call("run_code", json!({ "code": "1", "language": "cobol" }))
        .await;
    assert!(
        answer.text.contains("`language` is `cobol`; allowed: `python`"),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn without_a_desktop_a_view_says_so() {
    use futures_util::StreamExt;
    if std::path::Path::new("/usr/bin/Xvfb").exists() {
        return;
    }
    let guest = TestGuest::start();
    let stream = tokio::net::UnixStream::connect(guest.path("socket"))
        .await
        .unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async("ws://guest/v1/view", stream)
        .await
        .unwrap();
    let Some(Ok(tokio_tungstenite::tungstenite::Message::Close(Some(close)))) = socket.next().await else {
        panic!("no close")
    };
    assert!(close.reason.contains("no desktop"), "{}", close.reason);
}

#[tokio::test]
async fn a_call_that_runs_is_answered_before_the_daemon_ends() {
    let guest = TestGuest::start();
    let marker = guest.path("started");
    let command = format!("touch {marker}; sleep 0.3; echo done");
    let stopping = async {
        while !std::path::Path::new(&marker).exists() {
            tokio::task::yield_now().await;
        }
        let pid = rustix::process::Pid::from_raw(guest.pid().try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    };
    let (output, ()) = tokio::join!(guest.shell(&command), stopping);
    assert_eq!(output, "done\n");
}

/// Starts the real first process of a session, with the listening socket as descriptor 3, in a process namespace.
#[tokio::test]
async fn the_first_process_reaps_and_ends_with_the_daemon() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let host = "import os, socket, sys\n\
                s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); os.dup2(s.fileno(), 3)\n\
                os.set_inheritable(3, True)\n\
                os.execv(sys.argv[2], [sys.argv[2], 'init'])";
    let mut process = Command::new("unshare")
        .args([
            "--pid",
            "--fork",
            "--mount-proc",
            "--kill-child",
            "python3",
            "-c",
            host,
        ])
        .arg(&socket)
        .arg(env!("CARGO_BIN_EXE_berth-guest"))
        .env("BERTH_USER", "nobody")
        .env("BERTH_PYTHON", "/nonexistent")
        .env("BERTH_RUN_DIR", folder.path().join("run"))
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(process.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("guest is listening") {
        line.clear();
        assert_ne!(
            std::io::BufRead::read_line(&mut lines, &mut line).unwrap(),
            0,
            "it did not start"
        );
    }
    let call = |command: &str| {
        let body = json!({ "command": command }).to_string();
        let socket = socket.clone();
        async move {
            let stream = tokio::net::UnixStream::connect(socket).await.unwrap();
            let io = hyper_util::rt::TokioIo::new(stream);
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            let body = http_body_util::Full::new(hyper::body::Bytes::from(body));
            let request = hyper::Request::post("/v1/tools/shell")
                .header("host", "guest")
                .body(body)
                .unwrap();
            let response = sender.send_request(request).await.unwrap();
            let bytes = http_body_util::BodyExt::collect(response.into_body())
                .await
                .unwrap()
                .to_bytes();
            String::from_utf8(bytes.to_vec()).unwrap()
        }
    };
    assert!(call("cat /proc/1/comm").await.contains("berth-guest"));
    // The supervisor of this job is killed by root, so its program falls to process 1, which buries it.
    let orphan = call("sleep 0.2 & echo $PPID").await;
    let supervisor: i32 = orphan
        .split("stdout\\\":\\\"")
        .nth(1)
        .unwrap()
        .split('\\')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert!(supervisor > 1);
    let zombies = "until ! ps -eo comm,ppid,stat | grep -E '^sleep +1 '; do sleep 0.02; done >/dev/null; \
                   ps -eo stat,ppid | awk '$2 == 1 && $1 ~ /Z/' | wc -l";
    assert!(call(zombies).await.contains(r#"\"stdout\":\"0\\n\""#));
    // `unshare` passes no signal on, so the daemon is ended from within, as its supervisor would.
    let init = fs_err::read_to_string(format!("/proc/{0}/task/{0}/children", process.id())).unwrap();
    let init = rustix::process::Pid::from_raw(init.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(init, rustix::process::Signal::TERM).unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(0));
}
