//! What a guest prints: the last lines, for people who look why a session does not work.
//!
//! Standard output and error of the sandbox's first process are a FIFO in the sandbox's folder. A FIFO holds a bounded
//! amount, so nothing a session prints can fill the host's disk; it outlives the server, so a later one reads on; and
//! both ends are opened for reading and writing, so that a server that is gone neither blocks nor kills the guest. The
//! guest's end does not block: what does not fit is lost, and the guest is told `EAGAIN`.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::{self, Read as _},
    os::{fd::AsFd as _, unix::fs::OpenOptionsExt as _},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::{
    fs::{CWD, Mode, OFlags, fcntl_getfl, fcntl_setfl, mkfifoat},
    pipe::fcntl_setpipe_size,
};
use tokio::net::unix::pipe;

use crate::{SandboxId, program};

/// Lines that are kept, and bytes of all of them.
const MAX_LINES: usize = 200;
const MAX_BYTES: usize = 64 * 1024;

/// Bytes of one line that are kept.
const MAX_LINE: usize = 2000;

/// What the FIFO holds for a server that does not read.
const CAPACITY: usize = 256 * 1024;

/// Bytes that are taken at once. After a full load the reader pauses, so that a session which only prints costs the
/// host next to nothing.
const LOAD: usize = 16 * 1024;
const PAUSE: Duration = Duration::from_millis(20);

/// Makes the FIFO and returns the guest's end.
pub(crate) fn make(path: &Path) -> io::Result<File> {
    mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR)?;
    let end = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    // A smaller one works as well; the administrator may have set a lower maximum.
    let _ = fcntl_setpipe_size(&end, CAPACITY);
    Ok(end)
}

/// Lets the guest's end not block, again: a runtime may have changed that, and it shares what it was given with the guest.
pub(crate) fn unblock(end: &File) -> io::Result<()> {
    Ok(fcntl_setfl(end, fcntl_getfl(end)? | OFlags::NONBLOCK)?)
}

/// What was printed into the guest's end and nobody has read: the words of a runtime that failed before there was a guest.
pub(crate) fn unread(mut end: &File) -> String {
    let mut bytes = Vec::new();
    if unblock(end).is_ok() {
        // Ends with `WouldBlock`, and what came before that has been read.
        let _ = end.by_ref().take(CAPACITY as u64).read_to_end(&mut bytes);
    }
    program::last_words(&bytes)
}

/// The host's end, and the last lines that came out of it.
#[derive(Debug)]
pub(crate) struct GuestLog {
    id: SandboxId,
    receiver: pipe::Receiver,
    lines: Mutex<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    whole: VecDeque<String>,
    /// Bytes of all whole lines.
    bytes: usize,
    begun: Vec<u8>,
}

impl GuestLog {
    /// Opens the host's end. In a tokio runtime.
    pub(crate) fn open(id: &SandboxId, path: &Path) -> io::Result<Self> {
        Ok(Self {
            id: id.clone(),
            receiver: pipe::OpenOptions::new().read_write(true).open_receiver(path)?,
            lines: Mutex::default(),
        })
    }

    /// The last lines, oldest first, with one that has only begun, of all that was printed before this call.
    pub(crate) fn tail(&self) -> Vec<String> {
        let mut lines = self.lines();
        // The last words of a guest that has just died may not have been read yet.
        let mut buffer = vec![0; LOAD];
        for _ in 0..CAPACITY / LOAD {
            match rustix::io::read(self.receiver.as_fd(), &mut buffer) {
                Ok(length) if length > 0 => self.note(&mut lines, &buffer[..length]),
                _ => break,
            }
        }
        let begun = (!lines.begun.is_empty()).then(|| printable(&lines.begun));
        lines.whole.iter().cloned().chain(begun).collect()
    }

