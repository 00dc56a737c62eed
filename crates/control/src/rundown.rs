//! The rundown: removes what is left of sessions that have ended, until nothing is.
//!
//! Works from the store alone: every sandbox whose row says `ending`, and every session that is `Ending`. What cannot be
//! removed now is tried again; nothing stays in a middle state because a step failed once.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use berth_store::{SandboxState, SessionState, StoreError};
use futures_util::{StreamExt, stream};
use tracing::warn;

use crate::error::ControlError;
use crate::{Control, life, state_of};

/// How often it looks without a nudge: the pause before a failed removal is tried again.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Sandboxes that are removed at the same time.
const REMOVING_MAX: usize = 4;

impl Control {
    /// Removes what has ended, for ever.
    pub(crate) async fn run_down(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = tokio::time::timeout(LOOK_EVERY, self.rundown.notified()) => {}
            }
            if let Err(error) = self.remove_ended().await {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "could not remove what has ended; trying again"
                );
            }
        }
    }

    /// One round: removes every sandbox that is to go, then closes the rows of their sessions.
    pub(crate) async fn remove_ended(&self) -> Result<(), ControlError> {
        let ending: Vec<_> = self
            .store
            .unfinished_sessions(&self.node)
            .await?
            .into_iter()
            .filter(|row| row.state == SessionState::Ending)
            .collect();
        let mut going: HashSet<String> = ending.iter().map(|row| row.sandbox_id.clone()).collect();
        let rows = self.store.sandboxes(&self.node).await?;
        going.extend(
            rows.into_iter()
                .filter(|row| row.state == SandboxState::Ending)
                .map(|row| row.id),
        );

        let gone: HashSet<String> = stream::iter(going)
            .map(|id| async move { self.maker.end(&id).await.then_some(id) })
            .buffer_unordered(REMOVING_MAX)
            .filter_map(std::future::ready)
            .collect()
            .await;

        for row in ending.iter().filter(|row| gone.contains(&row.sandbox_id)) {
            debug_assert!(matches!(
                state_of(row).after(life::Event::SandboxGone),
                life::State::Ended(_)
            ));
            // Why it ended was written when that was decided.
            match self.store.advance_session(row, SessionState::Ended, None).await {
                Ok(_) | Err(StoreError::Moved { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
