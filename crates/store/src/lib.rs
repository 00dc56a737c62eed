//! The store: what must survive a restart of the server.
//!
//! In: rows to write, with the generation that the writer saw. Out: rows. SQLite through `sqlx`, with migrations that
//! run at start. `control` decides what the rows mean; nothing here knows how a session lives, except that a row moves
//! by compare-and-set on its generation ([`Store::advance_session`]).
//!
//! Never: a secret in clear. API keys and tickets are kept as digests.
//!
//! Start reading at [`Store`]; each further module holds one table.

mod keys;
mod sandboxes;
mod sessions;
mod tickets;

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

pub use keys::{Key, KeyRow};
pub use sandboxes::{SandboxRow, SandboxState};
pub use sessions::{ListCursor, NewSession, SessionFilter, SessionPage, SessionRow, SessionState};
pub use tickets::TicketRow;

/// How long a writer waits for another process that holds the database (the `berth key` commands, say).
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections at most. SQLite has one writer; the rest read.
const CONNECTIONS_MAX: u32 = 4;

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database file could not be opened.
    #[error("could not open the database `{path}`")]
    Open {
        /// The file.
        path: String,
        /// The cause.
        source: sqlx::Error,
    },
    /// The lock file beside the database could not be taken.
    #[error("could not lock the database `{path}` to bring it up to date")]
    Lock {
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// A migration failed.
    #[error("could not bring the database `{path}` up to date")]
    Migrate {
        /// The file.
        path: String,
        /// The cause.
        source: sqlx::migrate::MigrateError,
    },
    /// A statement failed.
    #[error("could not {what}")]
    Query {
        /// What the statement was for.
        what: &'static str,
        /// The cause.
        source: sqlx::Error,
    },
    /// Another task or server moved the row first; look again.
    #[error("{what} `{id}` has moved on")]
    Moved {
        /// The kind of row.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// A key of this name exists.
    #[error("a key named `{0}` exists; choose another name, or revoke it first")]
    KeyNameTaken(String),
    /// A row holds a word that this version does not know.
    #[error("{what} `{id}` holds the unknown word `{word}`; was it written by a newer version?")]
    UnknownWord {
        /// The kind of row.
        what: &'static str,
        /// Its id.
        id: String,
        /// The word.
        word: String,
    },
}

/// The result of a store call.
pub type Result<T> = std::result::Result<T, StoreError>;

/// A handle on the database; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pool: sqlx::SqlitePool,
}

impl Store {
    /// Opens (or makes) the database file and brings it up to date.
    pub async fn open(path: &Path) -> Result<Self> {
        let shown = path.display().to_string();
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // In WAL mode a killed process loses nothing with this; a machine that loses power may lose the last
            // moments, but with it went every session that they told of.
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true);
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .connect_with(options)
            .await
            .map_err(|source| StoreError::Open {
                path: shown.clone(),
                source,
            })?;
        // SQLite has no lock that spans a migration: two processes that start together take turns here.
        let lock = migration_lock(path).await.map_err(|source| StoreError::Lock {
            path: shown.clone(),
            source,
        })?;
        sqlx::migrate!("./migrations")
            .run(&pool)
            .await
            .map_err(|source| StoreError::Migrate { path: shown, source })?;
        drop(lock);
        Ok(Self { pool })
    }

    /// Closes all connections, after what they are doing.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Answers when the database does.
    pub async fn ping(&self) -> Result<()> {
        sqlx::query("SELECT 1")
            .execute(&self.pool)
            .await
            .map_err(failed("reach the database"))?;
        Ok(())
    }
}

/// Wraps a failed statement with what it was for.
fn failed(what: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |source| StoreError::Query { what, source }
}

/// Waits for the lock that migrations hold; it is released when the file is dropped.
async fn migration_lock(database: &Path) -> std::io::Result<fs_err::File> {
    let path = database.with_extension("lock");
    let task = tokio::task::spawn_blocking(move || {
        let file = fs_err::File::create(path)?;
        file.file().lock()?;
        Ok(file)
    });
    task.await.map_err(std::io::Error::other)?
}
