//! Connections to servers of the session.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use hyper::{Method, StatusCode};
use support::TestGuest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[tokio::test]
async fn bytes_pass_both_ways_and_each_direction_ends_by_itself() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let guest = TestGuest::start();
        let listener = TcpListener::bind(address).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut client = guest.open_port(port).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();

        let sent = vec![7u8; 3 << 20];
        let (sending, receiving) = (sent.clone(), sent.len());
        let upload = async {
            client.write_all(&sending).await.unwrap();
            client.shutdown().await.unwrap();
        };
        let mut received = Vec::with_capacity(receiving);
        let (_, read) = tokio::join!(upload, server.read_to_end(&mut received));
        assert_eq!(read.unwrap(), receiving);
        assert_eq!(received, sent);
        // The client has ended its direction; the other one still works.
        server.write_all(b"answer").await.unwrap();
        drop(server);
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"answer");
    }
}

#[tokio::test]
async fn a_client_that_is_gone_leaves_nothing_open() {
    let guest = TestGuest::start();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = guest.open_port(port).await.unwrap();
    // This server neither reads nor writes nor closes.
    let (server, guest_end) = listener.accept().await.unwrap();
    // Is the guest's end of this one connection held by a process? Then its line has an inode. Nothing is counted: a table
    // that changes while it is read can show a line twice.
    let guest_end = guest_end.port();
    let is_held = || {
        let table = fs_err::read_to_string("/proc/net/tcp").unwrap();
        let mut lines = table
            .lines()
            .skip(1)
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        lines.any(|words| {
            words[1].ends_with(&format!(":{guest_end:04X}"))
                && words[2].ends_with(&format!(":{port:04X}"))
                && words[9] != "0"
        })
    };
    assert!(is_held());
    drop(client);
    let closed = async {
        while is_held() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), closed)
        .await
        .unwrap();
    drop(server);
}

#[tokio::test]
async fn where_nothing_listens_the_answer_says_so() {
    let guest = TestGuest::start();
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    assert_eq!(guest.open_port(port).await.unwrap_err(), StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn what_is_no_port_or_no_upgrade_is_refused() {
    let guest = TestGuest::start();
    for port in ["0", "65536", "-1", "x"] {
        let (status, _) = guest.request(Method::GET, &format!("/v1/ports/{port}"), "").await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{port}");
    }
    let (status, _) = guest.request(Method::GET, "/v1/ports/30100", "").await;
    assert_eq!(status, StatusCode::UPGRADE_REQUIRED);
}
