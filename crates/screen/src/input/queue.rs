//! Input on its way from the viewers to the input thread, in the order in which it came.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::audience::ViewerId;
use crate::seat::Seat;
use crate::wake::Wake;
use crate::wire::WireError;
use crate::wire::page::{Input, MAX_CLIPBOARD_BYTES, Modifiers, Position};

/// Inputs that may wait. More than a person makes in the longest time that typing a text takes; a page that sends
/// more is closed. Pointer moves replace each other, so they do not add up.
pub const MAX_WAITING: usize = 512;
/// Bytes of text that may wait: what one paste brings, and some typing.
pub const MAX_TEXT_BYTES: usize = MAX_CLIPBOARD_BYTES + (256 << 10);

/// One thing to do.
pub enum Command {
    /// What a person did.
    Input {
        /// Who did it.
        seat: Arc<Seat>,
        /// Its number.
        seq: u32,
        /// What.
        action: Action,
    },
    /// A viewer is gone: let go of what it held.
    Leave(ViewerId),
}

/// [`Input`], owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The pointer moved.
    Pointer(Position),
    /// A button went down or up.
    Button {
        /// X's number.
        button: u8,
        /// Down, or up.
        down: bool,
        /// Where.
        at: Position,
    },
    /// The wheel turned.
    Wheel {
        /// Sideways.
        dx: i16,
        /// Upright.
        dy: i16,
        /// Where.
        at: Position,
    },
    /// A key went down or up.
    Key {
        /// Down, or up.
        down: bool,
        /// Held long enough to repeat.
        repeat: bool,
        /// Held with it.
        modifiers: Modifiers,
        /// `KeyboardEvent.code`.
        code: Box<str>,
        /// `KeyboardEvent.key`.
        key: Box<str>,
    },
    /// Text to type.
    Text(Box<str>),
    /// Text for the clipboard.
    Clipboard(Box<str>),
    /// Nothing is held any more.
    Release,
}

impl Action {
    fn text_bytes(&self) -> usize {
        match self {
            Self::Text(text) | Self::Clipboard(text) => text.len(),
            Self::Pointer(_)
            | Self::Button { .. }
            | Self::Wheel { .. }
            | Self::Key { .. }
            | Self::Release => 0,
        }
    }
}

impl From<&Input<'_>> for Action {
    fn from(input: &Input<'_>) -> Self {
        match *input {
            Input::Pointer(at) => Self::Pointer(at),
            Input::Button { button, down, at } => Self::Button { button, down, at },
            Input::Wheel { dx, dy, at } => Self::Wheel { dx, dy, at },
            Input::Key(key) => Self::Key {
                down: key.down,
                repeat: key.repeat,
                modifiers: key.modifiers,
                code: key.code.into(),
                key: key.key.into(),
            },
            Input::Text(text) => Self::Text(text.into()),
            Input::Clipboard(text) => Self::Clipboard(text.into()),
            Input::Release => Self::Release,
        }
    }
}

/// The queue, and the bell that says that something is in it.
pub struct InputQueue {
    waiting: Mutex<Waiting>,
    wake: Wake,
}

#[derive(Default)]
struct Waiting {
    commands: VecDeque<Command>,
    text_bytes: usize,
}

