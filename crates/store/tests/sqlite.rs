//! What only SQLite's file is asked: secrets, the release before, a newer release, and a file that somebody holds.

#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use berth_store::{Database, NewKey, Options, SessionState, Store, StoreError};
use sqlx::{Connection, Executor, Row, SqliteConnection};

struct File {
    folder: tempfile::TempDir,
    database: Database,
}

impl File {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::Sqlite(folder.path().join("berth.db"));
        Self { folder, database }
    }

    async fn open(&self) -> Store {
        Store::open(&self.database, Options::default()).await.unwrap()
    }

    /// A connection of somebody else.
    async fn raw(&self) -> SqliteConnection {
        let url = format!(
            "sqlite://{}?mode=rwc",
            self.folder.path().join("berth.db").display()
        );
        SqliteConnection::connect(&url).await.unwrap()
    }
}

#[tokio::test]
async fn a_secret_is_nowhere_in_the_file() {
    let file = File::new();
    let store = file.open().await;
    let new = NewKey {
        name: "ci",
        ..NewKey::default()
    };
    let key = store.create_key(&new).await.unwrap();
    let secret = key.as_str().rsplit_once('_').unwrap().1.to_owned();
    store.close().await;
    for entry in fs_err::read_dir(file.folder.path()).unwrap() {
        let bytes = fs_err::read(entry.unwrap().path()).unwrap();
        assert!(
            !bytes
                .windows(secret.len())
                .any(|window| window == secret.as_bytes())
        );
    }
}

#[tokio::test]
async fn a_file_of_the_release_before_is_taken_over_with_its_sessions() {
    let file = File::new();
    let mut raw = file.raw().await;
    raw.execute(include_str!("../migrations/sqlite/0001_sessions.sql"))
        .await
        .unwrap();
    let migrations = sqlx::migrate::Migrator::new(Path::new("migrations/sqlite"))
        .await
        .unwrap();
    let first = migrations.iter().next().unwrap();
    raw.execute(
        "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, installed_on TIMESTAMP \
         NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, checksum BLOB NOT NULL, execution_time BIGINT \
         NOT NULL)",
    )
    .await
    .unwrap();
    sqlx::query("INSERT INTO _sqlx_migrations VALUES (?, ?, CURRENT_TIMESTAMP, TRUE, ?, 1)")
        .bind(first.version)
        .bind(first.description.as_ref())
        .bind(first.checksum.as_ref())
        .execute(&mut raw)
        .await
        .unwrap();
    write_as_the_release_before_does(&mut raw, "s-old").await;

    let store = file.open().await;
    let row = store.session("s-old").await.unwrap().unwrap();
    assert_eq!(
        (row.state, row.node.as_str(), row.memory_bytes),
        (SessionState::Running, "", 0)
    );
    // Rows without a server belong to whoever opens the file.
    assert_eq!(store.unfinished_sessions("n-1").await.unwrap(), [row]);

    // And it goes on beside this one: its statements still work.
    write_as_the_release_before_does(&mut raw, "s-beside").await;
    assert!(store.session("s-beside").await.unwrap().is_some());
}

/// The statements of the release before, as it has them.
async fn write_as_the_release_before_does(raw: &mut SqliteConnection, id: &str) {
    let sandbox = format!("sandbox-of-{id}");
    let statements = [
        "INSERT OR IGNORE INTO keys (id, name, secret_hash, created_ms) VALUES ('k', 'k', x'00', 1)".to_owned(),
        format!("INSERT INTO sandboxes (id, image, state, created_ms) VALUES ('{sandbox}', 'i', 'making', 1)"),
        format!("UPDATE sandboxes SET state = 'ready' WHERE id = '{sandbox}' AND state = 'making'"),
        format!("UPDATE sandboxes SET state = 'claimed' WHERE id = '{sandbox}' AND state = 'ready'"),
        format!(
            "INSERT INTO sessions (id, key_id, image, sandbox_id, policy, idle_timeout_ms, state, created_ms)
             VALUES ('{id}', 'k', 'i', '{sandbox}', NULL, 1, 'running', 1)"
        ),
        format!("INSERT INTO labels (session_id, key, value) VALUES ('{id}', 'a', 'b')"),
        format!("INSERT INTO tickets (hash, session_id, expires_ms) VALUES (randomblob(32), '{id}', 1)"),
        format!(
            "UPDATE sessions SET state = 'running', end_reason = COALESCE(end_reason, NULL), ended_ms = NULL,
                                 generation = generation + 1
             WHERE id = '{id}' AND generation = 0
             RETURNING id, key_id, image, sandbox_id, state, end_reason, generation, idle_timeout_ms, created_ms,
                       ended_ms"
        ),
    ];
    for statement in statements {
        raw.execute(sqlx::AssertSqlSafe(statement)).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_newer_release_added_does_not_bother_this_one() {
    let file = File::new();
    file.open().await.close().await;
    let mut raw = file.raw().await;
    raw.execute("ALTER TABLE sessions ADD COLUMN of_tomorrow TEXT")
        .await
        .unwrap();
    raw.execute("INSERT INTO _sqlx_migrations VALUES (9999, 'tomorrow', CURRENT_TIMESTAMP, TRUE, x'00', 1)")
        .await
        .unwrap();
    file.open().await.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_somebody_holds_is_waited_for_and_then_said_to_be_busy() {
    let file = File::new();
    let store = file.open().await;
    let new = |name| NewKey {
        name,
        ..NewKey::default()
    };
    let mut raw = file.raw().await;

    raw.execute("BEGIN IMMEDIATE").await.unwrap();
    let waiting = {
        let store = store.clone();
        tokio::spawn(async move { store.create_key(&new("waits")).await })
    };
    // Long enough that the key cannot have been made before; the store's patience is 5 s.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!waiting.is_finished());
    raw.execute("COMMIT").await.unwrap();
    waiting.await.unwrap().unwrap();

    raw.execute("BEGIN IMMEDIATE").await.unwrap();
    let refused = store.create_key(&new("refused")).await.unwrap_err();
    assert!(matches!(refused, StoreError::Busy { .. }), "{refused:?}");
    assert!(refused.to_string().contains("busy or out of reach; try again"));
    // Readers are not held up.
    assert_eq!(store.keys().await.unwrap().len(), 1);
    raw.execute("COMMIT").await.unwrap();
    store.create_key(&new("later")).await.unwrap();
    let count = sqlx::query("SELECT COUNT(*) FROM keys")
        .fetch_one(&mut raw)
        .await
        .unwrap();
    assert_eq!(count.get::<i64, _>(0), 2);
}
