//! Sessions and their labels.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};

use crate::keys::{digest, time};
use crate::{Result, Store, StoreError, failed};

/// How far a session has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// It takes calls.
    Running,
    /// It takes no more calls; its sandbox is being removed.
    Ending,
    /// Nothing of it is left but this row.
    Ended,
}

impl SessionState {
    fn word(self) -> &'static str {
        match self {
            SessionState::Running => "running",
            SessionState::Ending => "ending",
            SessionState::Ended => "ended",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [SessionState::Running, SessionState::Ending, SessionState::Ended]
            .into_iter()
            .find(|state| state.word() == word)
    }
}

/// A session as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// Its id.
    pub id: String,
    /// The key that owns it.
    pub key_id: String,
    /// The image it was made from.
    pub image: String,
    /// The sandbox it runs in.
    pub sandbox_id: String,
    /// How far it has come.
    pub state: SessionState,
    /// Why it ended, as `control` wrote it.
    pub end_reason: Option<String>,
    /// Rises with every move; the compare-and-set stands on it.
    pub generation: i64,
    /// Released after this long without use.
    pub idle_timeout_ms: u64,
    /// When it was made.
    pub created: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
}

/// A session to be written.
#[derive(Debug)]
pub struct NewSession<'a> {
    /// Its id.
    pub id: &'a str,
    /// The key that owns it.
    pub key_id: &'a str,
    /// The image.
    pub image: &'a str,
    /// The ready sandbox that it takes.
    pub sandbox_id: &'a str,
    /// A policy's name, kept as given.
    pub policy: Option<&'a str>,
    /// Released after this long without use.
    pub idle_timeout_ms: u64,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
    /// Secret of its first live view ticket, and when that expires.
    pub ticket: (&'a str, Timestamp),
}

/// Which sessions a list holds.
#[derive(Debug)]
pub struct SessionFilter<'a> {
    /// Sessions of this key only.
    pub key_id: &'a str,
    /// All of these labels must match exactly.
    pub labels: &'a BTreeMap<String, String>,
    /// Sessions after this place, newest first.
    pub after: Option<ListCursor>,
    /// At most so many.
    pub limit: u32,
}

/// A place in a list. Stays valid while sessions come and go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListCursor {
    /// Creation time of the last session seen, Unix milliseconds.
    pub created_ms: i64,
    /// Its id.
    pub id: String,
}

/// A page of live sessions.
#[derive(Debug)]
pub struct SessionPage {
    /// Ids, newest first.
    pub ids: Vec<String>,
    /// Where the next page begins, if there is one.
    pub next: Option<ListCursor>,
    /// Matches on all pages.
    pub total: u64,
}

const COLUMNS: &str = "SELECT id, key_id, image, sandbox_id, state, end_reason, generation, idle_timeout_ms, \
                       created_ms, ended_ms FROM sessions";

impl Store {
    /// Writes a session that takes a ready sandbox: one transaction, so that a crash leaves both or neither.
    pub async fn insert_session(&self, new: &NewSession<'_>) -> Result<()> {
        let what = "write a new session";
        let mut transaction = self
            .pool
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(failed(what))?;
        let claimed = sqlx::query("UPDATE sandboxes SET state = 'claimed' WHERE id = ? AND state = 'ready'")
            .bind(new.sandbox_id)
            .execute(&mut *transaction)
            .await
            .map_err(failed(what))?;
        if claimed.rows_affected() == 0 {
            return Err(StoreError::Moved {
                what: "sandbox",
                id: new.sandbox_id.to_owned(),
            });
        }
        sqlx::query(
            "INSERT INTO sessions (id, key_id, image, sandbox_id, policy, idle_timeout_ms, state, created_ms)
             VALUES (?, ?, ?, ?, ?, ?, 'running', ?)",
        )
        .bind(new.id)
        .bind(new.key_id)
        .bind(new.image)
        .bind(new.sandbox_id)
        .bind(new.policy)
        .bind(i64::try_from(new.idle_timeout_ms).unwrap_or(i64::MAX))
        .bind(Timestamp::now().as_millisecond())
        .execute(&mut *transaction)
        .await
        .map_err(failed(what))?;
        write_labels(&mut transaction, new.id, new.labels)
            .await
            .map_err(failed(what))?;
        write_ticket(&mut transaction, new.id, new.ticket.0, new.ticket.1)
            .await
            .map_err(failed(what))?;
        transaction.commit().await.map_err(failed(what))
    }

