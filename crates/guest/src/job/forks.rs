//! `berth-guest jobs`: the process that supervisors are forks of.
//!
//! A program of its own for every call would be read in, linked up and given a runtime before it could start the
//! session's; a fork of a small process that has done all that is ready several times sooner, and shares its memory.
//!
//! In: a frame with three descriptors for each supervisor. Out: a process that goes on as [`supervisor::run`] says.
#![expect(unsafe_code, reason = "a fork, and the disposition of a signal")]

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use rustix::fs::{Mode, OFlags, open};
use serde::{Deserialize, Serialize};

use super::supervisor::{self, SupervisorError};
use super::wire::FromJob;
use crate::frames;

/// Added to the chance of being killed when memory runs out: supervisors and all that they start inherit it, so that
/// the guest survives its work.
const OOM_SCORE_ADJ: &str = "500";

/// Largest frame: an order is its descriptors.
const FRAME_BYTES_MAX: usize = 64;

/// An order for one supervisor. With it come its channel, and the program's standard output and error.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Fork {}

/// Serves orders on standard input until the guest is gone. Returns in every fork, too, when its supervision is over.
pub fn run() -> Result<ExitCode, SupervisorError> {
    let orders = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).map_err(io::Error::from)?;
    let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(io::Error::from)?;
    rustix::stdio::dup2_stdin(&null).map_err(io::Error::from)?;
    // A session of its own, so that signals to "my process group" do not reach the guest. Already a leader: as good.
    let _ = rustix::process::setsid();
    // Refused where the kernel already holds a higher value: then it is high enough.
    let _ = fs_err::write("/proc/self/oom_score_adj", OOM_SCORE_ADJ);
    // SAFETY: changes this process's disposition of one signal; there is no handler that could run at a wrong moment.
    // Supervisors that end are then reaped by the kernel; each sets a handler before it has children of its own.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    loop {
        let Ok((Fork {}, fds)) = frames::read_first(orders.as_fd(), FRAME_BYTES_MAX) else {
            return Ok(ExitCode::SUCCESS);
        };
        let Ok([channel, stdout, stderr]) = <[OwnedFd; 3]>::try_from(fds) else {
            return Ok(ExitCode::FAILURE);
        };
        // SAFETY: this process has one thread and never starts another before this call, so the child's copy of the heap
        // and of every lock is whole. The child does not come back into this loop.
        match unsafe { libc::fork() } {
            0 => {
                drop(orders);
                return supervisor::run(channel, stdout, stderr, &null);
            }
            -1 => refuse(&channel, &io::Error::last_os_error()),
            _ => {}
        }
    }
}

/// Says on the channel of a supervisor that there will be none.
fn refuse(channel: &OwnedFd, error: &io::Error) {
    let message = format!("could not start a process: {error}");
    // A guest that has gone needs no answer.
    let _ = frames::write_last(channel.as_fd(), &FromJob::Failed { message });
}
