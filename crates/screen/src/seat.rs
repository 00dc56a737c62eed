//! Where a viewer and the capture thread meet: the messages that wait for the page, and whether it can take more.
//!
//! A seat *waits* from the moment its viewer asks for a message and there is none. Only then, and while its window is
//! open, is anything encoded for it: so at most one update waits here, and it is as fresh as the socket is free.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::audience::ViewerId;
use crate::encode::Allowance;
use crate::flow::Flow;
use crate::wire::WireError;
use crate::wire::page::{Hello, VideoFailure};

/// Packets of sound that wait for a viewer: 120 ms.
const MAX_SOUND: usize = 6;

/// How long a page may take to say hello, and to acknowledge an update.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// What one viewer and the screen share.
pub struct Seat {
    /// The viewer.
    pub id: ViewerId,
    since: Instant,
    state: Mutex<State>,
    arrived: Notify,
    input_applied: AtomicU32,
    input_news: Notify,
    /// Nobody watches from here; whoever acts asks the X server next, on another connection.
    pub is_unseen: bool,
}

#[derive(Default)]
struct State {
    page: Option<Hello>,
    flow: Flow,
    failure: Option<VideoFailure>,
    wants_clipboard: bool,
    wants_sound: bool,
    /// Packets of sound, which go before anything else.
    sound: VecDeque<Bytes>,
    /// Bounded by `waiting`: a hello, one round of notices and an update of two parts at most.
    queue: VecDeque<Bytes>,
    waiting: bool,
    /// The capture thread has something for it and wants to hear when it can take that.
    wanted: bool,
    closed: bool,
}

impl State {
    fn is_open(&self) -> bool {
        self.waiting && self.flow.is_open()
    }

    /// Whether the capture thread is to be told that this viewer can take something now.
    fn call(&mut self) -> bool {
        let call = self.wanted && self.waiting;
        self.wanted &= !call;
        call
    }
}

impl Seat {
    /// A seat for a page that has not said hello.
    pub fn new(id: ViewerId) -> Self {
        Self {
            id,
            since: Instant::now(),
            state: Mutex::default(),
            arrived: Notify::new(),
            input_applied: AtomicU32::new(0),
            input_news: Notify::new(),
            is_unseen: false,
        }
    }

