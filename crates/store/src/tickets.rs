//! Live view tickets.

use std::sync::Arc;

use jiff::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Row};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::keys::digest;
use crate::{Result, Store, counted, failed, take_turn, time};

/// Tickets that are written together at most.
const TOGETHER_MAX: usize = 64;

/// Tickets that are looked up in one statement.
const LOOKED_UP_MAX: usize = 500;

const WRITE: &str = "write a ticket";

const COLUMNS: &str = "hash, session_id, expires_ms, id, rights, name, revoked_ms";

/// A ticket as the store knows it; its secret is known to its holder alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketRow {
    /// Which one it is.
    pub digest: TicketDigest,
    /// The session that it shows.
    pub session_id: String,
    /// When it stops being valid.
    pub expires: Timestamp,
    /// Its name for programs, if it was made to be shared. No secret.
    pub id: Option<String>,
    /// What its holder may do, in words of `control`; everything if absent.
    pub rights: Option<String>,
    /// What its holder is called.
    pub name: Option<String>,
    /// When it was revoked, if it was.
    pub revoked: Option<Timestamp>,
}

/// The digest of a ticket's secret: says which ticket, and opens nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TicketDigest(Vec<u8>);

/// A ticket that was made to be shared, to be written.
#[derive(Debug, Clone, Copy)]
pub struct SharedTicket<'a> {
    /// The session that it shows.
    pub session_id: &'a str,
    /// Its name for programs.
    pub id: &'a str,
    /// What its holder shows.
    pub secret: &'a str,
    /// What its holder may do.
    pub rights: &'a str,
    /// What its holder is called.
    pub name: Option<&'a str>,
    /// When it stops being valid.
    pub expires: Timestamp,
}

/// A ticket to be written.
pub(crate) struct NewTicket {
    pub(crate) session_id: String,
    pub(crate) hash: Vec<u8>,
    pub(crate) expires_ms: i64,
}

/// A ticket whose caller waits until it is written.
pub(crate) struct Waiting {
    ticket: NewTicket,
    written: oneshot::Sender<Result<()>>,
}

/// Starts the task that writes tickets for as long as there is a sender.
///
/// Each recovery of a session issues a ticket, so this is the one write that clients ask for thousands of times a second.
/// Those that come while others are being written go into the next statement together.
pub(crate) fn start_writer(pool: AnyPool, writer: Arc<Semaphore>) -> mpsc::Sender<Waiting> {
    let (sender, mut receiver) = mpsc::channel(TOGETHER_MAX);
    tokio::spawn(async move {
        let mut waiting: Vec<Waiting> = Vec::with_capacity(TOGETHER_MAX);
        while receiver.recv_many(&mut waiting, TOGETHER_MAX).await > 0 {
            if waiting.len() > 1 && write(&pool, &writer, &waiting).await.is_ok() {
                waiting.drain(..).for_each(|one| drop(one.written.send(Ok(()))));
            }
            // One that cannot be written must not take the others along.
            for one in waiting.drain(..) {
                let result = write(&pool, &writer, std::slice::from_ref(&one)).await;
                drop(one.written.send(result.map_err(failed(WRITE))));
            }
        }
    });
    sender
}

async fn write(
    pool: &AnyPool,
    writer: &Semaphore,
    waiting: &[Waiting],
) -> std::result::Result<(), sqlx::Error> {
    let _turn = take_turn(writer).await?;
    let mut connection = pool.acquire().await?;
    write_tickets(&mut connection, waiting.iter().map(|one| &one.ticket)).await
}

/// Writes tickets in one statement.
pub(crate) async fn write_tickets(
    connection: &mut AnyConnection,
    tickets: impl ExactSizeIterator<Item = &NewTicket>,
) -> std::result::Result<(), sqlx::Error> {
    let rows = (0..tickets.len())
        .map(|row| format!("(${}, ${}, ${})", 3 * row + 1, 3 * row + 2, 3 * row + 3))
        .collect::<Vec<_>>();
    let text = format!(
        "INSERT INTO tickets (hash, session_id, expires_ms) VALUES {}",
        rows.join(", ")
    );
    let mut query = sqlx::query(AssertSqlSafe(text));
    for ticket in tickets {
        query = query
            .bind(ticket.hash.clone())
            .bind(ticket.session_id.clone())
            .bind(ticket.expires_ms);
    }
    query.execute(&mut *connection).await?;
    Ok(())
}

impl Store {
    /// Writes a ticket for a session. Returns when it is in the database, together with those that waited with it.
    pub async fn insert_ticket(&self, session_id: &str, secret: &str, expires: Timestamp) -> Result<()> {
        let (written, result) = oneshot::channel();
        let ticket = NewTicket {
            session_id: session_id.to_owned(),
            hash: digest(secret),
            expires_ms: expires.as_millisecond(),
        };
        // The writer goes away only with its runtime.
        let gone = || failed(WRITE)(sqlx::Error::PoolClosed);
        self.tickets
            .send(Waiting { ticket, written })
            .await
            .map_err(|_| gone())?;
        result.await.map_err(|_| gone())?
    }

