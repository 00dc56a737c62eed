//! What the store promises, on both engines: each test is written once and run on SQLite and on PostgreSQL.

#![allow(missing_docs, clippy::unwrap_used)]

mod engines;

use std::collections::BTreeMap;

use berth_store::{
    Database, KeyLimits, ListCursor, NewKey, NewSession, Options, SandboxState, SessionEnding, SessionFilter,
    SessionPage, SessionState, SharedTicket, Store, StoreError,
};
use engines::on_both_engines;
use jiff::{SignedDuration, Timestamp};

const NODE: &str = "n-1";

async fn open(database: &Database) -> Store {
    Store::open(database, Options { events: true }).await.unwrap()
}

async fn key(store: &Store, name: &str) -> String {
    let new = NewKey {
        name,
        ..NewKey::default()
    };
    let key = store.create_key(&new).await.unwrap();
    store.authenticate(key.as_str()).await.unwrap().unwrap().id
}

fn new_session<'a>(
    id: &'a str,
    key_id: &'a str,
    sandbox_id: &'a str,
    labels: &'a BTreeMap<String, String>,
    ticket: &'a str,
) -> NewSession<'a> {
    NewSession {
        id,
        key_id,
        node: NODE,
        image: "image",
        sandbox_id,
        policy: None,
        idle_timeout_ms: 300_000,
        memory_bytes: 2 << 30,
        labels,
        ticket: (ticket, Timestamp::now() + SignedDuration::from_secs(60)),
    }
}

async fn session(store: &Store, key_id: &str, id: &str, labels: &[(&str, &str)]) {
    let sandbox_id = format!("sandbox-of-{id}");
    store.insert_sandbox(&sandbox_id, NODE, "image").await.unwrap();
    let (from, to) = (SandboxState::Making, SandboxState::Ready);
    store.advance_sandbox(&sandbox_id, from, to).await.unwrap();
    let labels = labels
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    let ticket = format!("ticket-of-{id}");
    let new = new_session(id, key_id, &sandbox_id, &labels, &ticket);
    store.insert_session(&new).await.unwrap();
}

fn because(reason: &str) -> SessionEnding<'_> {
    SessionEnding {
        reason,
        ..SessionEnding::default()
    }
}

fn ids(page: &SessionPage) -> Vec<String> {
    page.sessions.iter().map(|session| session.id.clone()).collect()
}

on_both_engines! {
    a_key_is_known_by_its_text_alone,
    a_key_keeps_its_limits_and_its_end,
    keys_that_are_no_longer_valid_are_found_while_they_have_sessions,
    one_sandbox_serves_one_session,
    the_first_reason_to_end_is_kept_and_an_old_view_loses,
    a_pause_is_seen_and_ends,
    pages_hold_each_session_once_while_others_come_and_go,
    labels_are_replaced_as_a_whole,
    labels_survive_callers_that_set_them_together,
    a_ticket_is_found_by_its_secret_alone,
    tickets_written_together_fail_alone,
    a_shared_ticket_is_listed_until_it_is_revoked,
    all_tickets_of_a_session_are_revoked_together,
    what_belongs_to_another_server_is_left_alone,
    old_sessions_are_forgotten_with_all_they_had,
    each_change_of_a_session_is_an_event,
    an_event_has_one_taker_at_a_time,
    two_servers_may_open_it_together_and_again,
}

async fn a_key_is_known_by_its_text_alone(database: Database) {
    let store = open(&database).await;
    let new = NewKey {
        name: "ci",
        ..NewKey::default()
    };
    let key = store.create_key(&new).await.unwrap();
    assert_eq!(
        store.authenticate(key.as_str()).await.unwrap().unwrap().name,
        "ci"
    );
    let mut wrong = key.as_str().to_owned();
    wrong.pop();
    for text in [wrong.as_str(), "", "bk_", "bk__", "nonsense"] {
        assert_eq!(store.authenticate(text).await.unwrap(), None, "{text}");
    }
    assert!(matches!(
        store.create_key(&new).await,
        Err(StoreError::KeyNameTaken(_))
    ));
    assert_eq!(store.revoke_key("ci").await.unwrap().unwrap().name, "ci");
    // Known still, so that its holder can be told; but not valid.
    let revoked = store.authenticate(key.as_str()).await.unwrap().unwrap();
    assert!(!revoked.is_valid(Timestamp::now()));
    assert!(store.revoke_key("ci").await.unwrap().is_none());
    store.create_key(&new).await.unwrap();
    assert_eq!(store.keys().await.unwrap().len(), 2);
}

