//! The sender against a receiver on this machine that answers as it is told to.

#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use berth_store::{Database, KeyLimits, NewKey, NewSession, Options, SandboxState, Store};
use berth_webhook::{Pace, Secret, Sender};
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Quick, so that a test waits for what happens and not for pauses.
const PACE: Pace = Pace {
    timeout: Duration::from_secs(5),
    first_pause: Duration::from_millis(1),
    longest_pause: Duration::from_millis(5),
    give_up_after: Duration::from_secs(3600),
    look_every: Duration::from_millis(1),
};

/// A store in which so many sessions were created: as many events wait. The folder goes with it.
struct Outbox {
    store: Store,
    _folder: tempfile::TempDir,
}

impl Outbox {
    async fn with(events: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::Sqlite(folder.path().join("berth.db"));
        let store = Store::open(&database, Options { events: true }).await.unwrap();
        let key = NewKey {
            name: "tests",
            expires: None,
            limits: KeyLimits::default(),
        };
        store.create_key(&key).await.unwrap();
        let key_id = &store.keys().await.unwrap()[0].id;
        for number in 0..events {
            let sandbox_id = format!("sb-{number}");
            store.insert_sandbox(&sandbox_id, "n-1", "image").await.unwrap();
            let (making, ready) = (SandboxState::Making, SandboxState::Ready);
            store.advance_sandbox(&sandbox_id, making, ready).await.unwrap();
            let session = NewSession {
                id: &format!("s-{number}"),
                key_id,
                node: "n-1",
                image: "image-žluť",
                sandbox_id: &sandbox_id,
                memory_bytes: 0,
                policy: None,
                idle_timeout_ms: 0,
                labels: &BTreeMap::new(),
                ticket: (&format!("ticket-{number}"), Timestamp::now()),
            };
            store.insert_session(&session).await.unwrap();
        }
        Self {
            store,
            _folder: folder,
        }
    }

    async fn next(&self) -> Option<Timestamp> {
        self.store.next_event_due().await.unwrap()
    }

    async fn emptied(&self) {
        while self.next().await.is_some() {
            tokio::task::yield_now().await;
        }
    }
}

/// A request as the receiver saw it.
#[derive(Debug)]
struct Seen {
    path: String,
    headers: HashMap<String, String>,
    body: String,
}

/// What the receiver does with a request.
#[derive(Clone)]
enum Act {
    Answer(&'static str),
    Hang,
    HangUp,
}

/// A receiver that acts as `acts` say, one after another, and as the last of them from then on.
async fn receiver(acts: Vec<Act>) -> (String, mpsc::UnboundedReceiver<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (seen, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut acts = acts.into_iter().peekable();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut text = Vec::new();
            let request = loop {
                if let Some(request) = parse(&text) {
                    break request;
                }
                if stream.read_buf(&mut text).await.unwrap() == 0 {
                    return;
                }
            };
            let act = acts.next().unwrap();
            if acts.peek().is_none() {
                acts = vec![act.clone()].into_iter().peekable();
            }
            seen.send(request).unwrap();
            match act {
                Act::Answer(head) => {
                    let answer = format!("HTTP/1.1 {head}\r\nconnection: close\r\n\r\n");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
                Act::HangUp => drop(stream),
                Act::Hang => {
                    tokio::spawn(async move {
                        // Until the sender has had enough.
                        let _ = stream.read(&mut [0]).await;
                    });
                }
            }
        }
    });
    (url, requests)
}

fn parse(bytes: &[u8]) -> Option<Seen> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers.get("content-length")?.parse().ok()?;
    (body.len() == length).then(|| Seen {
        path,
        headers,
        body: body.to_owned(),
    })
}

fn start(outbox: &Outbox, url: &str, pace: Pace) -> CancellationToken {
    let secret = Secret::parse(SECRET).unwrap();
    let sender = Sender::new(outbox.store.clone(), url.parse().unwrap(), secret, pace).unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(sender.run(stop.clone()));
    stop
}

