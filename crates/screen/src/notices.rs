//! What pages are told besides the picture: the pointer's shape, who looks and has control, others' pointers, and what
//! was copied. Sent when a page can take it, the latest of each kind only.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use x11rb::errors::ReplyError;
use x11rb::protocol::xfixes::ConnectionExt as _;
use x11rb::rust_connection::RustConnection;

use crate::core::Core;
use crate::cursor;
use crate::floor::{Abilities, Floor};
use crate::seat::Seat;
use crate::wire::server;

/// Between two shapes of the pointer: an animated one must not crowd out the picture.
const CURSOR_GAP: Duration = Duration::from_millis(50);

/// What there is to tell.
pub struct Notices {
    core: Arc<Core>,
    largest: Option<(u16, u16)>,
    cursor: Cursor,
}

/// How much of it one viewer was told.
pub struct Told {
    cursor: u64,
    state: u64,
    marks: u64,
    clipboard: u64,
}

/// The pointer's shape.
struct Cursor {
    message: Bytes,
    /// Counts shapes; no viewer has been shown shape 0.
    version: u64,
    changed: bool,
    not_before: Option<Instant>,
}

impl Notices {
    /// For pages of a screen that can be as large as this, if its size can change.
    pub fn new(core: Arc<Core>, largest: Option<(u16, u16)>) -> Self {
        Self {
            core,
            largest,
            cursor: Cursor {
                message: Bytes::new(),
                version: 0,
                changed: true,
                not_before: None,
            },
        }
    }

    /// What a viewer that comes now was told: nothing. What happened before it came is not told at all.
    pub fn nothing_told(&self) -> Told {
        Told {
            cursor: 0,
            state: 0,
            marks: self.core.marks(|marks| marks.last()),
            clipboard: self.core.clipboard.version(),
        }
    }

    /// The pointer may have another shape.
    pub fn cursor_changed(&mut self) {
        self.cursor.changed = true;
    }

    /// When to tell next; none while everyone who can be told knows.
    pub fn due<'a>(&self, told: impl Iterator<Item = (&'a Seat, &'a Told)>, now: Instant) -> Option<Instant> {
        let (state, marks, clipboard) = self.versions();
        let mut due: Option<Instant> = None;
        for (seat, told) in told {
            let news = told.state != state
                || told.marks != marks
                || told.clipboard != clipboard
                || seat.wants_clipboard();
            let shape = self.cursor.changed || told.cursor != self.cursor.version;
            if (news || shape) && seat.takes_message() {
                let at = if news {
                    now
                } else {
                    self.cursor
                        .not_before
                        .filter(|_| self.cursor.changed)
                        .unwrap_or(now)
                };
                due = Some(due.map_or(at, |due| due.min(at)));
            }
        }
        due
    }

    /// Looks at the pointer, if its shape may be another.
    pub fn look(&mut self, connection: &RustConnection, now: Instant) -> Result<(), ReplyError> {
        if !self.cursor.changed || self.cursor.not_before.is_some_and(|until| now < until) {
            return Ok(());
        }
        self.cursor.changed = false;
        self.cursor.not_before = Some(now + CURSOR_GAP);
        match connection.xfixes_get_cursor_image()?.reply() {
            Ok(image) => {
                let message = cursor::message(&cursor::Shape {
                    width: image.width,
                    height: image.height,
                    hot_x: image.xhot,
                    hot_y: image.yhot,
                    pixels: &image.cursor_image,
                });
                if message != self.cursor.message {
                    self.cursor.message = message;
                    self.cursor.version += 1;
                }
                Ok(())
            }
            // While a desktop starts there may be no shape to read; the next change brings one.
            Err(ReplyError::X11Error(error)) => {
                tracing::debug!(?error, "the pointer's shape cannot be read now");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Tells a viewer what it was not told yet.
    pub fn tell(&self, seat: &Seat, told: &mut Told) {
        let (state, marks, clipboard) = self.versions();
        let mut messages = Vec::new();
        if told.cursor != self.cursor.version {
            told.cursor = self.cursor.version;
            messages.push(self.cursor.message.clone());
        }
        if told.state != state {
            told.state = state;
            let abilities = Abilities {
                sound: self.core.has_sound(),
                largest: self.largest,
            };
            let json = self.core.floor(|floor| floor.state(seat.id, abilities));
            messages.push(server::state(seat.id, &json));
        }
        if told.marks != marks {
            let new = self.core.marks(|marks| marks.after(told.marks, seat.id));
            told.marks = marks;
            messages.extend(new.iter().map(server::mark));
        }
        let asked = seat.take_clipboard_wish();
        if told.clipboard != clipboard || asked {
            told.clipboard = clipboard;
            let may = self
                .core
                .floor(|floor| floor.rights(seat.id))
                .is_some_and(|rights| rights.clipboard_out);
            messages.extend(self.core.clipboard.content().message(asked).filter(|_| may));
        }
        if !messages.is_empty() {
            seat.send(messages);
        }
    }

    fn versions(&self) -> (u64, u64, u64) {
        (
            self.core.floor(Floor::version),
            self.core.marks(|marks| marks.last()),
            self.core.clipboard.version(),
        )
    }
}
