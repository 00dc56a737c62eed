//! Memory that the X server writes captures into.
//!
//! A sealed memory file, handed to the server as a descriptor: the server may run as another user, where System V
//! segments do not work, and nobody can shrink the file under the mapping.
#![expect(unsafe_code, reason = "maps memory that is shared with the X server")]

use std::ffi::c_void;
use std::io;
use std::os::fd::OwnedFd;
use std::ptr::{self, NonNull};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A mapping of pixels that another process writes.
#[derive(Debug)]
pub struct Segment {
    start: NonNull<c_void>,
    pixels: usize,
}

// SAFETY: the mapping belongs to this value alone, and nothing about it is tied to a thread.
unsafe impl Send for Segment {}

impl Segment {
    /// Memory for `pixels` pixels, and the descriptor for the X server.
    pub fn new(pixels: usize) -> io::Result<(Self, OwnedFd)> {
        let bytes = pixels * size_of::<u32>();
        let file = memfd_create("berth-screen", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&file, bytes as u64)?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        // SAFETY: a new mapping at an address of the kernel's choice aliases no Rust object. It spans `bytes` bytes of
        // a file that is as long and sealed against shrinking, so no access within it can fault.
        let start = unsafe {
            mmap(
                ptr::null_mut(),
                bytes,
                ProtFlags::READ,
                MapFlags::SHARED,
                &file,
                0,
            )?
        };
        let start = NonNull::new(start).ok_or(io::ErrorKind::InvalidData)?;
        Ok((Self { start, pixels }, file))
    }

    /// Copies pixels from `offset` on into `row`. What the server is writing at the same time may come torn.
    pub fn read(&self, offset: usize, row: &mut [u32]) {
        let end = offset.checked_add(row.len());
        assert!(
            end.is_some_and(|end| end <= self.pixels),
            "a row of a capture lies within its segment"
        );
        // SAFETY: `offset + row.len()` pixels lie within the mapping (asserted above), which is page aligned and lives as
        // long as `self`; `row` is private memory, so the two do not overlap. Any bit pattern is a `u32`. The server
        // may write meanwhile: the copy goes through raw pointers and no reference to the shared memory ever exists.
        unsafe {
            let from = self.start.cast::<u32>().as_ptr().add(offset);
            ptr::copy_nonoverlapping(from, row.as_mut_ptr(), row.len());
        }
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping that `new` made; it is not used after this, since `read` borrows `self`.
        let _ = unsafe { munmap(self.start.as_ptr(), self.pixels * size_of::<u32>()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_shows_what_the_file_holds() {
        let (segment, file) = Segment::new(4).unwrap();
        rustix::io::pwrite(&file, &7u32.to_ne_bytes(), 8).unwrap();
        let mut row = [0; 3];
        segment.read(1, &mut row);
        assert_eq!(row, [0, 7, 0]);
    }

    #[test]
    #[should_panic(expected = "lies within its segment")]
    fn it_reads_nothing_beyond_its_end() {
        let (segment, _file) = Segment::new(4).unwrap();
        segment.read(3, &mut [0; 2]);
    }
}