async fn a_key_keeps_its_limits_and_its_end(database: Database) {
    let store = open(&database).await;
    let now = Timestamp::from_millisecond(1_000_000).unwrap();
    let limits = KeyLimits {
        sessions: Some(0),
        memory_mib: Some(1 << 40),
        creations_per_minute: Some(u32::MAX),
    };
    let new = NewKey {
        name: "ci",
        expires: Some(now),
        limits,
    };
    let text = store.create_key(&new).await.unwrap();
    let key = store.authenticate(text.as_str()).await.unwrap().unwrap();
    assert_eq!((key.limits, key.expires), (limits, Some(now)));
    assert!(key.is_valid(now - SignedDuration::from_millis(1)) && !key.is_valid(now));
}

async fn keys_that_are_no_longer_valid_are_found_while_they_have_sessions(database: Database) {
    let store = open(&database).await;
    let (good, bad, idle) = (
        key(&store, "good").await,
        key(&store, "bad").await,
        key(&store, "idle").await,
    );
    session(&store, &good, "s-1", &[]).await;
    session(&store, &bad, "s-2", &[]).await;
    for name in ["bad", "idle"] {
        store.revoke_key(name).await.unwrap();
    }
    assert_eq!(store.invalid_keys(Timestamp::now()).await.unwrap(), [bad]);
    let _ = idle;
    let seen = store.session("s-2").await.unwrap().unwrap();
    store
        .advance_session(&seen, SessionState::Ending, Some(&because("key-revoked")))
        .await
        .unwrap();
    assert!(store.invalid_keys(Timestamp::now()).await.unwrap().is_empty());
}

async fn one_sandbox_serves_one_session(database: Database) {
    let store = open(&database).await;
    let key = key(&store, "a").await;
    session(&store, &key, "s-1", &[]).await;
    let labels = BTreeMap::new();
    let again = store
        .insert_session(&new_session("s-2", &key, "sandbox-of-s-1", &labels, "t"))
        .await;
    assert!(matches!(again, Err(StoreError::Moved { .. })));
    assert!(store.session("s-2").await.unwrap().is_none());
}

async fn the_first_reason_to_end_is_kept_and_an_old_view_loses(database: Database) {
    let store = open(&database).await;
    let key = key(&store, "a").await;
    session(&store, &key, "s-1", &[]).await;
    let seen = store.session("s-1").await.unwrap().unwrap();
    let first = SessionEnding {
        reason: "released",
        detail: Some("key `a`"),
        memory_peak_bytes: Some(7),
        log_tail: Some("one\ntwo"),
    };
    let ending = store
        .advance_session(&seen, SessionState::Ending, Some(&first))
        .await
        .unwrap();
    let late = store
        .advance_session(&seen, SessionState::Ending, Some(&because("idle")))
        .await;
    assert!(matches!(late, Err(StoreError::Moved { .. })));
    let ended = store
        .advance_session(&ending, SessionState::Ended, Some(&because("crashed")))
        .await
        .unwrap();
    assert_eq!(ended.end_reason.as_deref(), Some("released"));
    assert_eq!(ended.end_detail.as_deref(), Some("key `a`"));
    assert_eq!(
        (ended.memory_peak_bytes, ended.log_tail.as_deref()),
        (Some(7), Some("one\ntwo"))
    );
    assert!(ended.ended.is_some());
    assert!(store.unfinished_sessions(NODE).await.unwrap().is_empty());
}

