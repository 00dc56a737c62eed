//! Wakes a thread that sleeps on an X connection.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

/// A bell that other threads ring; ringing twice before it is heard counts once.
#[derive(Debug)]
pub struct Wake(OwnedFd);

impl Wake {
    /// A bell that was not rung.
    pub fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Rings. The counter only overflows after 2^64 rings that nobody heard, and then it is still rung.
    pub fn ring(&self) {
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Sleeps until the bell rings, `connection` has something to read, or `timeout` is over.
    pub fn sleep(&self, connection: &impl AsFd, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.map(|span| Timespec {
            tv_sec: span.as_secs().min(i64::MAX as u64) as i64,
            tv_nsec: i64::from(span.subsec_nanos()),
        });
        let mut fds = [
            PollFd::new(&self.0, PollFlags::IN),
            PollFd::new(connection, PollFlags::IN),
        ];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if fds[0].revents().contains(PollFlags::IN) {
            let _ = rustix::io::read(&self.0, &mut [0; 8]);
        }
        Ok(())
    }
}