impl InputQueue {
    /// An empty queue.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            waiting: Mutex::default(),
            wake: Wake::new()?,
        })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what `seat`'s viewer did, or refuses when too much waits.
    pub fn push(&self, seat: &Arc<Seat>, seq: u32, input: &Input<'_>) -> Result<(), WireError> {
        let mut waiting = self.waiting();
        if let (
            Input::Pointer(at),
            Some(Command::Input {
                seat: last,
                seq: old,
                action: Action::Pointer(before),
            }),
        ) = (input, waiting.commands.back_mut())
            && last.id == seat.id
        {
            (*before, *old) = (*at, seq);
            return Ok(());
        }
        let action = Action::from(input);
        let text_bytes = action.text_bytes();
        if waiting.commands.len() >= MAX_WAITING || waiting.text_bytes + text_bytes > MAX_TEXT_BYTES {
            return Err(WireError::Overrun(waiting.commands.len()));
        }
        waiting.text_bytes += text_bytes;
        waiting.commands.push_back(Command::Input {
            seat: Arc::clone(seat),
            seq,
            action,
        });
        drop(waiting);
        self.wake.ring();
        Ok(())
    }

    /// Adds that a viewer is to let go of what it holds. Never refused, but once is enough where it did nothing since:
    /// besides inputs there wait at most as many as there were viewers.
    pub fn leave(&self, viewer: ViewerId) {
        let mut waiting = self.waiting();
        let last = waiting.commands.iter().rev().find_map(|command| match command {
            Command::Leave(id) => (*id == viewer).then_some(true),
            Command::Input { seat, .. } => (seat.id == viewer).then_some(false),
        });
        if last != Some(true) {
            waiting.commands.push_back(Command::Leave(viewer));
        }
        drop(waiting);
        self.wake.ring();
    }

    /// Commands that wait, and the bytes of their texts.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn waiting_now(&self) -> (usize, usize) {
        let waiting = self.waiting();
        let texts = waiting.commands.iter().map(|command| match command {
            Command::Input { action, .. } => action.text_bytes(),
            Command::Leave(_) => 0,
        });
        let bytes = texts.sum();
        assert_eq!(bytes, waiting.text_bytes, "the bytes of the texts are counted");
        (waiting.commands.len(), bytes)
    }

    /// Takes out the oldest.
    pub fn pop(&self) -> Option<Command> {
        let mut waiting = self.waiting();
        let command = waiting.commands.pop_front();
        if let Some(Command::Input { action, .. }) = &command {
            waiting.text_bytes -= action.text_bytes();
        }
        command
    }

    /// Wakes the thread without input.
    pub fn ring(&self) {
        self.wake.ring();
    }

    /// Sleeps until there is input or something to read on `connection`.
    pub fn sleep(&self, connection: &impl AsFd) -> io::Result<()> {
        self.wake.sleep(connection, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_replace_each_other_and_the_rest_is_bounded() {
        let queue = InputQueue::new().unwrap();
        let seat = Arc::new(Seat::new(1));
        for n in 1..=2000u32 {
            let at = Position { x: n as u16, y: 0 };
            queue.push(&seat, n, &Input::Pointer(at)).unwrap();
        }
        let Some(Command::Input { seq, action, .. }) = queue.pop() else {
            panic!("a move")
        };
        assert_eq!((seq, action), (2000, Action::Pointer(Position { x: 2000, y: 0 })));
        assert!(queue.pop().is_none());
        let accepted = (0..2000)
            .take_while(|n| queue.push(&seat, *n, &Input::Release).is_ok())
            .count();
        assert_eq!(accepted, MAX_WAITING);
    }

    #[test]
    fn letting_go_twice_waits_once() {
        let queue = InputQueue::new().unwrap();
        let seat = Arc::new(Seat::new(1));
        (0..2000).for_each(|_| queue.leave(1));
        assert_eq!(queue.waiting_now().0, 1);
        queue.push(&seat, 1, &Input::Release).unwrap();
        (0..2000).for_each(|n| queue.leave(1 + n % 2));
        assert_eq!(queue.waiting_now().0, 4);
    }

    #[test]
    fn text_is_bounded_by_its_bytes_and_room_comes_back() {
        let queue = InputQueue::new().unwrap();
        let seat = Arc::new(Seat::new(1));
        let text = "x".repeat(60_000);
        let accepted = (0..50)
            .take_while(|n| queue.push(&seat, *n, &Input::Text(&text)).is_ok())
            .count();
        assert_eq!(accepted, MAX_TEXT_BYTES / 60_000);
        assert!(queue.pop().is_some());
        queue.push(&seat, 99, &Input::Text(&text)).unwrap();
    }
}