    /// Writes a ticket that was made to be shared, if its session has fewer than `most` that are still good. Whether it
    /// was written.
    pub async fn insert_shared_ticket(&self, new: &SharedTicket<'_>, most: u64) -> Result<bool> {
        let mut transaction = self.begin().await.map_err(failed(WRITE))?;
        let row = sqlx::query(
            "SELECT COUNT(*) FROM tickets WHERE session_id = $1 AND id IS NOT NULL AND expires_ms > $2",
        )
        .bind(new.session_id)
        .bind(Timestamp::now().as_millisecond())
        .fetch_one(&mut *transaction)
        .await
        .map_err(failed(WRITE))?;
        if counted(row.try_get(0).map_err(failed(WRITE))?) >= most {
            return Ok(false);
        }
        sqlx::query(
            "INSERT INTO tickets (hash, session_id, expires_ms, id, rights, name) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(digest(new.secret))
        .bind(new.session_id)
        .bind(new.expires.as_millisecond())
        .bind(new.id)
        .bind(new.rights)
        .bind(new.name)
        .execute(&mut *transaction)
        .await
        .map_err(failed(WRITE))?;
        transaction.commit().await.map_err(failed(WRITE))?;
        Ok(true)
    }

    /// The ticket with this secret, expired or revoked or not.
    ///
    /// Found by the digest of a secret of 32 random bytes: comparing digests tells an attacker nothing of the secret.
    pub async fn ticket(&self, secret: &str) -> Result<Option<TicketRow>> {
        let what = "look up a ticket";
        let text = format!("SELECT {COLUMNS} FROM tickets WHERE hash = $1");
        let row = sqlx::query(AssertSqlSafe(text))
            .bind(digest(secret))
            .fetch_optional(&self.pool)
            .await
            .map_err(failed(what))?;
        row.as_ref().map(read).transpose().map_err(failed(what))
    }

    /// The tickets of a session that were made to be shared and are good at `now`, those that expire first first.
    pub async fn shared_tickets(&self, session_id: &str, now: Timestamp) -> Result<Vec<TicketRow>> {
        let what = "list the tickets of a session";
        let text = format!(
            "SELECT {COLUMNS} FROM tickets WHERE session_id = $1 AND id IS NOT NULL AND revoked_ms IS NULL
             AND expires_ms > $2 ORDER BY expires_ms, id"
        );
        let rows = sqlx::query(AssertSqlSafe(text))
            .bind(session_id)
            .bind(now.as_millisecond())
            .fetch_all(&self.pool)
            .await
            .map_err(failed(what))?;
        rows.iter()
            .map(read)
            .collect::<std::result::Result<_, _>>()
            .map_err(failed(what))
    }

    /// Revokes a ticket of a session, or all that it has, those that were not made to be shared included. How many there
    /// are, whether they were good until now or not.
    pub async fn revoke_tickets(&self, session_id: &str, id: Option<&str>, now: Timestamp) -> Result<u64> {
        let which = if id.is_some() { "AND id = $3" } else { "" };
        let text = format!(
            "UPDATE tickets SET revoked_ms = COALESCE(revoked_ms, $1),
                                expires_ms = CASE WHEN expires_ms < $1 THEN expires_ms ELSE $1 END
             WHERE session_id = $2 {which}"
        );
        let query = sqlx::query(AssertSqlSafe(text))
            .bind(now.as_millisecond())
            .bind(session_id);
        let query = match id {
            Some(id) => query.bind(id),
            None => query,
        };
        self.write(query).await.map_err(failed("revoke tickets"))
    }

    /// Those of these tickets that were revoked.
    pub async fn revoked_tickets(&self, tickets: &[TicketDigest]) -> Result<Vec<TicketDigest>> {
        let what = "look for revoked tickets";
        let mut revoked = Vec::new();
        for some in tickets.chunks(LOOKED_UP_MAX) {
            let places = (1..=some.len()).map(|place| format!("${place}"));
            let text = format!(
                "SELECT hash FROM tickets WHERE hash IN ({}) AND revoked_ms IS NOT NULL",
                places.collect::<Vec<_>>().join(", ")
            );
            let query = some
                .iter()
                .fold(sqlx::query(AssertSqlSafe(text)), |query, ticket| {
                    query.bind(ticket.0.clone())
                });
            for row in query.fetch_all(&self.pool).await.map_err(failed(what))? {
                revoked.push(TicketDigest(row.try_get(0).map_err(failed(what))?));
            }
        }
        Ok(revoked)
    }

    /// Forgets tickets that expired before `before`.
    pub async fn forget_tickets(&self, before: Timestamp) -> Result<u64> {
        let done = self
            .write(sqlx::query("DELETE FROM tickets WHERE expires_ms < $1").bind(before.as_millisecond()))
            .await
            .map_err(failed("forget old tickets"))?;
        Ok(done)
    }
}

fn read(row: &AnyRow) -> std::result::Result<TicketRow, sqlx::Error> {
    Ok(TicketRow {
        digest: TicketDigest(row.try_get("hash")?),
        session_id: row.try_get("session_id")?,
        expires: time(row.try_get("expires_ms")?),
        id: row.try_get("id")?,
        rights: row.try_get("rights")?,
        name: row.try_get("name")?,
        revoked: row.try_get::<Option<i64>, _>("revoked_ms")?.map(time),
    })
}
