//! What a guest prints: the last lines, for people who look why a session does not work.
//!
//! Standard output and error of the sandbox's first process are a FIFO in the sandbox's folder. A FIFO holds a bounded
//! amount, so nothing a session prints can fill the host's disk; it outlives the server, so a later one reads on; and
//! both ends are opened for reading and writing, so that a server that is gone neither blocks nor kills the guest. The
//! guest's end does not block: what does not fit is lost, and the guest is told `EAGAIN`.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::{
    fs::{CWD, Mode, mkfifoat},
    pipe::fcntl_setpipe_size,
};
use tokio::{io::AsyncReadExt as _, net::unix::pipe};

use crate::SandboxId;

/// Lines that are kept.
const MAX_LINES: usize = 200;

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

/// The last lines, filled by [`follow`].
#[derive(Debug, Clone, Default)]
pub(crate) struct GuestLog(Arc<Mutex<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    whole: VecDeque<String>,
    begun: Vec<u8>,
}

impl GuestLog {
    /// The last lines, oldest first, with one that has only begun.
    pub(crate) fn tail(&self) -> Vec<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = (!lines.begun.is_empty()).then(|| printable(&lines.begun));
        lines.whole.iter().cloned().chain(begun).collect()
    }

    /// Takes bytes as they come, and returns the lines that they finish.
    fn take(&self, bytes: &[u8]) -> Vec<String> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut finished = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = part.strip_suffix(b"\n").unwrap_or(part);
            let room = MAX_LINE - lines.begun.len();
            lines.begun.extend(&text[..text.len().min(room)]);
            if text.len() < part.len() {
                let line = printable(&lines.begun);
                lines.begun.clear();
                if lines.whole.len() == MAX_LINES {
                    lines.whole.pop_front();
                }
                lines.whole.push_back(line.clone());
                finished.push(line);
            }
        }
        finished
    }
}

/// Text without anything that could act on a terminal or forge another log line.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.trim_end()
        .chars()
        .map(|c| {
            if c.is_control() && c != '\t' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// Opens the host's end. In a tokio runtime.
pub(crate) fn open(path: &Path) -> io::Result<pipe::Receiver> {
    pipe::OpenOptions::new().read_write(true).open_receiver(path)
}

/// Reads for as long as the task lives.
pub(crate) async fn follow(id: SandboxId, mut receiver: pipe::Receiver, log: GuestLog) {
    let mut buffer = vec![0; LOAD];
    loop {
        match receiver.read(&mut buffer).await {
            Ok(length) => {
                for line in log.take(&buffer[..length]) {
                    tracing::debug!(sandbox.id = %id, line, "guest output");
                }
                if length == buffer.len() {
                    tokio::time::sleep(PAUSE).await;
                }
            }
            Err(error) => {
                tracing::warn!(sandbox.id = %id, %error, "could not read the output of the guest in sandbox `{id}`");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_kept_across_reads() {
        let log = GuestLog::default();
        assert!(log.take(b"one\ntw").contains(&"one".to_owned()));
        assert_eq!(log.tail(), ["one", "tw"]);
        assert_eq!(log.take(b"o\r\n\x1b[31mred\n"), ["two", "\u{fffd}[31mred"]);
    }

    #[test]
    fn old_lines_go() {
        let log = GuestLog::default();
        for number in 0..1000 {
            log.take(format!("{number}\n").as_bytes());
        }
        let tail = log.tail();
        assert_eq!((tail.len(), tail[0].as_str()), (MAX_LINES, "800"));
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

    #[tokio::test]
    async fn what_was_printed_before_the_reader_came_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut guest = make(&path).unwrap();
        guest.write_all(b"early\n").unwrap();
        let mut receiver = open(&path).unwrap();
        let mut buffer = [0; 16];
        let length = receiver.read(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..length], b"early\n");
    }

    proptest! {
        #[test]
        fn memory_is_bounded_and_text_is_clean(reads: Vec<Vec<u8>>) {
            let log = GuestLog::default();
            for read in reads {
                log.take(&read);
            }
            for line in log.tail() {
                prop_assert!(line.len() <= 3 * MAX_LINE);
                prop_assert!(!line.contains(|c: char| c.is_control() && c != '\t'));
            }
        }
    }
}
