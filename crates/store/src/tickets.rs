//! Live view tickets.

use jiff::Timestamp;
use sqlx::Row;

use crate::keys::digest;
use crate::sessions::write_ticket;
use crate::{Result, Store, failed, time};

/// A ticket as the store knows it; its secret is known to its holder alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketRow {
    /// The session that it shows.
    pub session_id: String,
    /// When it stops being valid.
    pub expires: Timestamp,
}

impl Store {
    /// Writes a ticket for a session.
    pub async fn insert_ticket(&self, session_id: &str, secret: &str, expires: Timestamp) -> Result<()> {
        let what = "write a ticket";
        let _turn = self.turn().await.map_err(failed(what))?;
        let mut connection = self.pool.acquire().await.map_err(failed(what))?;
        write_ticket(&mut connection, session_id, secret, expires)
            .await
            .map_err(failed(what))
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
