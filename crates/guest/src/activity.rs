//! When the session was last used. Asking for it is not a use.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use berth_guest_api::Activity;

/// The clock of uses; cheap to clone.
#[derive(Debug, Clone)]
pub struct Clock {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    started: Instant,
    /// Milliseconds after `started`.
    last_use: AtomicU64,
    running: AtomicU32,
    viewers: AtomicU32,
}

/// Work that goes on; the session counts as used until this is dropped.
#[derive(Debug)]
pub struct Running(Clock);

/// An open live view. Watching is not a use; a person's input is.
#[derive(Debug)]
pub struct Viewing(Clock);

impl Default for Clock {
    fn default() -> Self {
        Self {
            inner: Arc::new(Inner {
                started: Instant::now(),
                last_use: AtomicU64::new(0),
                running: AtomicU32::new(0),
                viewers: AtomicU32::new(0),
            }),
        }
    }
}

impl Clock {
    /// The session is used now.
    pub fn touch(&self) {
        self.inner.last_use.fetch_max(self.now_ms(), Ordering::Relaxed);
    }

    /// Work begins.
    pub fn run(&self) -> Running {
        self.inner.running.fetch_add(1, Ordering::Relaxed);
        Running(self.clone())
    }

    /// A live view opens.
    pub fn view(&self) -> Viewing {
        self.inner.viewers.fetch_add(1, Ordering::Relaxed);
        Viewing(self.clone())
    }

    /// The answer for the edge.
    pub fn report(&self) -> Activity {
        let running = self.inner.running.load(Ordering::Relaxed);
        let since = self
            .now_ms()
            .saturating_sub(self.inner.last_use.load(Ordering::Relaxed));
        Activity {
            idle_ms: if running > 0 { 0 } else { since },
            running,
            viewers: self.inner.viewers.load(Ordering::Relaxed),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.inner.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The end of work is a use too; touched first, so that no moment looks idle.
        self.0.touch();
        self.0.inner.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Viewing {
    fn drop(&mut self) {
        self.0.inner.viewers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_work_is_never_idle() {
        let clock = Clock::default();
        let (first, second) = (clock.run(), clock.run());
        drop(first);
        assert_eq!((clock.report().idle_ms, clock.report().running), (0, 1));
        drop(second);
        assert_eq!(clock.report().running, 0);
    }
}