    /// Reads for as long as the task lives.
    pub(crate) async fn follow(self: Arc<Self>) {
        let mut buffer = vec![0; LOAD];
        loop {
            let length = match self.read(&mut buffer).await {
                Ok(length) => length,
                Err(error) => {
                    let id = &self.id;
                    tracing::warn!(sandbox.id = %id, %error, "could not read the output of the guest in sandbox `{id}`");
                    return;
                }
            };
            if length == buffer.len() {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.receiver.readable().await?;
        // Read and noted under one lock, or two readers could swap what they read.
        let mut lines = self.lines();
        match self.receiver.try_read(buffer) {
            Ok(length) => {
                self.note(&mut lines, &buffer[..length]);
                Ok(length)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn note(&self, lines: &mut Lines, bytes: &[u8]) {
        for line in lines.take(bytes) {
            tracing::debug!(sandbox.id = %self.id, line, "guest output");
        }
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    /// Takes bytes as they come, and returns the lines that they finish.
    fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut finished = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = part.strip_suffix(b"\n").unwrap_or(part);
            let room = MAX_LINE - self.begun.len();
            self.begun.extend(&text[..text.len().min(room)]);
            if text.len() < part.len() {
                let line = printable(&self.begun);
                self.begun.clear();
                self.bytes += line.len();
                self.whole.push_back(line.clone());
                while self.whole.len() > MAX_LINES || self.bytes > MAX_BYTES {
                    let Some(oldest) = self.whole.pop_front() else {
                        break;
                    };
                    self.bytes -= oldest.len();
                }
                finished.push(line);
            }
        }
        finished
    }
}

/// Text without anything that could act on a terminal, forge another log line, or turn the order of what is read.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.trim_end()
        .chars()
        .map(|c| if acts(c) { char::REPLACEMENT_CHARACTER } else { c })
        .collect()
}

/// Control characters, the two separators of lines, and the marks that change the direction of writing.
fn acts(c: char) -> bool {
    (c.is_control() && c != '\t')
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_kept_across_reads() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(b"one\ntw"), ["one"]);
        assert_eq!(lines.begun, b"tw");
        assert_eq!(lines.take(b"o\r\n\x1b[31mred\n"), ["two", "\u{fffd}[31mred"]);
        assert_eq!(
            lines.take("a\u{202e}b\u{2028}c\td\n".as_bytes()),
            ["a\u{fffd}b\u{fffd}c\td"]
        );
    }

    #[test]
    fn old_lines_go() {
        let mut lines = Lines::default();
        for number in 0..1000 {
            lines.take(format!("{number}\n").as_bytes());
        }
        assert_eq!((lines.whole.len(), lines.whole[0].as_str()), (MAX_LINES, "800"));
        for _ in 0..1000 {
            lines.take(&[[b'x'; MAX_LINE].as_slice(), b"\n"].concat());
        }
        assert_eq!(lines.whole.len(), MAX_BYTES / MAX_LINE);
    }

    #[tokio::test]
    async fn the_tail_has_what_no_reader_has_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut guest = make(&path).unwrap();
        guest.write_all(b"early\nlast wor").unwrap();
        let log = GuestLog::open(&"one".parse().unwrap(), &path).unwrap();
        assert_eq!(log.tail(), ["early", "last wor"]);
        guest.write_all(b"ds\n").unwrap();
        assert_eq!(log.tail(), ["early", "last words"]);
    }

    #[tokio::test]
    async fn a_flood_is_read_in_bounded_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut guest = make(&path).unwrap();
        let log = Arc::new(GuestLog::open(&"one".parse().unwrap(), &path).unwrap());
        let reader = tokio::spawn(Arc::clone(&log).follow());
        let mut written = 0;
        while written < 4 * CAPACITY {
            match guest.write(&[b'\n'; 4096]) {
                Ok(length) => written += length,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
            tokio::task::yield_now().await;
        }
        assert_eq!(log.tail().len(), MAX_LINES);
        reader.abort();
    }

    #[test]
    fn words_that_nobody_read_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut end = make(&folder.path().join("log")).unwrap();
        assert_eq!(unread(&end), "");
        end.write_all(b"no such thing\n").unwrap();
        assert_eq!(unread(&end), "no such thing");
    }

    #[test]
    fn a_guest_that_nobody_reads_is_not_blocked() {
        let folder = tempfile::tempdir().unwrap();
        let mut guest = make(&folder.path().join("log")).unwrap();
        let chunk = [b'x'; 4096];
        let error = std::iter::repeat_with(|| guest.write(&chunk))
            .find_map(Result::err)
            .unwrap();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    proptest! {
        #[test]
        fn memory_is_bounded_and_text_is_clean(reads: Vec<Vec<u8>>) {
            let mut lines = Lines::default();
            for read in reads {
                lines.take(&read);
                prop_assert!(lines.begun.len() <= MAX_LINE);
            }
            prop_assert!(lines.bytes <= MAX_BYTES);
            prop_assert_eq!(lines.bytes, lines.whole.iter().map(String::len).sum::<usize>());
            for line in lines.whole {
                prop_assert!(!line.contains(acts));
            }
        }
    }
}
