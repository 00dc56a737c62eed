//! A live session in memory: where its guest is, who owns it, and when it was last used.
//!
//! The row in the store is the truth about its state; this is what every call needs without asking the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use berth_guest_client::Guest;
use berth_sandbox::{GuestAddress, Sandbox};
use jiff::Timestamp;
use tokio::sync::watch;

use crate::life::EndReason;

/// A session that takes calls.
#[derive(Debug)]
pub struct Session {
    /// Its id.
    pub id: String,
    /// The key that owns it.
    pub key_id: String,
    /// The image it was made from.
    pub image: String,
    /// When it was made.
    pub created: Timestamp,
    /// Released after this long without use.
    pub idle_timeout: Duration,
    /// Its guest.
    pub guest: Guest,
    /// What it runs in.
    pub(crate) sandbox: Sandbox,
    clock: Clock,
    calls: AtomicU32,
    end: watch::Sender<Option<EndReason>>,
}

/// When the session was last used, on a clock that never steps.
#[derive(Debug)]
struct Clock {
    epoch: Instant,
    used_ms: AtomicU64,
}

/// A call that is under way. While one exists the session is in use.
#[derive(Debug)]
pub struct Call {
    session: Arc<Session>,
}

impl Session {
    pub(crate) fn new(
        id: String,
        key_id: String,
        image: String,
        created: Timestamp,
        idle_timeout: Duration,
        sandbox: Sandbox,
    ) -> Arc<Self> {
        let guest = guest_of(&sandbox);
        Arc::new(Self {
            id,
            key_id,
            image,
            created,
            idle_timeout,
            guest,
            sandbox,
            clock: Clock {
                epoch: Instant::now(),
                used_ms: AtomicU64::new(0),
            },
            calls: AtomicU32::new(0),
            end: watch::Sender::new(None),
        })
    }

    /// The id of what it runs in; clients see it as `resourceId` and `appInstanceId`.
    pub fn sandbox_id(&self) -> &str {
        self.sandbox.id().as_str()
    }

    /// Notes that a call begins; it ends when the value is dropped. Both moments count as use.
    pub fn begin_call(self: &Arc<Self>) -> Call {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.touch();
        Call {
            session: Arc::clone(self),
        }
    }

    /// Notes that the session was used now.
    pub fn touch(&self) {
        self.note_use(Duration::ZERO);
    }

    /// Notes that the session was used `ago`; never moves the clock back.
    pub(crate) fn note_use(&self, ago: Duration) {
        let at = self.clock.epoch.elapsed().saturating_sub(ago);
        self.clock.used_ms.fetch_max(millis(at), Ordering::Relaxed);
    }

    /// How long it has not been used, by what the server has seen. Zero while a call is under way.
    pub(crate) fn idle(&self) -> Duration {
        if self.calls.load(Ordering::Relaxed) > 0 {
            return Duration::ZERO;
        }
        let used = Duration::from_millis(self.clock.used_ms.load(Ordering::Relaxed));
        self.clock.epoch.elapsed().saturating_sub(used)
    }

    /// Completes when the session takes no more calls, with the reason.
    pub async fn ended(&self) -> EndReason {
        let mut end = self.end.subscribe();
        loop {
            if let Some(why) = *end.borrow_and_update() {
                return why;
            }
            if end.changed().await.is_err() {
                // The sender lives as long as `self`, so this is not reached.
                return EndReason::Crashed;
            }
        }
    }

    /// The reason for which it ended, if it has.
    pub fn end_reason(&self) -> Option<EndReason> {
        *self.end.borrow()
    }

    /// Tells everyone who waits that it is over. The first reason stays.
    pub(crate) fn announce_end(&self, why: EndReason) {
        self.end.send_if_modified(|end| {
            let first = end.is_none();
            end.get_or_insert(why);
            first
        });
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.session.touch();
        self.session.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The guest of a sandbox.
pub(crate) fn guest_of(sandbox: &Sandbox) -> Guest {
    let GuestAddress::Unix(socket) = sandbox.guest();
    Guest::new(socket.clone())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
