//! A real guest for tests: the binary itself, outside of a sandbox, spoken to over its socket.
//!
//! As root, tools run as the account in `BERTH_TEST_USER` (default `nobody`), else as whoever runs the tests.

#![allow(dead_code, reason = "each test file uses its part of this")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, and says why"
)]

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use berth_guest_api::{ACTIVITY, Activity, Content, HELLO, Hello, TOOLS, ToolResult};
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

static DISPLAYS: AtomicU32 = AtomicU32::new(0);

/// A guest that ends with the test.
pub struct TestGuest {
    process: Child,
    folder: tempfile::TempDir,
    log: Arc<Mutex<String>>,
    display: u32,
}

/// What one tool answered.
#[derive(Debug)]
pub struct Answer {
    pub is_error: bool,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

impl TestGuest {
    /// A guest without Python.
    pub fn start() -> Self {
        Self::start_with("/nonexistent/python3")
    }

    /// A guest with the Python of `BERTH_TEST_PYTHON`, warm.
    pub async fn with_python() -> Self {
        let guest = Self::start_with(&test_python());
        // Waits for the warm process, as any run does.
        let answer = guest.python("'warm'").await;
        assert_eq!(answer["executionError"], "", "{answer}");
        guest
    }

    fn start_with(python: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The account of the tools has to get in.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        // One for each guest: tests run beside each other, and beside whatever this machine shows.
        let display = 1000 + DISPLAYS.fetch_add(1, Ordering::Relaxed) + std::process::id() % 50_000;
        let mut command = Command::new(env!("CARGO_BIN_EXE_berth-guest"));
        command
            .args(["serve", "--listen"])
            .arg(folder.path().join("socket"))
            .env("BERTH_PYTHON", python)
            .env("BERTH_RUN_DIR", folder.path().join("run"))
            .env("BERTH_DISPLAY", format!(":{display}"))
            .env("BERTH_LOG", "debug")
            .stderr(Stdio::piped());
        if rustix::process::geteuid().is_root() {
            command.env(
                "BERTH_USER",
                std::env::var("BERTH_TEST_USER").unwrap_or_else(|_| "nobody".into()),
            );
        }
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap());
        let mut first = String::new();
        while !first.contains("guest is listening") {
            first.clear();
            assert_ne!(lines.read_line(&mut first).unwrap(), 0, "the guest did not start");
        }
        let log = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = lines.read(&mut buffer) {
                kept.lock()
                    .unwrap()
                    .push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        Self {
            process,
            folder,
            log,
            display,
        }
    }

    /// A folder that tools may write to.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `name` in the folder, as text.
    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    pub async fn request(&self, method: Method, path: &str, body: impl Into<Bytes>) -> (StatusCode, Bytes) {
        let stream = UnixStream::connect(self.socket()).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "guest")
            .body(Full::new(body.into()))
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status();
        (status, response.into_body().collect().await.unwrap().to_bytes())
    }

    pub async fn hello(&self) -> Hello {
        serde_json::from_slice(&self.request(Method::GET, HELLO, "").await.1).unwrap()
    }

    pub async fn activity(&self) -> Activity {
        serde_json::from_slice(&self.request(Method::GET, ACTIVITY, "").await.1).unwrap()
    }

