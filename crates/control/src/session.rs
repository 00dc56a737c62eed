//! A live session in memory: where its guest is, who owns it, and when it was last used.
//!
//! The row in the store is the truth about its state; this is what every call needs without asking the store.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use berth_guest_client::Guest;
use berth_sandbox::{GuestAddress, Sandbox};
use berth_store::TicketDigest;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::life::{End, EndReason};
use crate::quota::Admission;

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
    /// The memory that it may use, in bytes.
    pub memory_bytes: u64,
    clock: Clock,
    calls: AtomicU32,
    views: AtomicU32,
    /// What goes on with a ticket, each under a number of its own.
    held: Mutex<HashMap<u64, (TicketDigest, CancellationToken)>>,
    /// Held while it is being frozen or thawed.
    pub(crate) pausing: tokio::sync::Mutex<()>,
    paused: watch::Sender<bool>,
    end: watch::Sender<Option<End>>,
    /// Its place in its key's counts, until its end is decided.
    admission: Mutex<Option<Admission>>,
}

/// What a new [`Session`] is made of.
pub(crate) struct Parts {
    pub(crate) id: String,
    pub(crate) key_id: String,
    pub(crate) image: String,
    pub(crate) created: Timestamp,
    pub(crate) idle_timeout: Duration,
    pub(crate) memory_bytes: u64,
    pub(crate) paused: bool,
    pub(crate) sandbox: Sandbox,
    pub(crate) admission: Admission,
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
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            guest: guest_of(&parts.sandbox),
            id: parts.id,
            key_id: parts.key_id,
            image: parts.image,
            created: parts.created,
            idle_timeout: parts.idle_timeout,
            memory_bytes: parts.memory_bytes,
            sandbox: parts.sandbox,
            clock: Clock {
                epoch: Instant::now(),
                used_ms: AtomicU64::new(0),
            },
            calls: AtomicU32::new(0),
            views: AtomicU32::new(0),
            held: Mutex::default(),
            pausing: tokio::sync::Mutex::new(()),
            paused: watch::Sender::new(parts.paused),
            end: watch::Sender::new(None),
            admission: Mutex::new(Some(parts.admission)),
        })
    }

    /// The id of what it runs in; clients see it as `resourceId` and `appInstanceId`.
    pub fn sandbox_id(&self) -> &str {
        self.sandbox.id().as_str()
    }

    /// Notes that a call begins; it ends when the value is dropped. Both moments count as use.
    pub(crate) fn note_call(self: &Arc<Self>) -> Call {
        // In one order with `set_paused`: either this call sees the pause, or who pauses sees this call.
        self.calls.fetch_add(1, Ordering::SeqCst);
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

    /// Is a call under way?
    pub(crate) fn is_in_use(&self) -> bool {
        self.calls.load(Ordering::SeqCst) > 0
    }

    /// Are its processes frozen?
    pub fn is_paused(&self) -> bool {
        *self.paused.borrow()
    }

    /// Completes when the session is paused.
    pub async fn paused(&self) {
        let mut paused = self.paused.subscribe();
        if paused.wait_for(|paused| *paused).await.is_err() {
            // The sender lives as long as `self`, so this is not reached.
            std::future::pending().await
        }
    }

    pub(crate) fn set_paused(&self, paused: bool) {
        self.paused.send_replace(paused);
    }

    /// Notes that somebody looks at its live view, until the value is dropped.
    pub fn begin_view(self: &Arc<Self>) -> View {
        self.views.fetch_add(1, Ordering::Relaxed);
        View(Arc::clone(self))
    }

    /// Live views that are open now.
    pub fn viewers(&self) -> u32 {
        self.views.load(Ordering::Relaxed)
    }

    /// Notes that something goes on with a ticket, until the value is dropped.
    pub(crate) fn hold(self: &Arc<Self>, ticket: TicketDigest) -> Held {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let cut = CancellationToken::new();
        self.held_now().insert(number, (ticket, cut.clone()));
        Held {
            session: Arc::clone(self),
            number,
            cut,
        }
    }

    /// The tickets with which something goes on.
    pub(crate) fn held(&self) -> Vec<TicketDigest> {
        self.held_now()
            .values()
            .map(|(ticket, _)| ticket.clone())
            .collect()
    }

    /// Ends what goes on with these tickets.
    pub(crate) fn cut(&self, tickets: &HashSet<TicketDigest>) {
        let held = self.held_now();
        let revoked = held.values().filter(|(ticket, _)| tickets.contains(ticket));
        revoked.for_each(|(_, cut)| cut.cancel());
    }

    fn held_now(&self) -> MutexGuard<'_, HashMap<u64, (TicketDigest, CancellationToken)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long it has not been used, by what the server has seen. Zero while a call is under way.
    pub fn idle(&self) -> Duration {
        if self.is_in_use() {
            return Duration::ZERO;
        }
        let used = Duration::from_millis(self.clock.used_ms.load(Ordering::Relaxed));
        self.clock.epoch.elapsed().saturating_sub(used)
    }

    /// Completes when the session takes no more calls, with the reason.
    pub async fn ended(&self) -> End {
        let mut ended = self.end.subscribe();
        match ended.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(end)) => end.clone(),
            // The sender lives as long as `self`, so this is not reached.
            Ok(None) | Err(_) => EndReason::Crashed.into(),
        }
    }

    /// Tells everyone who waits that it is over, and gives its place back. The first reason stays.
    pub(crate) fn announce_end(&self, end: End) {
        drop(
            self.admission
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        self.end.send_if_modified(|told| {
            let first = told.is_none();
            told.get_or_insert(end);
            first
        });
    }
}

/// A live view that is open.
#[derive(Debug)]
pub struct View(Arc<Session>);

impl Drop for View {
    fn drop(&mut self) {
        self.0.views.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Something that goes on with a ticket.
#[derive(Debug)]
pub struct Held {
    session: Arc<Session>,
    number: u64,
    cut: CancellationToken,
}

impl Held {
    /// Completes when the ticket is revoked.
    pub async fn revoked(&self) {
        self.cut.cancelled().await;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.session.held_now().remove(&self.number);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.session.touch();
        self.session.calls.fetch_sub(1, Ordering::SeqCst);
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
