//! What a process wrote, as far back as fits.
//!
//! Positions count all bytes since the process started, so that a reader who comes back names the place where it was.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

/// Bytes that are kept. A screen full of text is some thousand.
pub const BYTES_MAX: usize = 1 << 20;

/// Which output it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Standard output, or a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One piece of what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins.
    pub position: u64,
    /// Which output.
    pub channel: Channel,
    /// The bytes.
    pub bytes: Bytes,
}

/// The memory of one process's outputs.
#[derive(Debug, Default)]
pub struct Replay {
    inner: Mutex<Inner>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    pieces: VecDeque<Piece>,
    held: usize,
    end: u64,
}

impl Replay {
    /// Adds what was written just now, and drops what no longer fits.
    pub fn push(&self, channel: Channel, bytes: &[u8]) {
        let mut inner = self.lock();
        for bytes in bytes.chunks(BYTES_MAX / 16) {
            let position = inner.end;
            inner.end += bytes.len() as u64;
            inner.held += bytes.len();
            inner.pieces.push_back(Piece {
                position,
                channel,
                bytes: Bytes::copy_from_slice(bytes),
            });
        }
        inner.merge_small();
        while inner.held > BYTES_MAX {
            let Some(oldest) = inner.pieces.pop_front() else {
                break;
            };
            inner.held -= oldest.bytes.len();
        }
        drop(inner);
        self.news.notify_waiters();
    }

    /// The pieces from `position` on, the first of them cut to begin there. At most `bytes_max` bytes, but one piece at
    /// least. What is older than the memory is left out: then the first piece begins later.
    pub fn from(&self, position: u64, bytes_max: usize) -> Vec<Piece> {
        let inner = self.lock();
        let mut found = Vec::new();
        let mut total = 0;
        let first = inner
            .pieces
            .partition_point(|piece| piece.position + piece.bytes.len() as u64 <= position);
        for piece in inner.pieces.range(first..) {
            let skip = usize::try_from(position.saturating_sub(piece.position)).unwrap_or(0);
            let piece = Piece {
                position: piece.position + skip as u64,
                channel: piece.channel,
                bytes: piece.bytes.slice(skip..),
            };
            total += piece.bytes.len();
            if total > bytes_max && !found.is_empty() {
                break;
            }
            found.push(piece);
        }
        found
    }

    /// Bytes that were written in all.
    pub fn end(&self) -> u64 {
        self.lock().end
    }

    /// Waits until there is something after `position`, or somebody calls [`Replay::wake`].
    pub async fn after(&self, position: u64) {
        let news = self.news.notified();
        tokio::pin!(news);
        // Registered before looking, so that news in between is not missed.
        news.as_mut().enable();
        if self.end() <= position {
            news.await;
        }
    }

    /// Lets everybody who waits look again.
    pub fn wake(&self) {
        self.news.notify_waiters();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Joins the last two pieces while they are small: a program that writes single bytes must not cost a piece for each.
    fn merge_small(&mut self) {
        const SMALL: usize = 4 << 10;
        if self.pieces.len() < 2 {
            return;
        }
        let (before, last) = (
            &self.pieces[self.pieces.len() - 2],
            &self.pieces[self.pieces.len() - 1],
        );
        if before.channel != last.channel || before.bytes.len() + last.bytes.len() > SMALL {
            return;
        }
        let joined = [&before.bytes[..], &last.bytes[..]].concat();
        self.pieces.pop_back();
        if let Some(piece) = self.pieces.back_mut() {
            piece.bytes = joined.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_reader_at_any_pace_gets_every_byte_once(
            writes in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..3000), 1..30),
            window in 1usize..10_000,
        ) {
            let replay = Replay::default();
            let mut read = Vec::new();
            for bytes in &writes {
                replay.push(Channel::Stdout, bytes);
                for piece in replay.from(read.len() as u64, window) {
                    prop_assert_eq!(piece.position, read.len() as u64);
                    read.extend_from_slice(&piece.bytes);
                }
            }
            while (read.len() as u64) < replay.end() {
                for piece in replay.from(read.len() as u64, window) {
                    read.extend_from_slice(&piece.bytes);
                }
            }
            prop_assert_eq!(read, writes.concat());
        }
    }

    #[test]
    fn old_bytes_give_way_and_positions_go_on() {
        let replay = Replay::default();
        for _ in 0..40 {
            replay.push(Channel::Stdout, &[b'x'; 50_000]);
        }
        replay.push(Channel::Stderr, b"last");
        let pieces = replay.from(0, usize::MAX);
        let held: usize = pieces.iter().map(|piece| piece.bytes.len()).sum();
        assert!((BYTES_MAX / 2..=BYTES_MAX).contains(&held), "{held}");
        assert!(pieces[0].position > 0);
        let last = pieces.last().unwrap();
        assert_eq!(
            (last.channel, last.position, &last.bytes[..]),
            (Channel::Stderr, 2_000_000, &b"last"[..])
        );
    }
}
