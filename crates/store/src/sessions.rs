//! Sessions and their labels.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use crate::events::{EventKind, EventOf};
use crate::keys::digest;
use crate::labels::write_labels;
use crate::tickets::{NewTicket, write_tickets};
use crate::{Result, Store, StoreError, counted, failed, stored, time};

/// How far a session has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// It takes calls.
    Running,
    /// It lives, with its processes frozen.
    Paused,
    /// It takes no more calls; its sandbox is being removed.
    Ending,
    /// Nothing of it is left but this row.
    Ended,
}

impl SessionState {
    /// The word in the column `state`. A paused session is a running one whose `paused_ms` is set, which servers of the
    /// release before take for running.
    fn word(self) -> &'static str {
        match self {
            SessionState::Running | SessionState::Paused => "running",
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
    /// The server that runs it.
    pub node: String,
    /// Name of a policy, as it was given.
    pub policy: Option<String>,
    /// The memory that it may use.
    pub memory_bytes: u64,
    /// What is known of its end beyond the reason, for people.
    pub end_detail: Option<String>,
    /// The most memory that it has used at once, written at its end.
    pub memory_peak_bytes: Option<u64>,
    /// The last lines that its guest wrote, written at its end.
    pub log_tail: Option<String>,
}

/// What is written about the end of a session. What is there already is kept: what a caller was told first stays true.
#[derive(Debug, Clone, Copy, Default)]
pub struct SessionEnding<'a> {
    /// Why, in a word of `control`.
    pub reason: &'a str,
    /// What is known beyond the reason, for people.
    pub detail: Option<&'a str>,
    /// The most memory that it has used at once.
    pub memory_peak_bytes: Option<u64>,
    /// The last lines that its guest wrote.
    pub log_tail: Option<&'a str>,
}

/// A session to be written.
#[derive(Debug)]
pub struct NewSession<'a> {
    /// Its id.
    pub id: &'a str,
    /// The key that owns it.
    pub key_id: &'a str,
    /// The server that runs it.
    pub node: &'a str,
    /// The image.
    pub image: &'a str,
    /// The ready sandbox that it takes.
    pub sandbox_id: &'a str,
    /// A policy's name, kept as given.
    pub policy: Option<&'a str>,
    /// Released after this long without use.
    pub idle_timeout_ms: u64,
    /// The memory that it may use.
    pub memory_bytes: u64,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
    /// Secret of its first live view ticket, and when that expires.
    pub ticket: (&'a str, Timestamp),
}

const COLUMNS: &str = "id, key_id, node, image, sandbox_id, policy, state, paused_ms, end_reason, end_detail, \
                       memory_peak_bytes, log_tail, generation, idle_timeout_ms, memory_bytes, created_ms, ended_ms";

