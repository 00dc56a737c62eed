//! What the store promises, on a real database file.

#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;

use berth_store::{ListCursor, NewSession, SandboxState, SessionFilter, SessionState, Store, StoreError};
use jiff::{SignedDuration, Timestamp};

async fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("berth.db")).await.unwrap();
    (folder, store)
}

async fn key(store: &Store, name: &str) -> String {
    let key = store.create_key(name).await.unwrap();
    store.authenticate(key.as_str()).await.unwrap().unwrap()
}

async fn session(store: &Store, key_id: &str, id: &str, labels: &[(&str, &str)]) {
    let sandbox_id = format!("sandbox-of-{id}");
    store.insert_sandbox(&sandbox_id, "image").await.unwrap();
    store
        .advance_sandbox(&sandbox_id, SandboxState::Making, SandboxState::Ready)
        .await
        .unwrap();
    let labels: BTreeMap<_, _> = labels
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    store
        .insert_session(&NewSession {
            id,
            key_id,
            image: "image",
            sandbox_id: &sandbox_id,
            policy: None,
            idle_timeout_ms: 300_000,
            labels: &labels,
            ticket: (
                &format!("ticket-of-{id}"),
                Timestamp::now() + SignedDuration::from_secs(60),
            ),
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_key_is_known_by_its_text_alone_until_it_is_revoked() {
    let (_folder, store) = store().await;
    let key = store.create_key("ci").await.unwrap();
    assert!(store.authenticate(key.as_str()).await.unwrap().is_some());
    let mut wrong = key.as_str().to_owned();
    wrong.pop();
    for text in [wrong.as_str(), "", "bk_", "bk__", "nonsense"] {
        assert_eq!(store.authenticate(text).await.unwrap(), None, "{text}");
    }
    assert!(matches!(
        store.create_key("ci").await,
        Err(StoreError::KeyNameTaken(_))
    ));
    assert!(store.revoke_key("ci").await.unwrap());
    assert_eq!(store.authenticate(key.as_str()).await.unwrap(), None);
    assert!(!store.revoke_key("ci").await.unwrap());
    store.create_key("ci").await.unwrap();
}

#[tokio::test]
async fn a_secret_is_nowhere_in_the_file() {
    let (folder, store) = store().await;
    let key = store.create_key("ci").await.unwrap();
    let secret = key.as_str().rsplit_once('_').unwrap().1.to_owned();
    store.close().await;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = fs_err::read(entry.unwrap().path()).unwrap();
        assert!(
            !bytes
                .windows(secret.len())
                .any(|window| window == secret.as_bytes())
        );
    }
}

#[tokio::test]
async fn one_sandbox_serves_one_session() {
    let (_folder, store) = store().await;
    let key = key(&store, "a").await;
    session(&store, &key, "s-1", &[]).await;
    let again = store
        .insert_session(&NewSession {
            id: "s-2",
            key_id: &key,
            image: "image",
            sandbox_id: "sandbox-of-s-1",
            policy: None,
            idle_timeout_ms: 1,
            labels: &BTreeMap::new(),
            ticket: ("t", Timestamp::now()),
        })
        .await;
    assert!(matches!(again, Err(StoreError::Moved { .. })));
    assert!(store.session("s-2").await.unwrap().is_none());
}

#[tokio::test]
async fn the_first_reason_to_end_is_kept_and_an_old_view_loses() {
    let (_folder, store) = store().await;
    let key = key(&store, "a").await;
    session(&store, &key, "s-1", &[]).await;
    let seen = store.session("s-1").await.unwrap().unwrap();
    let ending = store
        .advance_session(&seen, SessionState::Ending, Some("released"))
        .await
        .unwrap();
    assert!(matches!(
        store
            .advance_session(&seen, SessionState::Ending, Some("idle"))
            .await,
        Err(StoreError::Moved { .. })
    ));
    let ended = store
        .advance_session(&ending, SessionState::Ended, Some("crashed"))
        .await
        .unwrap();
    assert_eq!(ended.end_reason.as_deref(), Some("released"));
    assert!(ended.ended.is_some());
    assert!(store.unfinished_sessions().await.unwrap().is_empty());
}

#[tokio::test]
async fn pages_hold_each_session_once_while_others_come_and_go() {
    let (_folder, store) = store().await;
    let (mine, other) = (key(&store, "mine").await, key(&store, "other").await);
    for n in 0..5 {
        session(
            &store,
            &mine,
            &format!("s-{n}"),
            &[("project", "demo"), ("n", &n.to_string())],
        )
        .await;
    }
    session(&store, &other, "s-foreign", &[("project", "demo")]).await;
    let labels = BTreeMap::from([("project".to_owned(), "demo".to_owned())]);
    let page = |after: Option<ListCursor>| {
        let (store, labels, mine) = (store.clone(), labels.clone(), mine.clone());
        async move {
            let filter = SessionFilter {
                key_id: &mine,
                labels: &labels,
                after,
                limit: 2,
            };
            store.list_sessions(&filter).await.unwrap()
        }
    };
    let first = page(None).await;
    assert_eq!((first.ids.len(), first.total), (2, 5));
    session(&store, &mine, "s-new", &[("project", "demo")]).await;
    let second = page(first.next.clone()).await;
    let third = page(second.next.clone()).await;
    assert!(third.next.is_none());
    let mut all: Vec<_> = [first.ids, second.ids, third.ids].concat();
    all.sort();
    assert_eq!(all, ["s-0", "s-1", "s-2", "s-3", "s-4"]);

    let both = BTreeMap::from([
        ("project".to_owned(), "demo".to_owned()),
        ("n".to_owned(), "3".to_owned()),
    ]);
    let filter = SessionFilter {
        key_id: &mine,
        labels: &both,
        after: None,
        limit: 10,
    };
    assert_eq!(store.list_sessions(&filter).await.unwrap().ids, ["s-3"]);
}

#[tokio::test]
async fn labels_are_replaced_as_a_whole() {
    let (_folder, store) = store().await;
    let key = key(&store, "a").await;
    session(&store, &key, "s-1", &[("a", "1"), ("b", "2")]).await;
    store
        .set_labels("s-1", &BTreeMap::from([("c".to_owned(), "3".to_owned())]))
        .await
        .unwrap();
    assert_eq!(
        store.labels("s-1").await.unwrap().into_iter().collect::<Vec<_>>(),
        [("c".into(), "3".into())]
    );
}

#[tokio::test]
async fn a_ticket_is_found_by_its_secret_alone() {
    let (_folder, store) = store().await;
    let key = key(&store, "a").await;
    session(&store, &key, "s-1", &[]).await;
    assert_eq!(
        store.ticket("ticket-of-s-1").await.unwrap().unwrap().session_id,
        "s-1"
    );
    assert!(store.ticket("ticket-of-s-2").await.unwrap().is_none());
    store
        .forget_tickets(Timestamp::now() + SignedDuration::from_secs(3600))
        .await
        .unwrap();
    assert!(store.ticket("ticket-of-s-1").await.unwrap().is_none());
}

#[tokio::test]
async fn two_servers_may_open_it_together_and_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("berth.db");
    let (one, two) = tokio::join!(Store::open(&path), Store::open(&path));
    let one = one.unwrap();
    two.unwrap();
    one.create_key("a").await.unwrap();
    one.close().await;
    assert_eq!(Store::open(&path).await.unwrap().keys().await.unwrap().len(), 1);
}
