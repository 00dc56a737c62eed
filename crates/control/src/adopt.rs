//! After a start: what of the last server's work is still there.
//!
//! | in the store | on the machine | becomes |
//! |---|---|---|
//! | session running, sandbox claimed | alive, its guest answers | a live session |
//! | session paused, sandbox claimed | alive | a paused session |
//! | session running or paused | gone, or its guest is silent | ended: host restarted |
//! | sandbox ready, of no session | alive | back into the pool |
//! | sandbox making or ending | anything | removed |
//! | nothing | anything of this server | removed |

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use berth_guest_api::CONTRACT_VERSION;
use berth_sandbox::{Sandbox, SandboxId};
use berth_store::{SandboxRow, SandboxState, SessionEnding, SessionRow, SessionState};
use futures_util::{TryStreamExt, stream};
use tracing::{info, warn};

use crate::error::ControlError;
use crate::life::EndReason;
use crate::session::{Parts, Session, guest_of};
use crate::{Change, Control, end_of};

/// Guests that are asked at the same time whether they are alive.
const ASKED_MAX: usize = 32;

impl Control {
    /// Takes over what a former server of this data folder left, and clears the rest.
    pub(crate) async fn adopt(self: &Arc<Self>) -> Result<(), ControlError> {
        let sessions = self.store.unfinished_sessions(&self.node).await?;
        let mut sessions: HashMap<String, SessionRow> = sessions
            .into_iter()
            .map(|row| (row.sandbox_id.clone(), row))
            .collect();
        let rows = self.store.sandboxes(&self.node).await?;
        let known: HashSet<String> = rows.iter().map(|row| row.id.clone()).collect();

        let rows: Vec<_> = rows
            .into_iter()
            .map(|row| (sessions.remove(&row.id), row))
            .collect();
        // Side by side: a guest that is silent must not keep the others waiting.
        stream::iter(rows.into_iter().map(Ok))
            .try_for_each_concurrent(ASKED_MAX, |(session, row)| self.adopt_row(session, row))
            .await?;
        // A session whose sandbox has no row: its sandbox went while its end was being written.
        for session in sessions.into_values().filter(is_live) {
            self.note_lost(session).await?;
        }
        for id in self.maker.sandboxes.list().await.map_err(ControlError::Start)? {
            if !known.contains(id.as_str()) {
                warn!("sandbox {} belongs to nobody; removing it", id.as_str());
                self.maker.end(id.as_str()).await;
            }
        }
        self.remove_ended().await
    }

    async fn adopt_row(
        self: &Arc<Self>,
        session: Option<SessionRow>,
        row: SandboxRow,
    ) -> Result<(), ControlError> {
        match (row.state, session) {
            (SandboxState::Claimed, Some(session)) if is_live(&session) => {
                return self.adopt_session(session).await;
            }
            (SandboxState::Ready, None) => {
                if let Some(sandbox) = self.adopt_sandbox(&row.id, false).await {
                    self.pool.put(&row.image, sandbox);
                    return Ok(());
                }
            }
            _ => {}
        }
        Ok(self.store.condemn_sandbox(&row.id).await?)
    }

    /// Ends every session and removes every sandbox of this server; how many sessions there were.
    pub(crate) async fn end_everything(&self) -> Result<usize, ControlError> {
        let sessions = self.store.unfinished_sessions(&self.node).await?;
        for row in sessions.iter().filter(|row| is_live(row)) {
            self.write_end(row, EndReason::ServerStopped).await?;
        }
        for row in self.store.sandboxes(&self.node).await? {
            self.store.condemn_sandbox(&row.id).await?;
        }
        for id in self.maker.sandboxes.list().await.map_err(ControlError::Start)? {
            self.maker.end(id.as_str()).await;
        }
        self.remove_ended().await?;
        Ok(sessions.len())
    }

    async fn adopt_session(self: &Arc<Self>, row: SessionRow) -> Result<(), ControlError> {
        let paused = row.state == SessionState::Paused;
        let Some(sandbox) = self.adopt_sandbox(&row.sandbox_id, paused).await else {
            return self.note_lost(row).await;
        };
        info!(session.id = %row.id, "session {} goes on", row.id);
        self.enlist(&Session::new(Parts {
            admission: self.quotas.adopt(&row.key_id, row.memory_bytes),
            id: row.id,
            key_id: row.key_id,
            image: row.image,
            created: row.created,
            idle_timeout: Duration::from_millis(row.idle_timeout_ms),
            memory_bytes: row.memory_bytes,
            paused,
            sandbox,
        }));
        Ok(())
    }

    /// The sandbox of this id, if it lives and its guest answers in a contract that this server speaks. A guest whose
    /// session is `paused` cannot answer; its first call will show.
    async fn adopt_sandbox(&self, id: &str, paused: bool) -> Option<Sandbox> {
        let sandbox_id = id.parse::<SandboxId>().ok()?;
        let sandbox = match self.maker.sandboxes.adopt(&sandbox_id).await {
            Ok(sandbox) => sandbox?,
            Err(error) => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "could not take over sandbox {id}"
                );
                return None;
            }
        };
        if paused {
            // A server that was killed may have written it and not come to it.
            if let Err(error) = sandbox.freeze().await {
                let error = &error as &dyn std::error::Error;
                warn!(error, "sandbox {id} of a paused session is not frozen");
            }
            return Some(sandbox);
        }
        match guest_of(&sandbox).hello().await {
            Ok(hello) if hello.contract_version <= CONTRACT_VERSION => Some(sandbox),
            Ok(hello) => {
                warn!(
                    "the guest of sandbox {id} speaks the newer contract {}",
                    hello.contract_version
                );
                None
            }
            Err(error) => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "the guest of sandbox {id} is silent"
                );
                None
            }
        }
    }

    async fn note_lost(&self, row: SessionRow) -> Result<(), ControlError> {
        let why = EndReason::HostRestarted;
        warn!(session.id = %row.id, "session {} was lost: {why}", row.id);
        self.write_end(&row, why).await
    }

    async fn write_end(&self, row: &SessionRow, why: EndReason) -> Result<(), ControlError> {
        let ending = SessionEnding {
            reason: why.word(),
            detail: None,
            memory_peak_bytes: None,
            log_tail: None,
        };
        self.store
            .advance_session(row, SessionState::Ending, Some(&ending))
            .await?;
        self.tell(row, Change::Ended(why));
        Ok(())
    }
}

/// Does the row say that the session takes calls?
fn is_live(row: &SessionRow) -> bool {
    end_of(row).is_none()
}