    /// A seat for one who acts and does not watch.
    pub fn unseen(id: ViewerId) -> Self {
        Self {
            is_unseen: true,
            ..Self::new(id)
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way through a change, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // For the viewer.

    /// The next message, or none when the screen is gone. Calls `wake` when the capture thread waits for this.
    pub async fn next(&self, wake: impl Fn()) -> Option<Bytes> {
        loop {
            let arrived = self.arrived.notified();
            let call = {
                let mut state = self.state();
                let next = state.sound.pop_front();
                if let Some(message) = next.or_else(|| state.queue.pop_front()) {
                    return Some(message);
                }
                if state.closed {
                    return None;
                }
                state.waiting = true;
                state.call()
            };
            if call {
                wake();
            }
            arrived.await;
        }
    }

    /// The page said hello. It may say the same twice: with its URL, and on its socket.
    pub fn greet(&self, page: Hello) -> Result<(), WireError> {
        let mut state = self.state();
        match state.page.replace(page) {
            Some(known) if known != page => return Err(WireError::Order("hello")),
            Some(_) => {}
            None if page.is_near => state.flow.set_near(),
            None => {}
        }
        Ok(())
    }

    /// Whether the page owes a word for so long that nobody may be there any more.
    pub fn is_forsaken(&self, now: Instant) -> bool {
        let state = self.state();
        let (since, patience) = match state.page {
            None => (Some(self.since), HELLO_TIMEOUT),
            Some(_) => (state.flow.waits_since(), ANSWER_TIMEOUT),
        };
        since.is_some_and(|since| now.saturating_duration_since(since) > patience)
    }

    /// The page has, or has painted, an update. True: the capture thread is to be woken.
    pub fn acknowledge(&self, seq: u32, painted: bool) -> Result<bool, WireError> {
        let mut state = self.state();
        let known = if painted {
            state.flow.painted(seq)
        } else {
            state.flow.received(seq, Instant::now())
        };
        known.map_err(|never| WireError::Acknowledged(never.0))?;
        Ok(state.flow.is_open() && state.call())
    }

    /// The page cannot decode the video.
    pub fn video_failed(&self, failure: VideoFailure) {
        let mut state = self.state();
        if failure == VideoFailure::Broken
            && let Some(page) = &mut state.page
        {
            page.decodes_video = false;
        }
        state.failure = Some(failure);
    }

    /// The page wants sound, or none.
    pub fn set_sound(&self, wanted: bool) {
        self.state().wants_sound = wanted;
    }

    /// Whether it wants sound.
    pub fn wants_sound(&self) -> bool {
        self.state().wants_sound
    }

    /// Hands sound to the viewer, if it wants any. What it could not take for long is not worth hearing any more.
    pub fn send_sound(&self, packet: &Bytes) {
        let mut state = self.state();
        if !state.wants_sound {
            return;
        }
        if state.sound.len() == MAX_SOUND {
            state.sound.pop_front();
        }
        state.sound.push_back(packet.clone());
        drop(state);
        self.arrived.notify_one();
    }

    /// The page asks for the clipboard's content.
    pub fn fetch_clipboard(&self) {
        self.state().wants_clipboard = true;
    }

    // For the capture thread.

    /// Whether the page asks for the clipboard's content.
    pub fn wants_clipboard(&self) -> bool {
        self.state().wants_clipboard
    }

    /// The same, once.
    pub fn take_clipboard_wish(&self) -> bool {
        std::mem::take(&mut self.state().wants_clipboard)
    }

    /// What the page's decoder complained of since it was asked last.
    pub fn take_failure(&self) -> Option<VideoFailure> {
        self.state().failure.take()
    }

    /// What the page said of itself, once it has.
    pub fn page(&self) -> Option<Hello> {
        self.state().page
    }

    /// What the next update may have; none when the viewer can take none, and then it calls when it can.
    pub fn allowance(&self) -> Option<Allowance> {
        let mut state = self.state();
        let open = state.is_open();
        let is_idle = state.flow.is_idle();
        state.wanted |= !open || !is_idle;
        open.then(|| Allowance {
            budget: state.flow.budget(),
            rate: state.flow.rate(),
            kbps: state.flow.bitrate(),
            is_idle,
        })
    }

    /// The screen has so many pixels.
    pub fn set_pixels(&self, pixels: usize) {
        self.state().flow.set_pixels(pixels);
    }

    /// Whether the viewer takes a message now; if not, it calls when it does.
    pub fn takes_message(&self) -> bool {
        let mut state = self.state();
        let waiting = state.waiting;
        state.wanted |= !waiting;
        waiting
    }

    /// The number of the next update.
    pub fn next_seq(&self) -> u32 {
        self.state().flow.next_seq()
    }

    /// Hands an update to the viewer; `motion` if it is a video frame.
    pub fn send_update(&self, message: Bytes, motion: bool) {
        let mut state = self.state();
        state.flow.sent(message.len(), motion, Instant::now());
        self.push(state, [message]);
    }

    /// Hands any other messages to the viewer.
    pub fn send(&self, messages: impl IntoIterator<Item = Bytes>) {
        self.push(self.state(), messages);
    }

    fn push(&self, mut state: MutexGuard<'_, State>, messages: impl IntoIterator<Item = Bytes>) {
        state.queue.extend(messages);
        state.waiting = false;
        drop(state);
        self.arrived.notify_one();
    }

    /// The screen is gone; what waits is still delivered.
    pub fn close(&self) {
        self.state().closed = true;
        self.arrived.notify_one();
    }

    // For the input thread.

    /// Input up to this number was given to the X server.
    pub fn input_applied(&self, seq: u32) {
        self.input_applied.store(seq, Ordering::Release);
        self.input_news.notify_waiters();
    }

    /// Waits until input up to this number was given to the X server.
    pub async fn applied(&self, seq: u32) {
        loop {
            let news = self.input_news.notified();
            tokio::pin!(news);
            // Registered before looking, so that news in between is not missed.
            news.as_mut().enable();
            if self.last_input() >= seq {
                return;
            }
            news.await;
        }
    }

    /// The last input that was given to the X server.
    pub fn last_input(&self) -> u32 {
        self.input_applied.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_owes_a_word_for_long_is_forsaken() {
        let page = Hello {
            width: 640,
            height: 480,
            inflates: false,
            decodes_video: false,
            decodes_jpeg: false,
            is_near: false,
        };
        let seat = Seat::new(1);
        let after = |seconds| Instant::now() + Duration::from_secs(seconds);
        assert!(
            !seat.is_forsaken(after(9)) && seat.is_forsaken(after(11)),
            "it has not greeted"
        );
        seat.greet(page).unwrap();
        assert!(!seat.is_forsaken(after(1000)), "it owes nothing");
        seat.send_update(Bytes::from_static(b"picture"), false);
        assert!(!seat.is_forsaken(after(59)) && seat.is_forsaken(after(61)));
        seat.acknowledge(1, false).unwrap();
        assert!(!seat.is_forsaken(after(1000)), "it has answered");
    }
}
