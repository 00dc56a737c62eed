//! The reaper: ends sessions that nobody uses, and those that are too old.
//!
//! Use is counted here for what passes through the server as a call, and by the guest for what only it can see: code
//! that a stream runs, a person's hand in a live view. The guest is asked only when the server's own count has run out.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use tracing::warn;

use crate::Control;
use crate::config::IdleAction;
use crate::life::EndReason;
use crate::pause::PauseFor;
use crate::session::Session;

/// How often sessions are looked at: the resolution of idle and lifetime limits.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Guests that are asked at the same time when they were last used.
const ASKED_MAX: usize = 64;

/// How long an ended session's id is answered with the reason.
const REMEMBER_ENDED: SignedDuration = SignedDuration::from_hours(24);

/// How long an expired ticket is answered with "expired" and not with "unknown".
const REMEMBER_TICKETS: SignedDuration = SignedDuration::from_hours(24);

/// How often old rows are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(600);

/// What a session has coming.
enum Due {
    End(EndReason),
    Pause,
}

impl Control {
    /// Looks after all sessions, for ever.
    pub(crate) async fn reap(self: Arc<Self>) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut forget = tokio::time::interval(FORGET_EVERY);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.keys.notified() => self.end_those_of_invalid_keys().await,
                _ = look.tick() => {
                    self.end_those_of_invalid_keys().await;
                    // Side by side: a guest that is slow to answer must not keep others from their end.
                    let sessions = stream::iter(self.live_sessions());
                    sessions.for_each_concurrent(ASKED_MAX, |session| self.look_at(session)).await;
                }
                _ = forget.tick() => self.forget().await,
            }
        }
    }

    async fn look_at(self: &Arc<Self>, session: Arc<Session>) {
        let done = match self.due(&session).await {
            None => Ok(()),
            Some(Due::End(why)) => self.end(&session, why.into()).await,
            Some(Due::Pause) => self.freeze(&session, PauseFor::Idleness).await,
        };
        if let Err(error) = done {
            warn!(
                error = &error as &dyn std::error::Error,
                "could not end or pause session {} yet", session.id
            );
        }
    }

    /// What should become of this session now, if anything.
    async fn due(&self, session: &Session) -> Option<Due> {
        let age = Timestamp::now().duration_since(session.created).unsigned_abs();
        if !self.config.lifetime.is_zero() && age >= self.config.lifetime {
            return Some(Due::End(EndReason::Lifetime));
        }
        // A paused session does nothing that could be idle.
        if session.is_paused() || session.idle() < session.idle_timeout {
            return None;
        }
        // A guest that does not answer has nothing to say for the session.
        if let Ok(activity) = session.guest.activity().await {
            session.note_use(Duration::from_millis(activity.idle_ms));
        }
        (session.idle() >= session.idle_timeout).then_some(match self.config.idle_action {
            IdleAction::Release => Due::End(EndReason::Idle),
            IdleAction::Pause => Due::Pause,
        })
    }

    /// Ends the sessions of keys that were revoked or have expired: whoever holds such a key, a session's token or its
    /// live view is shut out at once.
    async fn end_those_of_invalid_keys(&self) {
        let keys = match self.store.invalid_keys(Timestamp::now()).await {
            Ok(keys) => keys,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                return warn!(error, "could not look for revoked keys");
            }
        };
        if keys.is_empty() {
            return;
        }
        let sessions = self
            .live_sessions()
            .into_iter()
            .filter(|session| keys.contains(&session.key_id));
        for session in sessions {
            if let Err(error) = self.end(&session, EndReason::KeyRevoked.into()).await {
                let error = &error as &dyn std::error::Error;
                warn!(
                    error,
                    "could not end session {} yet, whose key is no longer valid", session.id
                );
            }
        }
    }

    async fn forget(&self) {
        let now = Timestamp::now();
        let tickets = self.store.forget_tickets(now - REMEMBER_TICKETS).await;
        let sessions = self.store.forget_sessions(now - REMEMBER_ENDED).await;
        for error in [tickets.err(), sessions.err()].into_iter().flatten() {
            warn!(
                error = &error as &dyn std::error::Error,
                "could not forget old rows"
            );
        }
    }
}
