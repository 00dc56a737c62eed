//! A guest that a session's code has taken over: whatever it answers, the host waits and keeps only so much.
//!
//! The clock is tokio's own and stands still while there is work, so limits in seconds pass at once.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use std::{future::Future, time::Duration};

use berth_guest_client::{ANSWER_BYTES_MAX, Guest, GuestError};
use bytes::Bytes;
use http::HeaderMap;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    sync::mpsc,
};

const LIMIT: Duration = Duration::from_secs(20);

/// A guest that reads the head of each request and then does what the test says; and a word for each of its connections
/// that the host has closed.
fn guest<F>(
    act: impl Fn(UnixStream) -> F + Send + 'static,
) -> (Guest, mpsc::UnboundedReceiver<()>, tempfile::TempDir)
where
    F: Future<Output = UnixStream> + Send + 'static,
{
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("guest.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let (closed, closings) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            let (acting, closed) = (act(stream), closed.clone());
            tokio::spawn(async move {
                let mut stream = acting.await;
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
                let _ = closed.send(());
            });
        }
    });
    (Guest::new(socket), closings, folder)
}

/// Writes this once, and then no more.
fn once(
    text: impl Into<Vec<u8>>,
) -> impl Fn(UnixStream) -> std::pin::Pin<Box<dyn Future<Output = UnixStream> + Send>> {
    let text = text.into();
    move |mut stream| {
        let text = text.clone();
        Box::pin(async move {
            let _ = stream.write_all(&text).await;
            stream
        })
    }
}

