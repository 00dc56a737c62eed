//! Descriptors that the guest inherits. One is its listening socket; none is for the programs of the session.

#![expect(
    unsafe_code,
    reason = "a descriptor that came by inheritance has no owner until it is given one"
)]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use berth_guest_api::LISTEN_FD;

/// Takes the listening socket that the host passed in. Call once, before any other thread runs.
pub fn inherited() -> io::Result<UnixListener> {
    // SAFETY: the host passes the descriptor with this number, nothing in this process has opened a file yet, and
    // this function is called once: nobody else owns it. A number that is not open makes the next call fail, nothing
    // worse.
    let fd = unsafe { OwnedFd::from_raw_fd(LISTEN_FD) };
    if let Err(error) = rustix::net::sockopt::socket_acceptconn(fd.as_fd())
        .map_err(io::Error::from)
        .and_then(|yes| {
            if yes {
                Ok(())
            } else {
                Err(io::Error::other("it does not listen"))
            }
        })
    {
        // Not ours to close: it may be something else that was open by chance.
        std::mem::forget(fd);
        return Err(io::Error::new(
            error.kind(),
            format!("file descriptor {LISTEN_FD} is no listening socket: {error}"),
        ));
    }
    Ok(UnixListener::from(fd))
}

/// Keeps every inherited descriptor but the standard ones from the programs that this process starts.
pub fn keep_private() -> io::Result<()> {
    for entry in fs_err::read_dir("/proc/self/fd")? {
        let Some(number) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if number <= 2 {
            continue;
        }
        // SAFETY: the descriptor is borrowed for one call only. The list has just named it as open; should it have
        // been closed since, as the one that reads the list, the call fails and nothing else happens.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        let _ = rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC);
    }
    Ok(())
}

/// Listens at `path`, in the place of a socket that an earlier process left there.
pub fn at(path: &Path) -> io::Result<UnixListener> {
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    UnixListener::bind(path)
}
