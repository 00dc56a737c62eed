//! Sandboxes: one row for each that exists on this machine or is being made or ended.

use jiff::Timestamp;
use sqlx::Row;

use crate::{Result, Store, StoreError, failed};

/// How far a sandbox has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SandboxState {
    /// Some of it may exist. After a restart it is cleaned up.
    Making,
    /// Its guest answers; it belongs to no session yet.
    Ready,
    /// It belongs to a session.
    Claimed,
    /// It is being removed.
    Ending,
}

impl SandboxState {
    fn word(self) -> &'static str {
        match self {
            SandboxState::Making => "making",
            SandboxState::Ready => "ready",
            SandboxState::Claimed => "claimed",
            SandboxState::Ending => "ending",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [
            SandboxState::Making,
            SandboxState::Ready,
            SandboxState::Claimed,
            SandboxState::Ending,
        ]
        .into_iter()
        .find(|state| state.word() == word)
    }
}

/// A sandbox as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxRow {
    /// Its id.
    pub id: String,
    /// The key of the image it was made from.
    pub image: String,
    /// How far it has come.
    pub state: SandboxState,
}

impl Store {
    /// Notes that a sandbox is about to be made.
    pub async fn insert_sandbox(&self, id: &str, node: &str, image: &str) -> Result<()> {
        self.write(sqlx::query(
            "INSERT INTO sandboxes (id, node, image, state, created_ms) VALUES ($1, $2, $3, 'making', $4)",
        )
        .bind(id)
        .bind(node)
        .bind(image)
        .bind(Timestamp::now().as_millisecond()))
        .await
        .map_err(failed("note a new sandbox"))?;
        Ok(())
    }

    /// Moves a sandbox from one state to another, unless someone else moved it first.
    pub async fn advance_sandbox(&self, id: &str, from: SandboxState, to: SandboxState) -> Result<()> {
        let done = self
            .write(
                sqlx::query("UPDATE sandboxes SET state = $1 WHERE id = $2 AND state = $3")
                    .bind(to.word())
                    .bind(id)
                    .bind(from.word()),
            )
            .await
            .map_err(failed("advance a sandbox"))?;
        if done == 0 {
            return Err(StoreError::Moved {
                what: "sandbox",
                id: id.to_owned(),
            });
        }
        Ok(())
    }

    /// Marks a sandbox for removal, whatever its state.
    pub async fn condemn_sandbox(&self, id: &str) -> Result<()> {
        self.write(sqlx::query("UPDATE sandboxes SET state = 'ending' WHERE id = $1").bind(id))
            .await
            .map_err(failed("mark a sandbox for removal"))?;
        Ok(())
    }

    /// Forgets a sandbox of which nothing is left.
    pub async fn delete_sandbox(&self, id: &str) -> Result<()> {
        self.write(sqlx::query("DELETE FROM sandboxes WHERE id = $1").bind(id))
            .await
            .map_err(failed("forget a sandbox"))?;
        Ok(())
    }

    /// All sandboxes of a server.
    pub async fn sandboxes(&self, node: &str) -> Result<Vec<SandboxRow>> {
        let of_node = "SELECT id, image, state FROM sandboxes WHERE node IN ($1, '') ORDER BY created_ms, id";
        let rows = sqlx::query(of_node)
            .bind(node)
            .fetch_all(&self.pool)
            .await
            .map_err(failed("list the sandboxes"))?;
        rows.iter()
            .map(|row| {
                let read = failed("read a sandbox");
                let (id, image, word): (String, String, String) =
                    (|| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)))().map_err(read)?;
                let state = SandboxState::from_word(&word).ok_or_else(|| StoreError::UnknownWord {
                    what: "sandbox",
                    id: id.clone(),
                    word,
                })?;
                Ok(SandboxRow { id, image, state })
            })
            .collect()
    }
}
