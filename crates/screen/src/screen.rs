//! The handles: a [`Screen`], and a [`Viewer`] of it.

use std::sync::{Arc, Weak};
use std::time::Instant;
use std::{fmt, thread};

use crate::agent::Agent;
use crate::capture::Capture;
use crate::clipboard::thread::Keeper;
use crate::core::Core;
use crate::error::ScreenError;
use crate::floor::{Control, Visitor};
use crate::input::thread::Injector;
use crate::seat::Seat;
use crate::wire::WireError;
use crate::wire::page::{self, Input, Message};
use crate::wire::server;
use bytes::Bytes;

/// A display that can be watched and driven. Cheap to clone; the last handle or viewer that goes ends its two threads.
#[derive(Clone)]
pub struct Screen {
    shared: Arc<Shared>,
}

/// Ends the threads with the last handle.
pub(crate) struct Shared {
    pub(crate) core: Arc<Core>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.core.stop();
    }
}

/// Closes the screen when a thread ends, also when it panics.
struct Ended(Arc<Core>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Screen {
    /// Connects to an X server, such as `:1`. Blocks for a few round trips.
    pub fn open(display: &str) -> Result<Self, ScreenError> {
        let core = Arc::new(Core::new().map_err(ScreenError::Threads)?);
        let capture = Capture::open(display, Arc::clone(&core))?;
        let injector = Injector::open(display, Arc::clone(&core))?;
        let keeper = Keeper::open(display, Arc::clone(&core))?;
        // From here on a failure drops `shared`, which stops whichever thread has begun.
        let shared = Arc::new(Shared { core });
        let begin = |name: &str, run: Box<dyn FnOnce() + Send>| {
            // Without one of its threads a screen is no use, so the end of either is the end of both.
            let ended = Ended(Arc::clone(&shared.core));
            let run = move || {
                let _ended = ended;
                run();
            };
            thread::Builder::new()
                .name(name.into())
                .spawn(run)
                .map_err(ScreenError::Threads)
        };
        begin("screen-capture", Box::new(move || capture.run()))?;
        begin("screen-input", Box::new(move || injector.run()))?;
        begin("screen-clipboard", Box::new(move || keeper.run()))?;
        Ok(Self { shared })
    }

    /// A screen whose threads are the caller's concern.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn of(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// A new viewer. It ends at once when the screen is closed or has [`MAX_VIEWERS`](crate::MAX_VIEWERS) already.
    pub fn attach(&self, visitor: Visitor) -> Viewer {
        let seat = self.shared.core.seat(visitor);
        Viewer {
            seat,
            shared: Arc::clone(&self.shared),
        }
    }

    /// A program's mouse and keyboard on the screen. It watches nothing and is no viewer.
    pub fn agent(&self) -> Agent {
        Agent::new(self.shared.core.unseen_seat(), Arc::clone(&self.shared))
    }

    /// A handle that does not keep the screen's threads.
    pub fn downgrade(&self) -> WeakScreen {
        WeakScreen(Arc::downgrade(&self.shared))
    }

    /// Who looks and who has control; changes whenever that does.
    pub fn control(&self) -> tokio::sync::watch::Receiver<Control> {
        self.shared.core.control()
    }

    /// Says that there may be sound. Turns true while somebody wants to hear it; then call [`Self::send_sound`].
    pub fn offer_sound(&self) -> tokio::sync::watch::Receiver<bool> {
        self.shared.core.offer_sound()
    }

    /// Sends 20 ms of sound, an Opus packet, to those who want to hear it. Silent packets are left out, not their numbers.
    pub fn send_sound(&self, seq: u32, packet: &[u8]) {
        let message = server::sound(seq, packet);
        for seat in self.shared.core.seats() {
            seat.send_sound(&message);
        }
    }

    /// Viewers that are attached now.
    pub fn viewers(&self) -> usize {
        self.shared.core.viewers()
    }

    /// Whether the X server is gone. A closed screen stays closed; open a new one.
    pub fn is_closed(&self) -> bool {
        *self.shared.core.closed().borrow()
    }

    /// Waits until the X server is gone.
    pub async fn closed(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.shared.core.closed().wait_for(|closed| *closed).await;
    }
}

/// A [`Screen`] that may be gone.
#[derive(Clone)]
pub struct WeakScreen(Weak<Shared>);

impl WeakScreen {
    /// The screen, while somebody else holds it.
    pub fn upgrade(&self) -> Option<Screen> {
        self.0.upgrade().map(|shared| Screen { shared })
    }
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screen")
            .field("viewers", &self.viewers())
            .field("closed", &self.is_closed())
            .finish()
    }
}

