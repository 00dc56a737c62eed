//! Which database, and how it is opened.
//!
//! Both engines are spoken to through `sqlx::Any`, so every statement is written once, with `$1` for its parameters and
//! with what both understand. What differs (how a writing transaction begins, pragmas, the lock that migrations hold)
//! is here.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Once;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyPool, Connection as _, Executor};

use crate::migrations::{POSTGRES, SQLITE, migrator};
use crate::{Result, StoreError};

/// How long a statement waits for another writer or for a free connection before it gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Connections at most. SQLite has one writer; the rest read.
const SQLITE_CONNECTIONS_MAX: u32 = 4;

/// Connections at most to a PostgreSQL server, which has about a hundred for everyone.
const POSTGRES_CONNECTIONS_MAX: u32 = 16;

/// Where the store is.
#[derive(Clone, PartialEq, Eq)]
pub enum Database {
    /// A file on this machine, made if it is not there.
    Sqlite(PathBuf),
    /// The URL of a PostgreSQL database. Holds a password, so it is never shown.
    Postgres(String),
}

impl Database {
    /// Reads a setting: a `postgres://` URL, or nothing for a file in the data folder.
    pub fn from_setting(text: &str, data: &Path) -> Option<Self> {
        if text.is_empty() {
            return Some(Database::Sqlite(data.join("berth.db")));
        }
        let url = text.starts_with("postgres://") || text.starts_with("postgresql://");
        (url && AnyConnectOptions::from_str(text).is_ok()).then(|| Database::Postgres(text.to_owned()))
    }

    fn options(&self) -> Result<AnyConnectOptions> {
        let url = match self {
            Database::Postgres(url) => url.clone(),
            Database::Sqlite(path) => format!("sqlite://{}?mode=rwc", percent_encoded(path)),
        };
        AnyConnectOptions::from_str(&url).map_err(|source| StoreError::Open {
            database: self.to_string(),
            source,
        })
    }

    /// Opens the database and brings it up to date.
    pub(crate) async fn open(&self) -> Result<AnyPool> {
        static DRIVERS: Once = Once::new();
        DRIVERS.call_once(sqlx::any::install_default_drivers);

        let shown = self.to_string();
        let sqlite = matches!(self, Database::Sqlite(_));
        let connections = if sqlite {
            SQLITE_CONNECTIONS_MAX
        } else {
            POSTGRES_CONNECTIONS_MAX
        };
        let pool = AnyPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(PATIENCE)
            // A file does not go away; a server does, and its restart is not to be seen.
            .test_before_acquire(!sqlite)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if !sqlite {
                        connection
                            .execute("SET lock_timeout = '5s'; SET statement_timeout = '15s'")
                            .await?;
                    } else {
                        // In WAL mode a killed process loses nothing with NORMAL; a machine that loses power may lose
                        // the last moments, but with it went every session that they told of.
                        connection
                            .execute(
                                "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; \
                                 PRAGMA foreign_keys = ON",
                            )
                            .await?;
                    }
                    Ok(())
                })
            })
            .after_release(|connection, _| {
                Box::pin(async move {
                    // Behind a rollback that is still on its way. SQLite has rolled back by itself where it had no room,
                    // so sqlx's own rollback fails and leaves a connection that never begins a transaction again.
                    connection.ping().await?;
                    Ok(!connection.is_in_transaction())
                })
            })
            .connect_with(self.options()?)
            .await
            .map_err(|source| StoreError::Open {
                database: shown.clone(),
                source,
            })?;
        self.migrate(&pool).await?;
        Ok(pool)
    }

    async fn migrate(&self, pool: &AnyPool) -> Result<()> {
        let (steps, _lock) = match self {
            Database::Sqlite(path) => {
                // SQLite has no lock that spans a migration: two processes that start together take turns here.
                let lock = migration_lock(path).await.map_err(|source| StoreError::Lock {
                    database: self.to_string(),
                    source,
                })?;
                (SQLITE, Some(lock))
            }
            // sqlx holds an advisory lock of PostgreSQL while it works.
            Database::Postgres(_) => (POSTGRES, None),
        };
        migrator(steps)
            .run(pool)
            .await
            .map_err(|source| StoreError::Migrate {
                database: self.to_string(),
                source,
            })
    }

    /// Writers that this process may have at the same time.
    pub(crate) fn writers(&self) -> usize {
        match self {
            Database::Sqlite(_) => 1,
            Database::Postgres(_) => POSTGRES_CONNECTIONS_MAX as usize,
        }
    }

    /// The statement that begins a transaction which writes. SQLite would otherwise take its lock at the first write,
    /// and fail instead of waiting when somebody else wrote since the first read.
    pub(crate) fn begin(&self) -> &'static str {
        match self {
            Database::Sqlite(_) => "BEGIN IMMEDIATE",
            Database::Postgres(_) => "BEGIN",
        }
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Database::Sqlite(path) => write!(f, "{}", path.display()),
            Database::Postgres(_) => f.write_str("the PostgreSQL database of the setting `database`"),
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Database({self})")
    }
}

/// A path as it stands in a URL.
fn percent_encoded(path: &Path) -> String {
    let bytes = path.as_os_str().as_encoded_bytes().iter();
    bytes
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => {
                char::from(*byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let database = Database::from_setting("postgres://user:hunter2@h/db", Path::new("/d")).unwrap();
        assert!(!format!("{database} {database:?}").contains("hunter2"));
    }

    #[test]
    fn a_setting_is_a_url_or_nothing() {
        let data = Path::new("/d");
        assert_eq!(
            Database::from_setting("", data),
            Some(Database::Sqlite("/d/berth.db".into()))
        );
        assert!(Database::from_setting("postgresql://h/db", data).is_some());
        for bad in ["mysql://h/db", "h/db", "postgres://h:port/db"] {
            assert_eq!(Database::from_setting(bad, data), None, "{bad}");
        }
    }

    #[test]
    fn a_path_survives_being_a_url() {
        assert_eq!(percent_encoded(Path::new("/a b/c?d#e%f")), "/a%20b/c%3Fd%23e%25f");
    }

    #[tokio::test]
    async fn a_database_that_was_full_works_again() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::Sqlite(folder.path().join("berth.db"));
        let pool = database.open().await.unwrap();
        pool.execute("CREATE TABLE filling (filler BLOB)").await.unwrap();
        // All of them at once, or one would be asked twice.
        let mut connections = Vec::new();
        for _ in 0..SQLITE_CONNECTIONS_MAX {
            let mut connection = pool.acquire().await.unwrap();
            connection.execute("PRAGMA max_page_count = 1").await.unwrap();
            connections.push(connection);
        }
        drop(connections);
        // Those that found no room are replaced, by others that have some.
        let mut full = 0;
        loop {
            let mut transaction = pool.begin_with(database.begin()).await.unwrap();
            let filled = transaction
                .execute("INSERT INTO filling VALUES (zeroblob(100000))")
                .await;
            match filled {
                Ok(_) => break transaction.commit().await.unwrap(),
                Err(error) => assert!(error.to_string().contains("full"), "{error}"),
            }
            full += 1;
            assert!(
                full <= SQLITE_CONNECTIONS_MAX,
                "the same connection was used again"
            );
        }
        assert!(full > 0);
    }
}
