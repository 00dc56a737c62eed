//! Pausing a session: its processes are frozen where they stand, and thawed by the next call.
//!
//! The row says `paused` before the first process is frozen, and `running` only after the last one is thawed. So whatever
//! a killed server leaves, the next one finds a session that it takes for paused, and freezes again; a call thaws it.
//! Who asked for a pause may leave: it is carried out whole.

use std::sync::Arc;

use tracing::info;

use crate::error::ControlError;
use crate::session::{Call, Session};
use crate::{Control, life, whole};

/// Who wants a session to pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PauseFor {
    /// Its owner: what runs is frozen in the middle.
    Owner,
    /// The reaper, because nobody uses it. A call that comes at the same moment goes first.
    Idleness,
}

impl Control {
    /// Begins a call: it counts as use until it is dropped, and a paused session is thawed for it.
    pub async fn begin_call(self: &Arc<Self>, session: &Arc<Session>) -> Result<Call, ControlError> {
        // Noted first: from here on the reaper does not pause it.
        let call = session.note_call();
        if session.is_paused() {
            self.resume(session).await?;
        }
        Ok(call)
    }

    /// Freezes a session's processes. Succeeds again for one that is paused.
    pub async fn pause(self: &Arc<Self>, session: &Arc<Session>) -> Result<(), ControlError> {
        self.freeze(session, PauseFor::Owner).await
    }

    pub(crate) async fn freeze(
        self: &Arc<Self>,
        session: &Arc<Session>,
        whom: PauseFor,
    ) -> Result<(), ControlError> {
        let (control, session) = (Arc::clone(self), Arc::clone(session));
        whole(tokio::spawn(
            async move { control.freeze_now(&session, whom).await },
        ))
        .await
    }

    async fn freeze_now(&self, session: &Session, whom: PauseFor) -> Result<(), ControlError> {
        let _gate = session.pausing.lock().await;
        if session.is_paused() {
            return Ok(());
        }
        session.set_paused(true);
        // A call that was noted before this saw no pause; one that comes after it will wait for the gate, and thaw.
        if whom == PauseFor::Idleness && session.is_in_use() {
            session.set_paused(false);
            return Ok(());
        }
        let frozen = async {
            self.write_state(session, life::Event::Pause).await?;
            session.sandbox.freeze().await.map_err(ControlError::Freeze)
        };
        match frozen.await {
            Ok(()) => {
                info!(session.id = %session.id, "session {} is paused", session.id);
                Ok(())
            }
            Err(error) => {
                // Half-frozen is worse than running.
                let thawed = session.sandbox.thaw().await.map_err(ControlError::Freeze);
                if thawed
                    .and(self.write_state(session, life::Event::Resume).await)
                    .is_ok()
                {
                    session.set_paused(false);
                }
                Err(error)
            }
        }
    }

    /// Lets a paused session's processes go on. Succeeds again for one that runs. While it was paused it was not idle.
    pub async fn resume(self: &Arc<Self>, session: &Arc<Session>) -> Result<(), ControlError> {
        let (control, session) = (Arc::clone(self), Arc::clone(session));
        whole(tokio::spawn(async move { control.thaw_now(&session).await })).await
    }

    async fn thaw_now(&self, session: &Session) -> Result<(), ControlError> {
        let _gate = session.pausing.lock().await;
        if !session.is_paused() {
            return Ok(());
        }
        session.sandbox.thaw().await.map_err(ControlError::Freeze)?;
        if let Err(error) = self.write_state(session, life::Event::Resume).await {
            // What the row calls paused must not run: nothing would ever find it idle.
            session.sandbox.freeze().await.map_err(ControlError::Freeze)?;
            return Err(error);
        }
        session.touch();
        session.set_paused(false);
        info!(session.id = %session.id, "session {} goes on after a pause", session.id);
        Ok(())
    }

    /// Moves the session's row by an event that does not end it.
    async fn write_state(&self, session: &Session, event: life::Event) -> Result<(), ControlError> {
        match self.advance(&session.id, event, None).await? {
            None => Err(crate::unknown(&session.id)),
            Some((row, _)) if crate::end_of(&row).is_some() => Err(crate::ended(row)),
            Some(_) => Ok(()),
        }
    }
}
