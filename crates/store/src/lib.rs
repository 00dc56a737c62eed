//! The store: what must survive a restart of the server.
//!
//! In: rows to write, with the generation that the writer saw. Out: rows. SQLite or PostgreSQL through `sqlx`, with
//! migrations that run at start. `control` decides what the rows mean; nothing here knows how a session lives, except that a row moves
//! by compare-and-set on its generation ([`Store::advance_session`]).
//!
//! Never: a secret in clear. API keys and tickets are kept as digests.
//!
//! Start reading at [`Store`]; each further module holds one table.

mod database;
mod events;
mod keys;
mod labels;
mod list;
mod migrations;
mod sandboxes;
mod sessions;
mod tickets;

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use jiff::Timestamp;
use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AnyPool, Transaction};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};

use database::PATIENCE;

pub use database::Database;
pub use events::EventRow;
pub use keys::{Key, KeyLimits, KeyRow, NewKey};
pub use list::{ListCursor, SessionFilter, SessionPage, SessionSummary};
pub use sandboxes::{SandboxRow, SandboxState};
pub use sessions::{NewSession, SessionEnding, SessionRow, SessionState};
pub use tickets::{SharedTicket, TicketDigest, TicketRow};

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database could not be opened.
    #[error("could not open the database `{database}`")]
    Open {
        /// Which; without its password.
        database: String,
        /// The cause.
        source: sqlx::Error,
    },
    /// The lock file beside the database could not be taken.
    #[error("could not lock the database `{database}` to bring it up to date")]
    Lock {
        /// Which.
        database: String,
        /// The cause.
        source: std::io::Error,
    },
    /// A migration failed.
    #[error("could not bring the database `{database}` up to date")]
    Migrate {
        /// Which.
        database: String,
        /// The cause.
        source: sqlx::migrate::MigrateError,
    },
    /// The database is there but did not answer in time: somebody else holds it, or the way to it is broken.
    #[error("could not {what}: the database is busy or out of reach; try again")]
    Busy {
        /// What the statement was for.
        what: &'static str,
        /// The cause.
        source: sqlx::Error,
    },
    /// There is no room to write.
    #[error("could not {what}: the disk of the database is full; free some space and try again")]
    Full {
        /// What the statement was for.
        what: &'static str,
        /// The cause.
        source: sqlx::Error,
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

impl StoreError {
    /// Is it worth trying again: the database is busy, out of reach, or has no room?
    pub fn passes(&self) -> bool {
        matches!(self, StoreError::Busy { .. } | StoreError::Full { .. })
    }
}

/// The result of a store call.
pub type Result<T> = std::result::Result<T, StoreError>;

/// How a store is to work.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Note an event for webhooks whenever a session is made, paused, resumed or ended.
    pub events: bool,
}

/// A handle on the database; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pool: AnyPool,
    database: Database,
    options: Options,
    /// SQLite has one writer. Those of this process take turns here, where they are woken in order; in SQLite itself they
    /// would sleep and look again, each with a connection that readers need.
    writer: Arc<Semaphore>,
    tickets: mpsc::Sender<tickets::Waiting>,
}

impl Store {
    /// Opens (or makes) the database and brings it up to date.
    pub async fn open(database: &Database, options: Options) -> Result<Self> {
        let pool = database.open().await?;
        let writer = Arc::new(Semaphore::new(database.writers()));
        Ok(Self {
            tickets: tickets::start_writer(pool.clone(), Arc::clone(&writer)),
            pool,
            database: database.clone(),
            options,
            writer,
        })
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

    /// A turn to write; statements that write are run while it is held.
    async fn turn(&self) -> std::result::Result<SemaphorePermit<'_>, sqlx::Error> {
        take_turn(&self.writer).await
    }

    /// Runs one statement that writes; how many rows it changed.
    async fn write(&self, query: Query<'_, Any, AnyArguments>) -> std::result::Result<u64, sqlx::Error> {
        let _turn = self.turn().await?;
        Ok(query.execute(&self.pool).await?.rows_affected())
    }

    /// Begins a transaction that writes.
    async fn begin(&self) -> std::result::Result<Writing<'_>, sqlx::Error> {
        let turn = self.turn().await?;
        Ok(Writing {
            transaction: self.pool.begin_with(self.database.begin()).await?,
            _turn: turn,
        })
    }
}

async fn take_turn(writer: &Semaphore) -> std::result::Result<SemaphorePermit<'_>, sqlx::Error> {
    match tokio::time::timeout(PATIENCE, writer.acquire()).await {
        Ok(Ok(turn)) => Ok(turn),
        Ok(Err(_)) => Err(sqlx::Error::PoolClosed),
        Err(_) => Err(sqlx::Error::PoolTimedOut),
    }
}

/// A transaction that writes, with its turn.
struct Writing<'a> {
    // Before the turn: whoever comes next finds the database free.
    transaction: Transaction<'static, Any>,
    _turn: SemaphorePermit<'a>,
}

impl Writing<'_> {
    async fn commit(self) -> std::result::Result<(), sqlx::Error> {
        self.transaction.commit().await
    }
}

impl Deref for Writing<'_> {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        &self.transaction
    }
}

impl DerefMut for Writing<'_> {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.transaction
    }
}

/// Wraps a failed statement with what it was for.
fn failed(what: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |source| match trouble(&source) {
        Trouble::Busy => StoreError::Busy { what, source },
        Trouble::Full => StoreError::Full { what, source },
        Trouble::Other => StoreError::Query { what, source },
    }
}

/// What kind of failure it is, for the caller: does it pass, and what would help?
enum Trouble {
    Busy,
    Full,
    Other,
}

fn trouble(error: &sqlx::Error) -> Trouble {
    match error {
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_) | sqlx::Error::Tls(_) => {
            Trouble::Busy
        }
        sqlx::Error::Database(error) => match error.code().as_deref() {
            // PostgreSQL (five characters): connection lost, going down or coming up.
            Some(code) if code.len() == 5 && (code.starts_with("08") || code.starts_with("57P")) => {
                Trouble::Busy
            }
            // Too many connections, lock or statement timeout, deadlock, serialization.
            Some("53300" | "55P03" | "57014" | "40P01" | "40001") => Trouble::Busy,
            Some("53100") => Trouble::Full,
            // SQLite: the low byte of the extended code says busy, locked, full.
            Some(code) => match code.parse::<u32>().map(|code| code & 0xff) {
                Ok(5 | 6) => Trouble::Busy,
                Ok(13) => Trouble::Full,
                _ => Trouble::Other,
            },
            None => Trouble::Other,
        },
        _ => Trouble::Other,
    }
}

/// A stored time. Values outside what a timestamp can be were not written by us.
fn time(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A count or size as the database holds it.
fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A count or size as it was stored.
fn counted(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
