//! What the clipboard holds, between the pages and the thread that speaks of it with the X server.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::wake::Wake;
use crate::wire::server::Clip;

pub mod thread;

/// How long keys wait for the text that they are to paste.
const OWN_TIME_MAX: Duration = Duration::from_millis(300);

/// Bytes of text that pages are told without asking.
const PUSHED_BYTES: usize = 64 << 10;

/// What applications put into the clipboard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Content {
    /// Nothing that a page could use.
    #[default]
    Nothing,
    /// Text.
    Text(Bytes),
    /// A picture as PNG.
    Png(Bytes),
}

impl Content {
    /// What a page is told: the content, or, if it is large and was not `asked` for, that there is some.
    pub fn message(&self, asked: bool) -> Option<Bytes> {
        use crate::wire::server::clipboard;
        // Both are bounded far below 4 GiB.
        let announce = |clip, bytes: &Bytes| clipboard(clip, &(bytes.len() as u32).to_le_bytes());
        match self {
            Self::Nothing => None,
            Self::Text(text) if asked || text.len() <= PUSHED_BYTES => Some(clipboard(Clip::Text, text)),
            Self::Text(text) => Some(announce(Clip::LongText, text)),
            Self::Png(png) if asked => Some(clipboard(Clip::Png, png)),
            Self::Png(png) => Some(announce(Clip::LongPng, png)),
        }
    }
}

/// Shared by a screen's threads.
pub struct Clipboard {
    state: Mutex<State>,
    owned: Condvar,
    wake: Wake,
    is_read: AtomicBool,
}

#[derive(Default)]
struct State {
    /// A text that the display is to offer, until the thread takes it.
    wanted: Option<Box<str>>,
    /// Texts that were wanted, and that are offered.
    asked: u64,
    done: u64,
    content: Content,
    version: u64,
}

impl Clipboard {
    /// Nothing is known of it.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            state: Mutex::default(),
            owned: Condvar::new(),
            wake: Wake::new()?,
            is_read: AtomicBool::new(false),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Offers `text` to applications; returns when it is offered, or when that takes too long.
    pub fn put(&self, text: &str) {
        let mut state = self.state();
        state.wanted = Some(text.into());
        state.asked += 1;
        let ticket = state.asked;
        self.wake.ring();
        let _state = self
            .owned
            .wait_timeout_while(state, OWN_TIME_MAX, |state| state.done < ticket);
    }

    /// Whether a page may read it: else nobody looks at what applications copy.
    pub fn set_read(&self, is_read: bool) {
        self.is_read.store(is_read, Ordering::Release);
    }

    /// Counts what applications copied.
    pub fn version(&self) -> u64 {
        self.state().version
    }

    /// What it holds.
    pub fn content(&self) -> Content {
        self.state().content.clone()
    }

    /// Wakes the thread.
    pub fn ring(&self) {
        self.wake.ring();
    }
}
