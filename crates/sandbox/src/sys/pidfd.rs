//! When and how a process that is not our child has ended.

#![expect(unsafe_code, reason = "registering a descriptor, and an ioctl of pidfds")]

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

use tokio::io::{Interest, unix::AsyncFd};

/// `struct pidfd_info` of `linux/pidfd.h`, in its first version.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
}

const PIDFD_INFO_EXIT: u64 = 1 << 3;
/// `_IOWR(0xFF, 11, struct pidfd_info)`.
const PIDFD_GET_INFO: libc::Ioctl = (3 << 30) | (64 << 16) | (0xFF << 8) | 11;

/// A process whose end can be awaited. In a tokio runtime.
pub(crate) fn watch(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open and stays the same file for as long as it lives, and the `AsyncFd` owns it until it
    // is dropped; `as_raw_fd` of it is always that one number.
    let registered = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) };
    Ok(registered?)
}

/// The wait status of an ended process, once its parent has collected it. An error on kernels before 6.15.
pub(crate) fn wait_status(pidfd: BorrowedFd<'_>) -> io::Result<Option<i32>> {
    let mut info = PidfdInfo {
        mask: PIDFD_INFO_EXIT,
        ..PidfdInfo::default()
    };
    // SAFETY: the kernel reads and writes one `struct pidfd_info` of the size that is part of the request's number, and
    // `info` is that struct, alive for the call.
    let result = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((info.mask & PIDFD_INFO_EXIT != 0).then_some(info.exit_code))
}

#[cfg(test)]
mod tests {
    use std::{os::fd::AsFd, process::Command};

    use super::*;

    #[test]
    fn the_struct_has_the_size_in_the_request() {
        assert_eq!(size_of::<PidfdInfo>(), 64);
    }

    #[test]
    fn a_collected_process_tells_its_status() {
        let mut child = Command::new("/bin/sh").args(["-c", "exit 7"]).spawn().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
        child.wait().unwrap();
        // An error on a kernel that does not say.
        assert!(matches!(wait_status(pidfd.as_fd()), Err(_) | Ok(Some(0x700))));
    }
}
