//! A sandbox's disk: one sparse file with an ext4 file system, which limits bytes and files.
//!
//! `mkfs.ext4` runs once for each size; a sandbox gets a copy of the few blocks that it wrote.

use std::{
    fs::File,
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::{SeekFrom, ftruncate, ioctl_ficlone, seek},
    io::Errno,
};

use crate::{Limits, StepError, program};

/// Formatting takes some tens of milliseconds; a slow disk is given time. Whoever asked for a sandbox waits for it.
const FORMAT_LIMIT: Duration = Duration::from_secs(20);

/// Formatted, empty disks to copy from.
#[derive(Debug)]
pub(crate) struct Templates {
    folder: PathBuf,
    /// Held while a template is made, so that sandboxes of a new size do not format it twice.
    making: std::sync::Mutex<()>,
}

impl Templates {
    /// Templates kept in `folder`, which exists.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            making: std::sync::Mutex::new(()),
        }
    }

    /// Makes a disk of the size that `limits` say as a new file.
    pub(crate) fn copy_to(&self, target: &Path, limits: &Limits) -> Result<(), StepError> {
        let template = self.of_size(limits)?;
        let from = File::open(&template).map_err(StepError::path("open the template disk", &template))?;
        let to = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(target)
            .map_err(StepError::path("make the disk", target))?;
        copy_sparse(&from, &to).map_err(StepError::path("copy the template disk to", target))
    }

    fn of_size(&self, limits: &Limits) -> Result<PathBuf, StepError> {
        // A whole number of blocks.
        let bytes = limits.disk_bytes / 4096 * 4096;
        let path = self.folder.join(format!("{bytes}-{}-plain.ext4", limits.inodes));
        if path.exists() {
            return Ok(path);
        }
        // A poisoned lock guards no data.
        let _making = self
            .making
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if path.exists() {
            return Ok(path);
        }
        let unfinished = tempfile::Builder::new()
            .prefix(".unfinished-")
            .tempfile_in(&self.folder)
            .map_err(StepError::path("make a template disk in", &self.folder))?;
        unfinished.as_file().set_len(bytes).map_err(StepError::path(
            "set the size of the template disk in",
            &self.folder,
        ))?;
        let mut command = program::command("mkfs.ext4");
        command.args([
            "-q",
            "-F",
            "-m",
            "0",
            "-b",
            "4096",
            "-N",
            &limits.inodes.to_string(),
        ]);
        // All that is written at first lies together, in few pieces: fewer to copy, and to free when the disk is removed.
        // Room for growing and spare superblocks are for disks that are kept. Blocks that were never written are holes,
        // which read as zeros: nothing has to be cleared.
        //
        // No journal: it would save the file system from a crash of the host, which no sandbox outlives. And with one, a
        // write that finds the host's disk full would leave the sandbox read-only for good, whoever filled it.
        command.args(["-O", "^has_journal,^resize_inode,sparse_super2", "-E"]);
        command.arg("packed_meta_blocks=1,num_backup_sb=0,lazy_itable_init=1,nodiscard,root_owner=0:0");
        command.arg(unfinished.path());
        program::run(command, "", None, FORMAT_LIMIT)?;
        let sync = unfinished.as_file().sync_all();
        sync.map_err(StepError::path("write the template disk in", &self.folder))?;
        let kept = unfinished.persist(&path).map_err(|error| error.error);
        kept.map_err(StepError::path("keep the template disk", &path))?;
        Ok(path)
    }
}

/// Copies a file without its holes: shared blocks where the file system can, else the data alone.
fn copy_sparse(from: &File, to: &File) -> io::Result<()> {
    if ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    let length = from.metadata()?.len();
    ftruncate(to, length)?;
    let mut position = 0;
    while position < length {
        let start = match seek(from.as_fd(), SeekFrom::Data(position)) {
            Ok(start) => start,
            // No data after this position.
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let end = seek(from.as_fd(), SeekFrom::Hole(start))?;
        copy_range(from, to, start, end)?;
        position = end;
    }
    Ok(())
}

fn copy_range(from: &File, to: &File, start: u64, end: u64) -> io::Result<()> {
    let (mut source, mut target) = (start, start);
    while source < end {
        let left = usize::try_from(end - source).unwrap_or(usize::MAX);
        let copied = match rustix::fs::copy_file_range(from, Some(&mut source), to, Some(&mut target), left) {
            Ok(copied) => copied,
            // Old kernels copy only within one file system, some file systems not at all.
            Err(Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) => {
                return copy_through_memory(from, to, source, end);
            }
            Err(error) => return Err(error.into()),
        };
        if copied == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

fn copy_through_memory(from: &File, to: &File, start: u64, end: u64) -> io::Result<()> {
    use std::os::unix::fs::FileExt as _;

    let mut buffer = vec![0; 256 * 1024];
    let mut position = start;
    while position < end {
        let want = usize::try_from(end - position)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let chunk = &mut buffer[..want];
        from.read_exact_at(chunk, position)?;
        to.write_all_at(chunk, position)?;
        position += want as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt as _, MetadataExt as _};

    use super::*;

    fn sparse_file() -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(64 << 20).unwrap();
        file.write_all_at(b"start", 0).unwrap();
        file.write_all_at(b"middle", 20 << 20).unwrap();
        file
    }

    #[track_caller]
    fn assert_same(copy: &File) {
        let mut read = [0; 6];
        copy.read_exact_at(&mut read, 20 << 20).unwrap();
        assert_eq!(&read, b"middle");
        let meta = copy.metadata().unwrap();
        assert_eq!(meta.len(), 64 << 20);
        assert!(meta.blocks() * 512 < 1 << 20, "{} blocks", meta.blocks());
    }

    #[test]
    fn a_copy_keeps_the_holes() {
        let (from, to) = (sparse_file(), tempfile::tempfile().unwrap());
        copy_sparse(&from, &to).unwrap();
        assert_same(&to);
    }

    #[test]
    fn data_can_go_through_memory() {
        let (from, to) = (sparse_file(), tempfile::tempfile().unwrap());
        to.set_len(64 << 20).unwrap();
        copy_through_memory(&from, &to, 20 << 20, (20 << 20) + 4096).unwrap();
        assert_same(&to);
    }

    #[test]
    fn a_template_is_made_once_for_each_size() {
        let folder = tempfile::tempdir().unwrap();
        let templates = Templates::new(folder.path().into());
        let limits = Limits {
            disk_bytes: 64 << 20,
            inodes: 4096,
            ..Limits::default()
        };
        templates.copy_to(&folder.path().join("one"), &limits).unwrap();
        templates.copy_to(&folder.path().join("two"), &limits).unwrap();
        let mut names: Vec<_> = fs_err::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["67108864-4096-plain.ext4", "one", "two"]);
        assert!(fs_err::metadata(folder.path().join("two")).unwrap().blocks() * 512 < 8 << 20);
    }
}