    /// One session, whatever its state.
    pub async fn session(&self, id: &str) -> Result<Option<SessionRow>> {
        sqlx::query(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE id = ?")))
            .bind(id)
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("look up a session"))?
            .map(read)
            .transpose()
    }

    /// All sessions that have not ended.
    pub async fn unfinished_sessions(&self) -> Result<Vec<SessionRow>> {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "{COLUMNS} WHERE state <> 'ended' ORDER BY created_ms, id"
        )))
        .fetch_all(&self.pool)
        .await
        .map_err(failed("list the sessions"))?
        .into_iter()
        .map(read)
        .collect()
    }

    /// Moves `seen` to `next`, unless another task or server moved it first.
    ///
    /// A reason that is already there is kept: what the caller was told first stays true.
    pub async fn advance_session(
        &self,
        seen: &SessionRow,
        next: SessionState,
        end_reason: Option<&str>,
    ) -> Result<SessionRow> {
        let ended = (next == SessionState::Ended).then(|| Timestamp::now().as_millisecond());
        sqlx::query(
            "UPDATE sessions SET state = ?, end_reason = COALESCE(end_reason, ?), ended_ms = ?,
                                 generation = generation + 1
             WHERE id = ? AND generation = ?
             RETURNING id, key_id, image, sandbox_id, state, end_reason, generation, idle_timeout_ms, created_ms,
                       ended_ms",
        )
        .bind(next.word())
        .bind(end_reason)
        .bind(ended)
        .bind(&seen.id)
        .bind(seen.generation)
        .fetch_optional(&self.pool)
        .await
        .map_err(failed("advance a session"))?
        .map(read)
        .transpose()?
        .ok_or_else(|| StoreError::Moved { what: "session", id: seen.id.clone() })
    }

    /// Forgets sessions that ended before `before`, with their labels and tickets.
    pub async fn forget_sessions(&self, before: Timestamp) -> Result<u64> {
        let done = sqlx::query("DELETE FROM sessions WHERE state = 'ended' AND ended_ms < ?")
            .bind(before.as_millisecond())
            .execute(&self.pool)
            .await
            .map_err(failed("forget old sessions"))?;
        Ok(done.rows_affected())
    }

    /// A page of a key's running sessions, newest first.
    pub async fn list_sessions(&self, filter: &SessionFilter<'_>) -> Result<SessionPage> {
        let what = "list sessions";
        let mut count = QueryBuilder::new("SELECT COUNT(*) FROM sessions s");
        matching(&mut count, filter);
        let total: i64 = count
            .build_query_scalar()
            .fetch_one(&self.pool)
            .await
            .map_err(failed(what))?;

        let mut page = QueryBuilder::new("SELECT s.id, s.created_ms FROM sessions s");
        matching(&mut page, filter);
        if let Some(after) = &filter.after {
            page.push(" AND (s.created_ms, s.id) < (")
                .push_bind(after.created_ms);
            page.push(", ").push_bind(&after.id).push(")");
        }
        // One more than asked for tells whether there is a next page.
        page.push(" ORDER BY s.created_ms DESC, s.id DESC LIMIT ")
            .push_bind(i64::from(filter.limit) + 1);
        let rows: Vec<(String, i64)> = page
            .build_query_as()
            .fetch_all(&self.pool)
            .await
            .map_err(failed(what))?;

        let limit = filter.limit as usize;
        let next = (rows.len() > limit)
            .then(|| rows.get(limit.wrapping_sub(1)))
            .flatten()
            .map(|(id, created_ms)| ListCursor {
                created_ms: *created_ms,
                id: id.clone(),
            });
        let ids = rows.into_iter().take(limit).map(|(id, _)| id).collect();
        Ok(SessionPage {
            ids,
            next,
            total: u64::try_from(total).unwrap_or(0),
        })
    }

    /// Replaces all labels of a session.
    pub async fn set_labels(&self, id: &str, labels: &BTreeMap<String, String>) -> Result<()> {
        let what = "write labels";
        let mut transaction = self
            .pool
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(failed(what))?;
        sqlx::query("DELETE FROM labels WHERE session_id = ?")
            .bind(id)
            .execute(&mut *transaction)
            .await
            .map_err(failed(what))?;
        write_labels(&mut transaction, id, labels)
            .await
            .map_err(failed(what))?;
        transaction.commit().await.map_err(failed(what))
    }

    /// The labels of a session.
    pub async fn labels(&self, id: &str) -> Result<BTreeMap<String, String>> {
        let rows: Vec<(String, String)> =
            sqlx::query_as("SELECT key, value FROM labels WHERE session_id = ? ORDER BY key")
                .bind(id)
                .fetch_all(&self.pool)
                .await
                .map_err(failed("read labels"))?;
        Ok(rows.into_iter().collect())
    }
}

