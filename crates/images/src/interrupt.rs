//! How a build is asked to stop.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// A request to stop that may come at any time. A descriptor becomes readable when it comes and stays so, so that
/// it can be waited for beside a program's output.
#[derive(Debug, Clone)]
pub struct Interrupt {
    receiver: Arc<UnixStream>,
    /// Keeps the descriptor of [`Interrupt::never`] quiet: a closed peer would look like a request.
    _sender: Option<Arc<UnixStream>>,
}

impl Interrupt {
    /// One that never comes.
    pub fn never() -> Self {
        // Without descriptors nothing else of a build would work either.
        let (sender, receiver) = UnixStream::pair().expect("a pair of sockets");
        Self {
            receiver: Arc::new(receiver),
            _sender: Some(Arc::new(sender)),
        }
    }

    /// One that comes with SIGINT, SIGTERM or SIGHUP. From now on these do not end the process by themselves.
    pub fn on_signals() -> io::Result<Self> {
        let (sender, receiver) = UnixStream::pair()?;
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::low_level::pipe::register(signal, sender.try_clone()?)?;
        }
        Ok(Self {
            receiver: Arc::new(receiver),
            _sender: None,
        })
    }

    /// One that comes when the returned sender is dropped.
    pub fn on_drop() -> io::Result<(UnixStream, Self)> {
        let (sender, receiver) = UnixStream::pair()?;
        Ok((
            sender,
            Self {
                receiver: Arc::new(receiver),
                _sender: None,
            },
        ))
    }

    /// Whether it has come.
    pub fn has_come(&self) -> bool {
        self.wait(Duration::ZERO).unwrap_or(false)
    }

    /// Waits until it comes or `timeout` has passed; says whether it has come.
    pub(crate) fn wait(&self, timeout: Duration) -> rustix::io::Result<bool> {
        let timeout = Timespec::try_from(timeout).map_err(|_| rustix::io::Errno::INVAL)?;
        let mut descriptors = [PollFd::new(&self.receiver, PollFlags::IN)];
        match rustix::event::poll(&mut descriptors, Some(&timeout)) {
            Ok(ready) => Ok(ready > 0),
            // The signal's own byte is already written when its handler has returned.
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Interrupt {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.receiver.as_fd()
    }
}