/// One page that watches and drives a screen. Dropping it lets go of every key and button that it held.
pub struct Viewer {
    seat: Arc<Seat>,
    shared: Arc<Shared>,
}

/// What a message of the page was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// A person did something; acknowledgements and the release of all keys are not that.
    pub input: bool,
}

impl Viewer {
    /// The next binary message for the page; none when the screen is gone. Nothing comes before the page's hello.
    ///
    /// Ask for the next message when the last one is sent: asking is what makes the screen encode. Cancel safe.
    pub async fn next(&self) -> Option<Bytes> {
        self.seat.next(|| self.shared.core.capture.ring()).await
    }

    /// Whether the page has been silent for so long, with something to answer, that nobody may be there any more: 10 s
    /// without a hello, a minute without an acknowledgement. Its place is for others then, and its control.
    pub fn is_forsaken(&self) -> bool {
        self.seat.is_forsaken(Instant::now())
    }

    /// Takes one binary message of the page. Never blocks. After an error, close the page's socket.
    pub fn receive(&self, message: &[u8]) -> Result<Received, WireError> {
        let core = &self.shared.core;
        let message = page::parse(message)?;
        if self.seat.page().is_none() && !matches!(message, Message::Hello(_)) {
            return Err(WireError::Order("anything but hello"));
        }
        match message {
            Message::Hello(hello) => {
                self.seat.greet(hello)?;
                core.roster_changed();
            }
            Message::Received(seq) | Message::Painted(seq) => {
                if self
                    .seat
                    .acknowledge(seq, matches!(message, Message::Painted(_)))?
                {
                    core.capture.ring();
                }
            }
            Message::VideoFailed(failure) => {
                self.seat.video_failed(failure);
                core.roster_changed();
            }
            Message::Resize { width, height } => {
                if core.floor(|floor| floor.could_act(self.seat.id)) {
                    core.want_size(width, height);
                }
            }
            Message::Control(verb, other) => core.request_control(self.seat.id, verb, other),
            Message::Sound(wanted) => {
                self.seat.set_sound(wanted);
                core.follow_listeners();
            }
            Message::FetchClipboard => {
                self.seat.fetch_clipboard();
                core.capture.ring();
            }
            Message::Input(seq, input) => {
                if !self.may(&input) {
                    return Ok(Received { input: false });
                }
                core.input.push(&self.seat, seq, &input)?;
                return Ok(Received {
                    input: input != Input::Release,
                });
            }
        }
        Ok(Received { input: false })
    }
}

impl Viewer {
    /// Whether what the person does counts: who has no control only looks.
    fn may(&self, input: &Input<'_>) -> bool {
        let core = &self.shared.core;
        let may_paste = || {
            core.floor(|floor| floor.rights(self.seat.id))
                .is_some_and(|rights| rights.clipboard_in)
        };
        match input {
            // Held by whoever had control; it may be let go by then.
            Input::Release => true,
            Input::Clipboard(_) if !may_paste() => false,
            _ => core.person_acts(self.seat.id, input),
        }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.shared.core.leave(&self.seat);
    }
}

impl fmt::Debug for Viewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Viewer")
            .field("id", &self.seat.id)
            .finish_non_exhaustive()
    }
}