/// Writes a start, and then the same again and again, until nobody takes it.
async fn endless(mut stream: UnixStream, start: &str, again: &[u8], pause: Duration) -> UnixStream {
    let _ = stream.write_all(start.as_bytes()).await;
    while stream.write_all(again).await.is_ok() {
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
    stream
}

async fn call(guest: &Guest) -> GuestError {
    let answer = guest
        .call_tool("shell", Bytes::from_static(b"{}"), "http://h/", LIMIT)
        .await;
    answer.expect_err("such an answer must not be taken")
}

#[track_caller]
fn unexpected(error: &GuestError, words: &str) {
    assert!(matches!(error, GuestError::Unexpected(_)), "{error:?}");
    assert!(error.to_string().contains(words), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_endless_body_is_cut_off() {
    for start in [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
    ] {
        let chunked = start.contains("chunked");
        let (guest, mut closed, _folder) = guest(move |stream| async move {
            let mut piece = vec![b' '; 1 << 16];
            if chunked {
                piece.splice(..0, *b"10000\r\n");
                piece.extend(b"\r\n");
            }
            endless(stream, start, &piece, Duration::ZERO).await
        });
        unexpected(&call(&guest).await, "longer than");
        // And nothing more is read from it.
        closed.recv().await.unwrap();
        unexpected(&guest.hello().await.unwrap_err(), "longer than");
    }
}

#[tokio::test(start_paused = true)]
async fn endless_headers_are_cut_off() {
    for again in ["X-More: and more\r\n", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"] {
        let (guest, mut closed, _folder) = guest(move |stream| async move {
            endless(stream, "HTTP/1.1 200 OK\r\nX: ", again.as_bytes(), Duration::ZERO).await
        });
        let error = call(&guest).await;
        assert!(matches!(error, GuestError::Unreachable(_)), "{error:?}");
        closed.recv().await.unwrap();
        let error = guest.open_tunnel("/stream", HeaderMap::new()).await.unwrap_err();
        assert!(matches!(error, GuestError::Unreachable(_)), "{error:?}");
        closed.recv().await.unwrap();
    }
}

/// Each of these goes on for ever without growing, so only time ends it.
#[tokio::test(start_paused = true)]
async fn an_answer_that_never_ends_is_given_up() {
    for (start, again) in [
        ("", ""),
        ("", "H"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", " "),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "1\r\n \r\n",
        ),
        ("", "HTTP/1.1 100 Continue\r\n\r\n"),
    ] {
        let (guest, mut closed, _folder) = guest(move |stream| async move {
            endless(stream, start, again.as_bytes(), Duration::from_secs(1)).await
        });
        let error = call(&guest).await;
        // A status line that starts with many letters is also no status line.
        assert!(
            matches!(error, GuestError::TimedOut(LIMIT)) || again == "H",
            "{start}{again}: {error:?}"
        );
        if again.is_empty() {
            // Nothing is written, so only the host's end of it closes.
            continue;
        }
        closed.recv().await.unwrap();
        let error = guest.hello().await.unwrap_err();
        assert!(
            !matches!(error, GuestError::Unexpected(_)),
            "{start}{again}: {error:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_says_nothing_is_given_up_and_let_go_of() {
    let (guest, mut closed, _folder) = guest(once(""));
    assert!(matches!(call(&guest).await, GuestError::TimedOut(LIMIT)));
    closed.recv().await.unwrap();
    let error = guest.open_tunnel("/stream", HeaderMap::new()).await.unwrap_err();
    assert!(matches!(error, GuestError::TimedOut(_)), "{error:?}");
    closed.recv().await.unwrap();
    let error = guest.activity().await.unwrap_err();
    assert!(matches!(error, GuestError::TimedOut(_)), "{error:?}");
    closed.recv().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn garbage_is_no_answer() {
    for text in [
        "\0\0\0\0",
        "nonsense\r\n\r\n",
        "HTTP/9.9 200 OK\r\n\r\n",
        "HTTP/1.1 999999 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\n bad: header\r\n\r\n",
    ] {
        let (guest, _closed, _folder) = guest(once(text));
        let error = call(&guest).await;
        assert!(!matches!(error, GuestError::Unexpected(_)), "{text:?}: {error:?}");
        let error = guest.open_tunnel("/stream", HeaderMap::new()).await.unwrap_err();
        let told = matches!(
            error,
            GuestError::Unreachable(_) | GuestError::TimedOut(_) | GuestError::Unexpected(_)
        );
        assert!(told, "{text:?}: {error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_closes_early_is_no_answer() {
    for text in [
        "",
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    ] {
        let (guest, _closed, _folder) = guest(move |mut stream| async move {
            let _ = stream.write_all(text.as_bytes()).await;
            let _ = stream.shutdown().await;
            stream
        });
        let error = call(&guest).await;
        assert!(matches!(error, GuestError::Unreachable(_)), "{text:?}: {error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_contract_does_not_know_is_named() {
    let answer = |status: &str, body: &str| {
        format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    };
    for (text, words) in [
        (answer("500 No", "{}"), "status 500"),
        (answer("302 Found", "{}"), "status 302"),
        (answer("204 None", ""), "status 204"),
        (answer("200 OK", ""), "not JSON"),
        (answer("200 OK", "{} {}"), "not JSON"),
        (answer("200 OK", "{}}, \"code\": \"ok\""), "not JSON"),
        (answer("200 OK", "\u{0}"), "not JSON"),
        (answer("101 Switching", ""), "status 101"),
    ] {
        let (guest, _closed, _folder) = guest(once(text.clone()));
        let error = call(&guest).await;
        match error {
            // An upgrade that nobody asked for is refused below HTTP.
            GuestError::Unreachable(_) => assert!(text.contains("101"), "{text:?}: {error:?}"),
            _ => unexpected(&error, words),
        }
    }
    let (guest, _closed, _folder) = guest(once(answer("200 OK", "{\"contract_version\": \"x\"}")));
    unexpected(&guest.hello().await.unwrap_err(), "with a form unknown here");
    let (guest, _closed, _folder) = self::guest(once(answer("403 No", &"x".repeat(100_000))));
    let error = guest.open_tunnel("/stream", HeaderMap::new()).await.unwrap_err();
    unexpected(&error, "403 Forbidden to a WebSocket: xxx");
    assert!(error.to_string().len() < 1000);
}

/// An answer to the next call that comes before it, on a connection that is kept.
#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_asked_for_is_not_taken_for_the_next() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    let (guest, _closed, _folder) = guest(once(format!(
        "{ok}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue"
    )));
    let answer = guest
        .call_tool("shell", Bytes::from_static(b"{}"), "http://h/", LIMIT)
        .await
        .unwrap();
    assert_eq!((answer.known, &answer.body[..]), (true, &b"{}"[..]));
    let answer = guest
        .call_tool("shell", Bytes::from_static(b"{}"), "http://h/", LIMIT)
        .await
        .unwrap();
    assert_eq!(&answer.body[..], b"{}");
}

#[tokio::test(start_paused = true)]
async fn a_large_answer_within_the_limit_is_taken() {
    let length = ANSWER_BYTES_MAX / 16;
    let mut text = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n\"").into_bytes();
    text.resize(text.len() + length - 2, b'x');
    text.push(b'"');
    let (guest, _closed, _folder) = guest(once(text));
    let answer = guest
        .call_tool("shell", Bytes::from_static(b"{}"), "http://h/", LIMIT)
        .await
        .unwrap();
    assert_eq!(answer.body.len(), length);
}

#[tokio::test(start_paused = true)]
async fn what_is_shown_to_the_owner_is_a_short_document() {
    let answer = |body: &str| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        head + body
    };
    let (told, _closed, _folder) = guest(once(answer(r#"{"viewers":[],"new":1}"#)));
    assert_eq!(told.viewers().await.unwrap().get(), r#"{"viewers":[],"new":1}"#);
    for body in ["", "{}}", r#"{"viewers":[]},"success":false"#] {
        let (guest, _closed, _folder) = guest(once(answer(body)));
        unexpected(&guest.viewers().await.unwrap_err(), "not JSON");
    }
    let long = format!("\"{}\"", "x".repeat(berth_guest_api::VIEWERS_BYTES_MAX));
    let (long, _closed, _folder) = guest(once(answer(&long)));
    unexpected(&long.viewers().await.unwrap_err(), "longer than");
    let (old, _closed, _folder) = guest(once("HTTP/1.1 404 x\r\ncontent-length: 0\r\n\r\n"));
    let error = old.viewers().await.unwrap_err();
    assert!(error.to_string().contains("create a new session"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_picture_has_a_length_within_the_limit() {
    let too_long = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
        berth_guest_api::PICTURE_BYTES_MAX + 1
    );
    let endless = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_owned();
    for answer in [too_long, endless] {
        let (guest, _closed, _folder) = guest(once(answer));
        unexpected(&guest.picture("p").await.unwrap_err(), "with a picture of");
    }
    let (gone, _closed, _folder) = guest(once("HTTP/1.1 404 x\r\ncontent-length: 4\r\n\r\ngone"));
    let error = gone.picture("p").await.unwrap_err();
    assert!(
        matches!(&error, GuestError::NoPicture(text) if text == "gone"),
        "{error:?}"
    );
    let (old, _closed, _folder) = guest(once("HTTP/1.1 404 x\r\ncontent-length: 0\r\n\r\n"));
    let error = old.picture("p").await.unwrap_err();
    assert!(matches!(error, GuestError::Outdated(_)), "{error:?}");
}