fn matching<'a>(query: &mut QueryBuilder<Sqlite>, filter: &SessionFilter<'a>) {
    query
        .push(" WHERE s.state = 'running' AND s.key_id = ")
        .push_bind(filter.key_id.to_owned());
    for (key, value) in filter.labels {
        query.push(" AND EXISTS (SELECT 1 FROM labels l WHERE l.session_id = s.id AND l.key = ");
        query
            .push_bind(key.clone())
            .push(" AND l.value = ")
            .push_bind(value.clone())
            .push(")");
    }
}

async fn write_labels(
    connection: &mut sqlx::SqliteConnection,
    id: &str,
    labels: &BTreeMap<String, String>,
) -> std::result::Result<(), sqlx::Error> {
    for (key, value) in labels {
        sqlx::query("INSERT INTO labels (session_id, key, value) VALUES (?, ?, ?)")
            .bind(id)
            .bind(key)
            .bind(value)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

pub(crate) async fn write_ticket(
    connection: &mut sqlx::SqliteConnection,
    session_id: &str,
    secret: &str,
    expires: Timestamp,
) -> std::result::Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO tickets (hash, session_id, expires_ms) VALUES (?, ?, ?)")
        .bind(digest(secret))
        .bind(session_id)
        .bind(expires.as_millisecond())
        .execute(&mut *connection)
        .await?;
    Ok(())
}

fn read(row: SqliteRow) -> Result<SessionRow> {
    let columns = || -> std::result::Result<(SessionRow, String), sqlx::Error> {
        let session = SessionRow {
            id: row.try_get("id")?,
            key_id: row.try_get("key_id")?,
            image: row.try_get("image")?,
            sandbox_id: row.try_get("sandbox_id")?,
            state: SessionState::Ended,
            end_reason: row.try_get("end_reason")?,
            generation: row.try_get("generation")?,
            idle_timeout_ms: u64::try_from(row.try_get::<i64, _>("idle_timeout_ms")?).unwrap_or(0),
            created: time(row.try_get("created_ms")?),
            ended: row.try_get::<Option<i64>, _>("ended_ms")?.map(time),
        };
        Ok((session, row.try_get("state")?))
    };
    let (session, word) = columns().map_err(failed("read a session"))?;
    match SessionState::from_word(&word) {
        Some(state) => Ok(SessionRow { state, ..session }),
        None => Err(StoreError::UnknownWord {
            what: "session",
            id: session.id,
            word,
        }),
    }
}
