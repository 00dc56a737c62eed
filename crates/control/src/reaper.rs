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
use crate::life::EndReason;
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

impl Control {
    /// Looks after all sessions, for ever.
    pub(crate) async fn reap(self: Arc<Self>) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut forget = tokio::time::interval(FORGET_EVERY);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = look.tick() => {
                    // Side by side: a guest that is slow to answer must not keep others from their end.
                    let sessions = stream::iter(self.live_sessions());
                    sessions.for_each_concurrent(ASKED_MAX, |session| self.look_at(session)).await;
                }
                _ = forget.tick() => self.forget().await,
            }
        }
    }

    async fn look_at(&self, session: Arc<Session>) {
        if let Some(why) = self.due(&session).await
            && let Err(error) = self.end(&session, why).await
        {
            warn!(
                error = &error as &dyn std::error::Error,
                "could not end session {} yet", session.id
            );
        }
    }

    /// Why this session should end now, if it should.
    async fn due(&self, session: &Session) -> Option<EndReason> {
        let age = Timestamp::now().duration_since(session.created).unsigned_abs();
        if !self.config.lifetime.is_zero() && age >= self.config.lifetime {
            return Some(EndReason::Lifetime);
        }
        if session.idle() < session.idle_timeout {
            return None;
        }
        // A guest that does not answer has nothing to say for the session.
        if let Ok(activity) = session.guest.activity().await {
            session.note_use(Duration::from_millis(activity.idle_ms));
        }
        (session.idle() >= session.idle_timeout).then_some(EndReason::Idle)
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
