//! What a child process of ours gets between fork and exec: an end together with us, and its file descriptors.

#![expect(unsafe_code, reason = "code between fork and exec")]

use std::{
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::Command,
};

/// The descriptor that a runtime passes on with `--preserve-fds 1`.
const PASSED_FD: i32 = 3;

/// Kills the child when the thread that started it ends. A program that makes half a sandbox must not go on after the
/// server was killed: the next server removes what is there, and would not see what comes later.
pub(crate) fn end_with_this_thread(command: &mut Command) {
    let parent = rustix::process::getpid();
    // SAFETY: runs in the child between fork and exec, where only async-signal-safe calls are allowed. Both calls are
    // plain system calls; nothing here allocates, locks or panics.
    unsafe {
        command.pre_exec(move || {
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
            // The parent may have ended before the line above: then no signal comes.
            if rustix::process::getppid() == Some(parent) {
                Ok(())
            } else {
                Err(io::Error::from_raw_os_error(libc::ESRCH))
            }
        });
    }
}

/// Gives the child `fd` as descriptor 3.
pub(crate) fn pass_as_fd_3(command: &mut Command, fd: OwnedFd) {
    // SAFETY: runs in the child between fork and exec. `dup2` and `fcntl` are async-signal-safe; `fd` is owned by the
    // closure, which lives as long as `command`, so the number is valid there. Nothing allocates, locks or panics.
    unsafe {
        command.pre_exec(move || {
            let raw = fd.as_raw_fd();
            // `dup2` onto itself would leave close-on-exec set.
            let result = if raw == PASSED_FD {
                libc::fcntl(raw, libc::F_SETFD, 0)
            } else {
                libc::dup2(raw, PASSED_FD)
            };
            if result < 0 {
                Err(io::Error::last_os_error())
            } else {
                Ok(())
            }
        });
    }
}