async fn a_pause_is_seen_and_ends(database: Database) {
    let store = open(&database).await;
    let key = key(&store, "a").await;
    session(&store, &key, "s-1", &[]).await;
    let seen = store.session("s-1").await.unwrap().unwrap();
    let paused = store
        .advance_session(&seen, SessionState::Paused, None)
        .await
        .unwrap();
    assert_eq!(paused.state, SessionState::Paused);
    assert_eq!(
        store.unfinished_sessions(NODE).await.unwrap(),
        std::slice::from_ref(&paused)
    );
    let labels = BTreeMap::new();
    let filter = SessionFilter {
        key_id: &key,
        labels: &labels,
        after: None,
        limit: 10,
    };
    let listed = store.list_sessions(&filter).await.unwrap();
    assert_eq!(listed.sessions.first().unwrap().state, SessionState::Paused);
    let running = store
        .advance_session(&paused, SessionState::Running, None)
        .await
        .unwrap();
    assert_eq!(running.state, SessionState::Running);
    assert_eq!(
        (running.end_reason, running.generation),
        (None, seen.generation + 2)
    );
}

async fn pages_hold_each_session_once_while_others_come_and_go(database: Database) {
    let store = open(&database).await;
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
    assert_eq!((first.sessions.len(), first.total), (2, 5));
    session(&store, &mine, "s-new", &[("project", "demo")]).await;
    let second = page(first.next.clone()).await;
    let third = page(second.next.clone()).await;
    assert!(third.next.is_none());
    let mut all: Vec<_> = [ids(&first), ids(&second), ids(&third)].concat();
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
    let page = store.list_sessions(&filter).await.unwrap();
    assert_eq!(ids(&page), ["s-3"]);
    assert_eq!(page.sessions.first().unwrap().labels, both);
}

async fn labels_are_replaced_as_a_whole(database: Database) {
    let store = open(&database).await;
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

async fn a_ticket_is_found_by_its_secret_alone(database: Database) {
    let store = open(&database).await;
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

async fn tickets_written_together_fail_alone(database: Database) {
    let store = open(&database).await;
    let key = key(&store, "a").await;
    session(&store, &key, "s-1", &[]).await;
    let expires = Timestamp::now() + SignedDuration::from_secs(60);
    let issuers = (0..100).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            let id = if n == 50 { "s-unknown" } else { "s-1" };
            (n, store.insert_ticket(id, &format!("ticket-{n}"), expires).await)
        })
    });
    for issuer in issuers.collect::<Vec<_>>() {
        let (n, issued) = issuer.await.unwrap();
        assert_eq!(issued.is_ok(), n != 50, "{n}: {issued:?}");
        let found = store.ticket(&format!("ticket-{n}")).await.unwrap();
        assert_eq!(found.is_some(), n != 50, "{n}");
    }
}

async fn share(store: &Store, id: &str, name: Option<&str>, seconds: i64) -> bool {
    let new = SharedTicket {
        session_id: "s-1",
        id,
        secret: &format!("secret-of-{id}"),
        rights: "view",
        name,
        expires: Timestamp::now() + SignedDuration::from_secs(seconds),
    };
    store.insert_shared_ticket(&new, 2).await.unwrap()
}

async fn shared(store: &Store) -> Vec<String> {
    let rows = store.shared_tickets("s-1", Timestamp::now()).await.unwrap();
    rows.into_iter().filter_map(|row| row.id).collect()
}

async fn a_shared_ticket_is_listed_until_it_is_revoked(database: Database) {
    let store = open(&database).await;
    let key = key(&store, "a").await;
    session(&store, &key, "s-1", &[]).await;
    session(&store, &key, "s-2", &[]).await;
    assert!(share(&store, "t-late", Some("Ann"), 60).await);
    assert!(share(&store, "t-soon", None, 30).await);
    assert!(!share(&store, "t-many", None, 60).await);
    assert_eq!(shared(&store).await, ["t-soon", "t-late"]);
    let row = store.ticket("secret-of-t-late").await.unwrap().unwrap();
    assert_eq!(
        row.rights.as_deref().zip(row.name.as_deref()),
        Some(("view", "Ann"))
    );
    let whole = store.ticket("ticket-of-s-1").await.unwrap().unwrap();
    assert!(whole.id.is_none() && whole.rights.is_none());

    let digests = [row.digest.clone(), whole.digest];
    assert!(store.revoked_tickets(&digests).await.unwrap().is_empty());
    let now = Timestamp::now();
    for (session, id) in [("s-2", "t-late"), ("s-1", "t-none")] {
        assert_eq!(store.revoke_tickets(session, Some(id), now).await.unwrap(), 0);
    }
    // Succeeds again, and the first time stays.
    for at in [now, now + SignedDuration::from_secs(5)] {
        assert_eq!(store.revoke_tickets("s-1", Some("t-late"), at).await.unwrap(), 1);
        let row = store.ticket("secret-of-t-late").await.unwrap().unwrap();
        let now = Timestamp::from_millisecond(now.as_millisecond()).unwrap();
        // It has expired too: a server that knows nothing of revocation refuses it.
        assert_eq!((row.revoked, row.expires), (Some(now), now));
    }
    assert_eq!(store.revoked_tickets(&digests).await.unwrap(), digests[..1]);
    assert_eq!(shared(&store).await, ["t-soon"]);
    // Its place is free again.
    assert!(share(&store, "t-next", None, 60).await);
}

