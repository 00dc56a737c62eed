//! What the handles and the two threads of a screen share: who watches, what input waits, and whether it ended.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::audience::ViewerId;
use crate::input::queue::InputQueue;
use crate::seat::Seat;
use crate::wake::Wake;

/// Viewers of one screen at a time; each costs a deflate stream, and a picture while it lags.
pub const MAX_VIEWERS: usize = 32;

/// Shared by all of a screen.
pub struct Core {
    /// Wakes the capture thread.
    pub capture: Wake,
    /// Input for the input thread.
    pub input: InputQueue,
    roster: Mutex<Roster>,
    roster_version: AtomicU64,
    stopping: AtomicBool,
    closed: watch::Sender<bool>,
}

#[derive(Default)]
struct Roster {
    seats: Vec<Arc<Seat>>,
    last_id: ViewerId,
    closed: bool,
}

impl Core {
    /// A screen without viewers.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            capture: Wake::new()?,
            input: InputQueue::new()?,
            roster: Mutex::default(),
            roster_version: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            closed: watch::Sender::new(false),
        })
    }

    fn roster(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A seat for a new viewer; closed from the start when the screen is gone or has [`MAX_VIEWERS`].
    pub fn seat(&self) -> Arc<Seat> {
        let mut roster = self.roster();
        roster.last_id += 1;
        let seat = Arc::new(Seat::new(roster.last_id));
        if roster.closed || roster.seats.len() >= MAX_VIEWERS {
            seat.close();
        } else {
            roster.seats.push(Arc::clone(&seat));
        }
        seat
    }

    /// A seat for one who acts and does not watch.
    pub fn unseen_seat(&self) -> Arc<Seat> {
        let mut roster = self.roster();
        roster.last_id += 1;
        Arc::new(Seat::unseen(roster.last_id))
    }

    /// A viewer is gone: forget it, and let go of what it held.
    pub fn leave(&self, seat: &Seat) {
        let mut roster = self.roster();
        let before = roster.seats.len();
        roster.seats.retain(|held| held.id != seat.id);
        let left = roster.seats.len() < before;
        drop(roster);
        // One that was never let in holds nothing, and nobody may be there any more to take its leave.
        if left {
            self.input.leave(seat.id);
            self.roster_changed();
        }
    }

    /// Tells the capture thread that a viewer came, greeted or went.
    pub fn roster_changed(&self) {
        self.roster_version.fetch_add(1, Ordering::AcqRel);
        self.capture.ring();
    }

    /// Counts the changes of the roster.
    pub fn roster_version(&self) -> u64 {
        self.roster_version.load(Ordering::Acquire)
    }

    /// All who watch, or are about to.
    pub fn seats(&self) -> Vec<Arc<Seat>> {
        self.roster().seats.clone()
    }

    /// Viewers now.
    pub fn viewers(&self) -> usize {
        self.roster().seats.len()
    }

    /// The last handle is gone: both threads end.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.capture.ring();
        self.input.ring();
    }

    /// Whether the threads are to end.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// The X server is gone, or the handles are: every viewer ends, and no new one begins.
    pub fn close(&self) {
        let seats = {
            let mut roster = self.roster();
            roster.closed = true;
            std::mem::take(&mut roster.seats)
        };
        for seat in seats {
            seat.close();
        }
        self.closed.send_replace(true);
        self.stop();
    }

    /// Turns true when the screen is gone.
    pub fn closed(&self) -> watch::Receiver<bool> {
        self.closed.subscribe()
    }
}
