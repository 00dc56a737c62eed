//! A user namespace that exists only as a map of ids, for shifting the ids of mounts.

#![expect(unsafe_code, reason = "a child process without exec")]

use std::{
    fs::File,
    io::{self, Write as _},
    os::fd::OwnedFd,
    ptr,
};

/// Makes a user namespace that maps ids 0 to `count` - 1 to `base` and up. It lives as long as the descriptor.
///
/// A namespace needs a process to be born in, and a process with several threads cannot enter a new one itself. So a
/// child is made, its namespace opened and mapped, and the child killed: 0.2 ms.
pub(crate) fn make(base: u32, count: u32) -> io::Result<OwnedFd> {
    let child = Child::start()?;
    let map = format!("0 {base} {count}\n");
    for file in ["uid_map", "gid_map"] {
        File::options()
            .write(true)
            .open(child.path(file))?
            .write_all(map.as_bytes())?;
    }
    Ok(File::open(child.path("ns/user"))?.into())
}

/// A process that does nothing, in a user namespace of its own. Dropping it ends and collects it.
struct Child(libc::pid_t);

impl Child {
    fn start() -> io::Result<Self> {
        let parent = rustix::process::getpid();
        // SAFETY: like `fork` with a new user namespace; no memory is shared and no stack is given, so the child goes on
        // here with a copy of everything. Other threads of this process do not exist in the child and may hold locks, so
        // it makes plain system calls only, and never returns from the block below.
        let pid = unsafe {
            libc::syscall(
                libc::SYS_clone,
                libc::c_long::from(libc::CLONE_NEWUSER | libc::SIGCHLD),
                ptr::null::<u8>(),
                ptr::null::<u8>(),
                ptr::null::<u8>(),
                ptr::null::<u8>(),
            )
        };
        match pid {
            0 => {
                let parent = parent.as_raw_nonzero().get();
                // SAFETY: in the child, plain system calls with plain arguments; `_exit` does not return.
                unsafe {
                    // The child holds copies of all our descriptors: it must not outlive us, however we end.
                    libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
                    if libc::syscall(libc::SYS_getppid) == libc::c_long::from(parent) {
                        loop {
                            libc::syscall(
                                libc::SYS_ppoll,
                                ptr::null::<u8>(),
                                0,
                                ptr::null::<u8>(),
                                ptr::null::<u8>(),
                                0,
                            );
                        }
                    }
                    libc::syscall(libc::SYS_exit_group, 0);
                    libc::_exit(0)
                }
            }
            -1 => Err(io::Error::last_os_error()),
            pid => libc::pid_t::try_from(pid)
                .map(Self)
                .map_err(|_| io::Error::from_raw_os_error(libc::EOVERFLOW)),
        }
    }

    fn path(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.0)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: the process is our child and not yet collected, so the number is still its own; null is allowed for the
        // status.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            while libc::waitpid(self.0, ptr::null_mut(), 0) < 0
                && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
            {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespace_outlives_its_process() {
        let namespace = File::from(make(0x1000_0000, 65536).unwrap());
        let link = fs_err::read_link(format!(
            "/proc/self/fd/{}",
            std::os::fd::AsRawFd::as_raw_fd(&namespace)
        ));
        assert!(link.unwrap().to_string_lossy().starts_with("user:["));
    }
}
