//! The desktop behind the live view: an X server that starts when it is needed, and again when it has died.
//!
//! Skipped where no X server is installed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::path::Path;

use futures_util::{SinkExt, StreamExt};
use support::TestGuest;
use tokio::net::UnixStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// A page's hello: version 1, 800 by 600, able to inflate.
const HELLO: [u8; 7] = [1, 1, 0x20, 0x03, 0x58, 0x02, 1];

async fn open(guest: &TestGuest) -> WebSocketStream<UnixStream> {
    let stream = UnixStream::connect(guest.path("socket")).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async("ws://guest/v1/view", stream)
        .await
        .unwrap();
    socket.send(Message::binary(HELLO.to_vec())).await.unwrap();
    socket
}

/// Messages until the first picture; returns the screen's size.
async fn first_picture(socket: &mut WebSocketStream<UnixStream>) -> (u16, u16) {
    let mut size = None;
    loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Binary(bytes) if bytes[0] == 1 => {
                size = Some((
                    u16::from_le_bytes([bytes[2], bytes[3]]),
                    u16::from_le_bytes([bytes[4], bytes[5]]),
                ));
            }
            Message::Binary(bytes) if matches!(bytes[0], 2 | 3) => {
                return size.expect("a picture before the hello");
            }
            Message::Binary(_) | Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_view_starts_the_desktop_and_starts_it_again_after_it_died() {
    if !Path::new("/usr/bin/Xvfb").exists() {
        return;
    }
    let guest = TestGuest::start();
    let shown = guest
        .shell("echo $DISPLAY; pgrep -fc \"^/usr/bin/Xvfb $DISPLAY \"; true")
        .await;
    let (display, running) = shown.trim().split_once('\n').unwrap();
    assert_eq!(running, "0", "the X server runs before anybody needs it");
    let mut page = open(&guest).await;
    assert_eq!(first_picture(&mut page).await, (1280, 720));
    assert_eq!(guest.activity().await.viewers, 1);
    // A second view shares the X server.
    let mut other = open(&guest).await;
    first_picture(&mut other).await;
    drop(other);
    let pid = guest
        .shell(&format!("pgrep -f '^/usr/bin/Xvfb {display} '"))
        .await;
    guest.shell(&format!("kill -9 {pid}")).await;
    loop {
        match page.next().await {
            Some(Ok(Message::Close(Some(close)))) => {
                assert!(close.reason.contains("the desktop has ended"), "{}", close.reason);
                break;
            }
            Some(Ok(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    let mut again = open(&guest).await;
    assert_eq!(first_picture(&mut again).await, (1280, 720));
    // Input of a person is a use of the session; a message that means nothing ends the view.
    again.send(Message::binary(vec![99])).await.unwrap();
    loop {
        match again.next().await {
            Some(Ok(Message::Close(Some(close)))) => {
                assert_eq!(u16::from(close.code), 1002);
                break;
            }
            Some(Ok(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}