impl Store {
    /// Writes a session that takes a ready sandbox: one transaction, so that a crash leaves both or neither.
    pub async fn insert_session(&self, new: &NewSession<'_>) -> Result<()> {
        let what = "write a new session";
        let mut transaction = self.begin().await.map_err(failed(what))?;
        let claimed = sqlx::query(
            "UPDATE sandboxes SET state = 'claimed' WHERE id = $1 AND state = 'ready' AND node IN ($2, '')",
        )
        .bind(new.sandbox_id)
        .bind(new.node)
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
            "INSERT INTO sessions (id, key_id, node, image, sandbox_id, policy, idle_timeout_ms, memory_bytes, state,
                                   created_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'running', $9)",
        )
        .bind(new.id)
        .bind(new.key_id)
        .bind(new.node)
        .bind(new.image)
        .bind(new.sandbox_id)
        .bind(new.policy)
        .bind(stored(new.idle_timeout_ms))
        .bind(stored(new.memory_bytes))
        .bind(Timestamp::now().as_millisecond())
        .execute(&mut *transaction)
        .await
        .map_err(failed(what))?;
        write_labels(&mut transaction, new.id, new.labels)
            .await
            .map_err(failed(what))?;
        let ticket = NewTicket {
            session_id: new.id.to_owned(),
            hash: digest(new.ticket.0),
            expires_ms: new.ticket.1.as_millisecond(),
        };
        write_tickets(&mut transaction, std::iter::once(&ticket))
            .await
            .map_err(failed(what))?;
        let of = EventOf {
            session_id: new.id,
            key_id: new.key_id,
            image: new.image,
            end_reason: None,
        };
        self.note_event(&mut transaction, EventKind::Created, of)
            .await
            .map_err(failed(what))?;
        transaction.commit().await.map_err(failed(what))
    }

    /// One session, whatever its state.
    pub async fn session(&self, id: &str) -> Result<Option<SessionRow>> {
        sqlx::query(AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM sessions WHERE id = $1"
        )))
        .bind(id)
        .fetch_optional(&self.pool)
        .await
        .map_err(failed("look up a session"))?
        .map(read)
        .transpose()
    }

    /// All sessions of a server that have not ended.
    pub async fn unfinished_sessions(&self, node: &str) -> Result<Vec<SessionRow>> {
        let text = format!(
            "SELECT {COLUMNS} FROM sessions WHERE state IN ('running', 'ending') AND node IN ($1, '')
             ORDER BY created_ms, id"
        );
        sqlx::query(AssertSqlSafe(text))
            .bind(node)
            .fetch_all(&self.pool)
            .await
            .map_err(failed("list the sessions"))?
            .into_iter()
            .map(read)
            .collect()
    }

    /// Moves `seen` to `next`, unless another task or server moved it first.
    pub async fn advance_session(
        &self,
        seen: &SessionRow,
        next: SessionState,
        end: Option<&SessionEnding<'_>>,
    ) -> Result<SessionRow> {
        let what = "advance a session";
        let now = Timestamp::now().as_millisecond();
        let end = end.copied();
        let mut transaction = self.begin().await.map_err(failed(what))?;
        let text = format!(
            "UPDATE sessions SET state = $1, paused_ms = $2, ended_ms = $3,
                                 end_reason = COALESCE(end_reason, $4), end_detail = COALESCE(end_detail, $5),
                                 memory_peak_bytes = COALESCE(memory_peak_bytes, $6),
                                 log_tail = COALESCE(log_tail, $7), generation = generation + 1
             WHERE id = $8 AND generation = $9
             RETURNING {COLUMNS}"
        );
        let row = sqlx::query(AssertSqlSafe(text))
            .bind(next.word())
            .bind((next == SessionState::Paused).then_some(now))
            .bind((next == SessionState::Ended).then_some(now))
            .bind(end.map(|end| end.reason))
            .bind(end.and_then(|end| end.detail))
            .bind(end.and_then(|end| end.memory_peak_bytes).map(stored))
            .bind(end.and_then(|end| end.log_tail))
            .bind(&seen.id)
            .bind(seen.generation)
            .fetch_optional(&mut *transaction)
            .await
            .map_err(failed(what))?;
        let row = row.map(read).transpose()?.ok_or_else(|| StoreError::Moved {
            what: "session",
            id: seen.id.clone(),
        })?;
        let kind = match (seen.state, next) {
            (SessionState::Running, SessionState::Paused) => Some(EventKind::Paused),
            (SessionState::Paused, SessionState::Running) => Some(EventKind::Resumed),
            (SessionState::Running | SessionState::Paused, SessionState::Ending | SessionState::Ended) => {
                Some(EventKind::Ended)
            }
            _ => None,
        };
        if let Some(kind) = kind {
            let of = EventOf {
                session_id: &row.id,
                key_id: &row.key_id,
                image: &row.image,
                end_reason: row.end_reason.as_deref(),
            };
            self.note_event(&mut transaction, kind, of)
                .await
                .map_err(failed(what))?;
        }
        transaction.commit().await.map_err(failed(what))?;
        Ok(row)
    }

    /// Forgets sessions that ended before `before`, with their labels and tickets.
    pub async fn forget_sessions(&self, before: Timestamp) -> Result<u64> {
        let done = self
            .write(
                sqlx::query("DELETE FROM sessions WHERE state = 'ended' AND ended_ms < $1")
                    .bind(before.as_millisecond()),
            )
            .await
            .map_err(failed("forget old sessions"))?;
        Ok(done)
    }
}

fn read(row: AnyRow) -> Result<SessionRow> {
    let columns = || -> std::result::Result<(SessionRow, String), sqlx::Error> {
        let paused = row.try_get::<Option<i64>, _>("paused_ms")?.is_some();
        let session = SessionRow {
            id: row.try_get("id")?,
            key_id: row.try_get("key_id")?,
            image: row.try_get("image")?,
            sandbox_id: row.try_get("sandbox_id")?,
            state: if paused {
                SessionState::Paused
            } else {
                SessionState::Running
            },
            end_reason: row.try_get("end_reason")?,
            generation: row.try_get("generation")?,
            idle_timeout_ms: counted(row.try_get("idle_timeout_ms")?),
            created: time(row.try_get("created_ms")?),
            ended: row.try_get::<Option<i64>, _>("ended_ms")?.map(time),
            node: row.try_get("node")?,
            policy: row.try_get("policy")?,
            memory_bytes: counted(row.try_get("memory_bytes")?),
            end_detail: row.try_get("end_detail")?,
            memory_peak_bytes: row.try_get::<Option<i64>, _>("memory_peak_bytes")?.map(counted),
            log_tail: row.try_get("log_tail")?,
        };
        Ok((session, row.try_get("state")?))
    };
    let (session, word) = columns().map_err(failed("read a session"))?;
    match SessionState::from_word(&word) {
        Some(SessionState::Running) => Ok(session),
        Some(state) => Ok(SessionRow { state, ..session }),
        None => Err(StoreError::UnknownWord {
            what: "session",
            id: session.id,
            word,
        }),
    }
}