/// Verifies as a receiver does, from the specification and not from the crate's code.
fn is_signed(seen: &Seen) -> bool {
    let key = STANDARD.decode(SECRET.strip_prefix("whsec_").unwrap()).unwrap();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
    for part in [
        &seen.headers["webhook-id"],
        ".",
        &seen.headers["webhook-timestamp"],
        ".",
        &seen.body,
    ] {
        mac.update(part.as_bytes());
    }
    let signature = STANDARD.decode(seen.headers["webhook-signature"].strip_prefix("v1,").unwrap());
    mac.verify_slice(&signature.unwrap()).is_ok()
}

#[tokio::test]
async fn events_are_posted_signed_and_once() {
    let outbox = Outbox::with(20).await;
    let (url, mut requests) = receiver(vec![Act::Answer("204 No Content")]).await;
    let stop = start(&outbox, &url, PACE);
    outbox.emptied().await;
    stop.cancel();
    let mut ids = Vec::new();
    while let Ok(seen) = requests.try_recv() {
        assert!(is_signed(&seen), "{seen:?}");
        assert_eq!(
            (seen.path.as_str(), seen.headers["content-type"].as_str()),
            ("/hook", "application/json")
        );
        let sent: i64 = seen.headers["webhook-timestamp"].parse().unwrap();
        assert!((Timestamp::now().as_second() - sent).abs() < 60);
        assert!(seen.body.contains("žluť"));
        ids.push(seen.headers["webhook-id"].clone());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 20);
}

#[tokio::test]
async fn an_event_is_repeated_until_it_is_taken() {
    let outbox = Outbox::with(1).await;
    let pace = Pace {
        timeout: Duration::from_millis(200),
        ..PACE
    };
    let acts = vec![
        Act::Answer("500 Oops"),
        Act::HangUp,
        Act::Hang,
        Act::Answer("302 Found\r\nlocation: /elsewhere"),
        Act::Answer("429 Slow down"),
        Act::Answer("200 OK\r\ncontent-length: 1000000000000"),
    ];
    let count = acts.len();
    let (url, mut requests) = receiver(acts).await;
    let stop = start(&outbox, &url, pace);
    outbox.emptied().await;
    stop.cancel();
    let mut seen = Vec::new();
    while let Ok(request) = requests.try_recv() {
        assert!(is_signed(&request));
        seen.push((request.path, request.headers["webhook-id"].clone(), request.body));
    }
    // The redirect was not followed, the id and the body stayed the same.
    assert_eq!(seen.len(), count);
    assert!(
        seen.iter().all(|one| one.0 == "/hook" && one == &seen[0]),
        "{seen:?}"
    );
}

#[tokio::test]
async fn a_receiver_that_is_not_there_gets_the_event_when_it_is() {
    let outbox = Outbox::with(1).await;
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let stop = start(&outbox, &format!("http://127.0.0.1:{port}/hook"), PACE);
    // Taken, it is put off by a minute; an attempt that failed puts it off by less.
    let first = outbox.next().await;
    let soon = Timestamp::now() + SignedDuration::from_secs(30);
    while !outbox
        .next()
        .await
        .is_some_and(|at| Some(at) != first && at < soon)
    {
        tokio::task::yield_now().await;
    }
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_u8().await.unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await
            .unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    outbox.emptied().await;
    stop.cancel();
}

#[tokio::test]
async fn an_old_event_is_given_up() {
    let outbox = Outbox::with(1).await;
    let pace = Pace {
        give_up_after: Duration::ZERO,
        ..PACE
    };
    let (url, mut requests) = receiver(vec![Act::Answer("410 Gone")]).await;
    let stop = start(&outbox, &url, pace);
    outbox.emptied().await;
    stop.cancel();
    assert!(requests.try_recv().is_ok() && requests.try_recv().is_err());
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_receiver_that_hangs() {
    let outbox = Outbox::with(1).await;
    let (url, mut requests) = receiver(vec![Act::Hang]).await;
    let pace = Pace {
        timeout: Duration::from_secs(3600),
        ..PACE
    };
    let secret = Secret::parse(SECRET).unwrap();
    let sender = Sender::new(outbox.store.clone(), url.parse().unwrap(), secret, pace).unwrap();
    let stop = CancellationToken::new();
    let running = tokio::spawn(sender.run(stop.clone()));
    requests.recv().await.unwrap();
    stop.cancel();
    running.await.unwrap();
    assert!(outbox.next().await.is_some());
}
