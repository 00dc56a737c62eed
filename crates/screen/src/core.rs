//! What the handles and the threads of a screen share: who watches, what input waits, and whether it ended.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::audience::ViewerId;
use crate::clipboard::Clipboard;
use crate::floor::{Control, Floor, Visitor};
use crate::input::queue::InputQueue;
use crate::marks::{Actor, Marks};
use crate::seat::Seat;
use crate::wake::Wake;
use crate::wire::page::{Input, Verb};

/// Viewers of one screen at a time; each costs a picture while it lags.
pub const MAX_VIEWERS: usize = 32;

/// Those of shared tickets: they must not keep the owner out, or the owner's recorder.
const MAX_GUESTS: usize = 28;

/// Shared by all of a screen.
pub struct Core {
    /// Wakes the capture thread.
    pub capture: Wake,
    /// Input for the input thread.
    pub input: InputQueue,
    /// What is copied and pasted.
    pub clipboard: Clipboard,
    floor: Mutex<Floor>,
    control: watch::Sender<Control>,
    marks: Mutex<Marks>,
    /// There may be sound.
    has_sound: AtomicBool,
    sound_wanted: watch::Sender<bool>,
    /// The size that somebody wants the screen to have.
    size: Mutex<Option<(u16, u16)>>,
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
            clipboard: Clipboard::new()?,
            floor: Mutex::default(),
            control: watch::Sender::new(Floor::default().control()),
            marks: Mutex::default(),
            has_sound: AtomicBool::new(false),
            sound_wanted: watch::Sender::new(false),
            size: Mutex::default(),
            roster: Mutex::default(),
            roster_version: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            closed: watch::Sender::new(false),
        })
    }

    fn roster(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who looks and who has control; what changes is told to the pages and to who waits for it.
    fn change_floor<T>(&self, change: impl FnOnce(&mut Floor) -> T) -> T {
        let mut floor = self.floor.lock().unwrap_or_else(PoisonError::into_inner);
        let (version, holder) = (floor.version(), floor.holder());
        let result = change(&mut floor);
        if floor.version() != version {
            self.control.send_replace(floor.control());
            // What it held down, nobody could let go of any more.
            if let Some(former) = holder.filter(|_| floor.holder() != holder) {
                self.input.leave(former);
            }
            drop(floor);
            self.capture.ring();
        }
        result
    }

    /// Looks at who looks.
    pub fn floor<T>(&self, look: impl FnOnce(&Floor) -> T) -> T {
        look(&self.floor.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Turns with every change of who looks and who has control.
    pub fn control(&self) -> watch::Receiver<Control> {
        self.control.subscribe()
    }

    /// A viewer asks something about control.
    pub fn request_control(&self, viewer: ViewerId, verb: Verb, other: ViewerId) {
        self.change_floor(|floor| floor.request(viewer, verb, other));
    }

    /// Whether what a viewer does counts; if it does, the others are shown it.
    pub fn person_acts(&self, viewer: ViewerId, input: &Input<'_>) -> bool {
        if !self.change_floor(|floor| floor.acts(viewer)) {
            return false;
        }
        if self.viewers() > 1 {
            self.mark(Actor::Person(viewer), input);
        }
        true
    }

    /// A program acts, and people are shown it.
    pub fn agent_acts(&self, input: &Input<'_>) {
        if self.viewers() > 0 {
            self.mark(Actor::Agent, input);
        }
    }

    fn mark(&self, actor: Actor, input: &Input<'_>) {
        self.marks(|marks| marks.add(actor, input));
        self.capture.ring();
    }

    /// What pointers did lately.
    pub fn marks<T>(&self, look: impl FnOnce(&mut Marks) -> T) -> T {
        look(&mut self.marks.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether there may be sound.
    pub fn has_sound(&self) -> bool {
        self.has_sound.load(Ordering::Acquire)
    }

    /// There may be sound: turns true while somebody wants to hear it.
    pub fn offer_sound(&self) -> watch::Receiver<bool> {
        self.has_sound.store(true, Ordering::Release);
        self.change_floor(Floor::touch);
        self.sound_wanted.subscribe()
    }

    /// Tells whoever makes the sound whether it is wanted.
    pub fn follow_listeners(&self) {
        let wanted = self.seats().iter().any(|seat| seat.wants_sound());
        self.sound_wanted
            .send_if_modified(|known| std::mem::replace(known, wanted) != wanted);
    }

    /// Somebody wants the screen to have another size.
    pub fn want_size(&self, width: u16, height: u16) {
        *self.size.lock().unwrap_or_else(PoisonError::into_inner) = Some((width, height));
        self.capture.ring();
    }

    /// The size that is wanted, once.
    pub fn take_size(&self) -> Option<(u16, u16)> {
        self.size.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// A seat for a new viewer; closed from the start when the screen is gone or has [`MAX_VIEWERS`].
    pub fn seat(&self, visitor: Visitor) -> Arc<Seat> {
        let mut roster = self.roster();
        roster.last_id += 1;
        let seat = Arc::new(Seat::new(roster.last_id));
        let most = if visitor.ticket.is_empty() {
            MAX_VIEWERS
        } else {
            MAX_GUESTS
        };
        if roster.closed || roster.seats.len() >= most {
            seat.close();
        } else {
            roster.seats.push(Arc::clone(&seat));
            drop(roster);
            self.change_floor(|floor| floor.enter(seat.id, visitor));
            self.follow_readers();
        }
        seat
    }

    fn follow_readers(&self) {
        let seats = self.seats();
        let reads = |seat: &Arc<Seat>| {
            self.floor(|floor| floor.rights(seat.id))
                .is_some_and(|rights| rights.clipboard_out)
        };
        self.clipboard.set_read(seats.iter().any(reads));
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
            self.change_floor(|floor| floor.leave(seat.id));
            self.follow_readers();
            self.follow_listeners();
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
        self.clipboard.ring();
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
