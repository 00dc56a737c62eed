//! Loop devices that free themselves.

#![expect(unsafe_code, reason = "ioctls of the loop driver")]

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::PathBuf,
};

use rustix::fs::{Mode, OFlags};

const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4C82;
const LOOP_CONFIGURE: libc::Ioctl = 0x4C0A;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LO_FLAGS_DIRECT_IO: u32 = 16;

/// Sector size of the device. File systems inside use blocks of at least this size, and no host file system asks for a
/// larger alignment of direct I/O.
const BLOCK_SIZE: u32 = 4096;

/// Another process may take the free device first; with this many attempts something else is wrong.
const ATTEMPTS: usize = 64;

/// `struct loop_info64` of `linux/loop.h`.
#[repr(C)]
#[derive(Clone, Copy)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config` of `linux/loop.h`.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

/// A loop device. It is freed when this is dropped and nothing has it mounted, also when the process is killed.
#[derive(Debug)]
pub(crate) struct LoopDevice {
    path: PathBuf,
    _device: OwnedFd,
}

impl LoopDevice {
    /// Attaches `file`, with direct I/O where its file system can, so that nothing is cached twice.
    pub(crate) fn attach(file: &File, read_only: bool) -> io::Result<Self> {
        let control = rustix::fs::open("/dev/loop-control", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        let access = if read_only { OFlags::RDONLY } else { OFlags::RDWR };
        let mut direct = LO_FLAGS_DIRECT_IO;
        for _ in 0..ATTEMPTS {
            // SAFETY: takes no argument and returns a number; the descriptor is open.
            let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
            if number < 0 {
                return Err(io::Error::last_os_error());
            }
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let device = rustix::fs::open(&path, access | OFlags::CLOEXEC, Mode::empty())?;
            let read_only = if read_only { LO_FLAGS_READ_ONLY } else { 0 };
            match configure(&device, file, LO_FLAGS_AUTOCLEAR | read_only | direct) {
                Ok(()) => {
                    return Ok(Self {
                        path,
                        _device: device,
                    });
                }
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
                // A file system without direct I/O: newer kernels refuse the flag, older ones ignore it.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) && direct != 0 => direct = 0,
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::from_raw_os_error(libc::EBUSY))
    }

    /// The device's node.
    pub(crate) fn path(&self) -> &std::path::Path {
        &self.path
    }
}

fn configure(device: &OwnedFd, file: &File, flags: u32) -> io::Result<()> {
    let fd =
        u32::try_from(file.as_fd().as_raw_fd()).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    let info = LoopInfo {
        device: 0,
        inode: 0,
        rdevice: 0,
        offset: 0,
        size_limit: 0,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags,
        file_name: [0; 64],
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
    };
    let config = LoopConfig {
        fd,
        block_size: BLOCK_SIZE,
        info,
        reserved: [0; 8],
    };
    // SAFETY: the kernel reads one `struct loop_config` from the pointer, which is that struct, initialised and alive for
    // the call, and keeps a reference of its own to the file behind `fd`.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structs_have_the_size_that_the_kernel_reads() {
        assert_eq!(size_of::<LoopInfo>(), 232);
        assert_eq!(size_of::<LoopConfig>(), 304);
    }
}
