//! Log lines to standard error, which may be a full pipe that nobody reads: then a line is dropped.
//!
//! Never: block or fail because of a log line.

use std::io::{self, Write};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing_subscriber::EnvFilter;

/// A pipe that reports room takes at least this much without blocking; longer lines are cut.
const LINE_BYTES_MAX: usize = 4096;

/// Sends log lines to standard error from now on. `filter` has the syntax of `tracing-subscriber`.
pub fn start(filter: Option<&str>) {
    let filter = EnvFilter::try_new(filter.unwrap_or("info")).unwrap_or_else(|_| EnvFilter::new("info"));
    // A second start, as in tests, keeps the first one's settings.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .compact()
        .with_writer(|| DroppingStderr)
        .try_init();
}

struct DroppingStderr;

impl Write for DroppingStderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let stderr = rustix::stdio::stderr();
        let mut ready = [PollFd::new(&stderr, PollFlags::OUT)];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        if matches!(poll(&mut ready, Some(&now)), Ok(1)) && ready[0].revents().contains(PollFlags::OUT) {
            let _ = rustix::io::write(stderr, &line[..line.len().min(LINE_BYTES_MAX)]);
        }
        // An error here would make the subscriber print about it, to the same place.
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