async fn all_tickets_of_a_session_are_revoked_together(database: Database) {
    let store = open(&database).await;
    let key = key(&store, "a").await;
    session(&store, &key, "s-1", &[]).await;
    session(&store, &key, "s-2", &[]).await;
    assert!(share(&store, "t-1", None, 60).await);
    // More than are looked up in one statement.
    let mut digests = Vec::new();
    for n in 0..600 {
        let secret = format!("more-{n}");
        let expires = Timestamp::now() + SignedDuration::from_secs(60);
        store.insert_ticket("s-1", &secret, expires).await.unwrap();
        digests.push(store.ticket(&secret).await.unwrap().unwrap().digest);
    }
    let other = store.ticket("ticket-of-s-2").await.unwrap().unwrap();
    digests.push(other.digest);
    assert_eq!(
        store.revoke_tickets("s-1", None, Timestamp::now()).await.unwrap(),
        602
    );
    let mut revoked = store.revoked_tickets(&digests).await.unwrap();
    assert_eq!(revoked.len(), 600);
    revoked.retain(|digest| !digests[..600].contains(digest));
    assert!(revoked.is_empty() && shared(&store).await.is_empty());
    assert!(
        store
            .ticket("ticket-of-s-2")
            .await
            .unwrap()
            .unwrap()
            .revoked
            .is_none()
    );
}

async fn labels_survive_callers_that_set_them_together(database: Database) {
    let store = open(&database).await;
    let key = key(&store, "a").await;
    session(&store, &key, "s-1", &[("a", "0")]).await;
    let setters = (1..=8).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            let labels = BTreeMap::from([("a".to_owned(), n.to_string()), ("b".to_owned(), n.to_string())]);
            store.set_labels("s-1", &labels).await
        })
    });
    for setter in setters.collect::<Vec<_>>() {
        setter.await.unwrap().unwrap();
    }
    let labels = store.labels("s-1").await.unwrap();
    assert_eq!(labels.get("a"), labels.get("b"));
}

async fn what_belongs_to_another_server_is_left_alone(database: Database) {
    let store = open(&database).await;
    let key = key(&store, "a").await;
    session(&store, &key, "s-1", &[]).await;
    assert!(store.unfinished_sessions("n-2").await.unwrap().is_empty());
    assert!(store.sandboxes("n-2").await.unwrap().is_empty());
    assert_eq!(store.sandboxes(NODE).await.unwrap().len(), 1);
    assert_eq!(store.session("s-1").await.unwrap().unwrap().node, NODE);
}

async fn old_sessions_are_forgotten_with_all_they_had(database: Database) {
    let store = open(&database).await;
    let key = key(&store, "a").await;
    session(&store, &key, "s-1", &[("a", "b")]).await;
    session(&store, &key, "s-2", &[]).await;
    let seen = store.session("s-1").await.unwrap().unwrap();
    store
        .advance_session(&seen, SessionState::Ended, Some(&because("crashed")))
        .await
        .unwrap();
    let later = Timestamp::now() + SignedDuration::from_secs(1);
    assert_eq!(store.forget_sessions(later).await.unwrap(), 1);
    assert!(store.session("s-1").await.unwrap().is_none());
    assert!(store.labels("s-1").await.unwrap().is_empty());
    assert!(store.ticket("ticket-of-s-1").await.unwrap().is_none());
    assert!(store.session("s-2").await.unwrap().is_some());
}

