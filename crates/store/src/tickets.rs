//! Live view tickets.

use std::sync::Arc;

use jiff::Timestamp;
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Row};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::keys::digest;
use crate::{Result, Store, failed, take_turn, time};

/// Tickets that are written together at most.
const TOGETHER_MAX: usize = 64;

const WRITE: &str = "write a ticket";

/// A ticket as the store knows it; its secret is known to its holder alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketRow {
    /// The session that it shows.
    pub session_id: String,
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

    /// The ticket with this secret, expired or not.
    ///
    /// Found by the digest of a secret of 32 random bytes: comparing digests tells an attacker nothing of the secret.
    pub async fn ticket(&self, secret: &str) -> Result<Option<TicketRow>> {
        let what = "look up a ticket";
        let row = sqlx::query("SELECT session_id, expires_ms FROM tickets WHERE hash = $1")
            .bind(digest(secret))
            .fetch_optional(&self.pool)
            .await
            .map_err(failed(what))?;
        row.map(|row| {
            Ok(TicketRow {
                session_id: row.try_get(0)?,
                expires: time(row.try_get(1)?),
            })
        })
        .transpose()
        .map_err(failed(what))
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