    /// Calls a tool with arguments as they stand.
    pub async fn call_raw(&self, tool: &str, arguments: impl Into<Bytes>) -> Answer {
        let (status, body) = self
            .request(Method::POST, &format!("{TOOLS}{tool}"), arguments)
            .await;
        assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&body));
        let result: ToolResult = serde_json::from_slice(&body).unwrap();
        let [Content::Text { text }] = &result.content[..] else {
            panic!("not one block: {result:?}")
        };
        Answer {
            is_error: result.is_error,
            text: text.clone(),
        }
    }

    pub async fn call(&self, tool: &str, arguments: Value) -> Answer {
        self.call_raw(tool, arguments.to_string()).await
    }

    /// Runs a command that has to succeed; returns its standard output.
    pub async fn shell(&self, command: &str) -> String {
        let answer = self
            .call("shell", json!({ "command": command, "timeout_ms": 30_000 }))
            .await;
        assert!(!answer.is_error, "{}", answer.text);
        answer.json()["stdout"].as_str().unwrap().to_owned()
    }

    /// Runs Python; returns the answer.
    pub async fn python(&self, code: &str) -> Value {
        self.python_for(code, 60).await
    }

    pub async fn python_for(&self, code: &str, timeout_s: u64) -> Value {
        let arguments = json!({ "code": code, "language": "python", "timeout_s": timeout_s });
        let answer = self.call("run_code", arguments).await;
        assert!(!answer.is_error, "{}", answer.text);
        answer.json()
    }

    /// A connection to a port of the session, or the status of the guest's refusal.
    pub async fn open_port(&self, port: u16) -> Result<TokioIo<hyper::upgrade::Upgraded>, StatusCode> {
        let stream = UnixStream::connect(self.socket()).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection.with_upgrades());
        let request = Request::get(format!("/v1/ports/{port}"))
            .header("host", "guest")
            .header("connection", "upgrade")
            .header("upgrade", "tcp")
            .body(Full::new(Bytes::new()))
            .unwrap();
        let mut response = sender.send_request(request).await.unwrap();
        match response.status() {
            StatusCode::SWITCHING_PROTOCOLS => {
                Ok(TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap()))
            }
            status => Err(status),
        }
    }

    pub async fn stream(&self) -> TestStream {
        let stream = UnixStream::connect(self.socket()).await.unwrap();
        let (socket, _) = tokio_tungstenite::client_async("ws://guest/v1/stream", stream)
            .await
            .unwrap();
        TestStream { socket }
    }
}

impl Drop for TestGuest {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the guest ---\n{}", self.log.lock().unwrap());
        }
        // The end of the guest is the end of everything it started.
        let _ = self.process.kill();
        let _ = self.process.wait();
        // An X server that was killed leaves these.
        let _ = fs_err::remove_file(format!("/tmp/.X11-unix/X{}", self.display));
        let _ = fs_err::remove_file(format!("/tmp/.X{}-lock", self.display));
    }
}

fn test_python() -> String {
    std::env::var("BERTH_TEST_PYTHON").unwrap_or_else(|_| {
        panic!(
            "set BERTH_TEST_PYTHON to a Python that has IPython, numpy, pandas and matplotlib and that every account \
             may run, for example:\n  python3 -m venv /opt/berth-test-python\n  \
             /opt/berth-test-python/bin/pip install ipython numpy pandas matplotlib\n  \
             export BERTH_TEST_PYTHON=/opt/berth-test-python/bin/python"
        )
    })
}

/// A live stream.
pub struct TestStream {
    pub socket: WebSocketStream<UnixStream>,
}

impl TestStream {
    pub async fn send(&mut self, message: Value) {
        self.send_text(message.to_string()).await;
    }

    pub async fn send_text(&mut self, text: impl Into<String>) {
        self.socket.send(Message::text(text.into())).await.unwrap();
    }

    /// Begins a run.
    pub async fn run(&mut self, id: &str, code: &str, timeout_s: u64) {
        self.send(json!({
            "invocationId": id, "source": "SDK", "target": "wuying_codespace",
            "data": { "method": "run_code", "mode": "stream",
                      "params": { "language": "python", "timeoutS": timeout_s, "code": code } },
        }))
        .await;
    }

    /// The next message.
    pub async fn next(&mut self) -> Value {
        loop {
            match self.socket.next().await.expect("the stream ended").unwrap() {
                Message::Text(text) => {
                    assert!(text.len() < 1 << 20, "a message of {} bytes", text.len());
                    return serde_json::from_str(&text).unwrap();
                }
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Everything up to the end of a run.
    pub async fn until_end(&mut self, id: &str) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            let message = self.next().await;
            assert_eq!(message["invocationId"], id);
            let phase = message["data"]["phase"].clone();
            all.push(message["data"].clone());
            if phase != "event" {
                return all;
            }
        }
    }
}