async fn each_change_of_a_session_is_an_event(database: Database) {
    let store = open(&database).await;
    let key = key(&store, "a").await;
    session(&store, &key, "s-1", &[]).await;
    let mut row = store.session("s-1").await.unwrap().unwrap();
    for next in [
        SessionState::Paused,
        SessionState::Running,
        SessionState::Ending,
        SessionState::Ended,
    ] {
        let end = because("idle");
        let end = matches!(next, SessionState::Ending | SessionState::Ended).then_some(&end);
        row = store.advance_session(&row, next, end).await.unwrap();
    }
    let later = Timestamp::now() + SignedDuration::from_secs(1);
    let events = store.due_events(later, 10).await.unwrap();
    let mut kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    kinds.sort_unstable();
    assert_eq!(
        kinds,
        [
            "session.created",
            "session.ended",
            "session.paused",
            "session.resumed"
        ]
    );
    let ended = events.iter().find(|event| event.kind == "session.ended").unwrap();
    let body: serde_json::Value = serde_json::from_str(&ended.body).unwrap();
    assert_eq!(
        body["data"],
        serde_json::json!({"sessionId": "s-1", "keyId": key, "image": "image", "reason": "idle"})
    );
    assert_eq!(
        (body["id"].as_str(), body["type"].as_str()),
        (Some(ended.id.as_str()), Some("session.ended"))
    );

    // A store that was not asked for events notes none.
    let silent = Store::open(&database, Options::default()).await.unwrap();
    session(&silent, &key, "s-2", &[]).await;
    assert!(silent.due_events(later, 10).await.unwrap().is_empty());
}

async fn an_event_has_one_taker_at_a_time(database: Database) {
    let store = open(&database).await;
    let key = key(&store, "a").await;
    for n in 0..20 {
        session(&store, &key, &format!("s-{n}"), &[]).await;
    }
    let now = Timestamp::now() + SignedDuration::from_secs(1);
    let takers = (0..8).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.due_events(now, 5).await.unwrap() })
    });
    let mut taken = Vec::new();
    for taker in takers.collect::<Vec<_>>() {
        taken.extend(
            taker
                .await
                .unwrap()
                .into_iter()
                .map(|event| (event.id, event.attempts)),
        );
    }
    taken.extend(
        store
            .due_events(now, 50)
            .await
            .unwrap()
            .into_iter()
            .map(|event| (event.id, event.attempts)),
    );
    taken.sort();
    taken.dedup();
    assert_eq!(taken.len(), 20);
    assert!(taken.iter().all(|(_, attempts)| *attempts == 1));

    // Delivered, put off, or left to its lease.
    let [(first, _), (second, _), ..] = taken.as_slice() else {
        unreachable!()
    };
    store.event_delivered(first).await.unwrap();
    let soon = now + SignedDuration::from_secs(10);
    store.event_failed(second, soon).await.unwrap();
    assert_eq!(
        store.next_event_due().await.unwrap().unwrap().as_millisecond(),
        soon.as_millisecond()
    );
    let again = store.due_events(soon, 50).await.unwrap();
    assert_eq!(
        again
            .iter()
            .map(|event| (&event.id, event.attempts))
            .collect::<Vec<_>>(),
        [(second, 2)]
    );
    let after_lease = now + SignedDuration::from_secs(3600);
    assert_eq!(store.due_events(after_lease, 50).await.unwrap().len(), 19);
    assert_eq!(store.forget_events(after_lease).await.unwrap(), 19);
}

async fn two_servers_may_open_it_together_and_again(database: Database) {
    let (one, two) = tokio::join!(
        Store::open(&database, Options::default()),
        Store::open(&database, Options::default())
    );
    let one = one.unwrap();
    two.unwrap();
    key(&one, "a").await;
    one.close().await;
    assert_eq!(open(&database).await.keys().await.unwrap().len(), 1);
}
