//! Ends what is in a cgroup, and removes the cgroup. Every wait has a limit.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    os::fd::AsFd as _,
    path::Path,
    time::{Duration, Instant},
};

use rustix::{
    event::PollFlags,
    process::{Pid, Signal, kill_process},
};

use super::{Cgroup, is_gone, is_occupied, set, value_of};
use crate::{StepError, program::readable_within};

/// How long killed processes may take to end. They need a few milliseconds, unless one hangs in the kernel.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// Between two looks where the kernel cannot tell of a change.
const PAUSE: Duration = Duration::from_millis(2);

impl Cgroup<'_> {
    /// Kills all processes and waits until they are gone. Also when there is no such cgroup.
    pub(crate) fn kill(&self) -> Result<(), StepError> {
        let Some(tree) = self.host.unified_tree() else {
            return self.kill_one_by_one(&self.v1_file("freezer", "cgroup.procs"));
        };
        let folder = tree.join(&self.name);
        let switch = folder.join("cgroup.kill");
        match set(&switch, "1") {
            Ok(()) => self.wait_until_empty(&folder),
            // Before kernel 5.14, or no such cgroup.
            Err(error) if is_gone(&error) => self.kill_one_by_one(&folder.join("cgroup.procs")),
            Err(error) => Err(StepError::path("kill all processes with", switch)(error)),
        }
    }

    /// Removes the cgroup from all trees. Its processes are gone.
    pub(crate) fn remove(&self) -> Result<(), StepError> {
        let end = Instant::now() + KILL_LIMIT;
        for tree in self.host.trees()? {
            let path = tree.join(&self.name);
            loop {
                match rustix::fs::rmdir(&path) {
                    Ok(()) => break,
                    Err(error) if is_gone(&error.into()) => break,
                    // In v1 a cgroup stays occupied for a moment after its last process has ended.
                    Err(error) if is_occupied(&error.into()) && Instant::now() < end => {
                        std::thread::sleep(PAUSE);
                    }
                    Err(error) => return Err(StepError::path("remove the cgroup", path)(error)),
                }
            }
        }
        Ok(())
    }

    /// Waits for the kernel's word that no process is left in a v2 cgroup.
    fn wait_until_empty(&self, folder: &Path) -> Result<(), StepError> {
        let path = folder.join("cgroup.events");
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if is_gone(&error) => return Ok(()),
            Err(error) => return Err(StepError::path("open", path)(error)),
        };
        let end = Instant::now() + KILL_LIMIT;
        loop {
            // Reading also arms the poll below for the next change.
            let mut text = String::new();
            let read = file
                .seek(SeekFrom::Start(0))
                .and_then(|_| file.read_to_string(&mut text));
            match read {
                Ok(_) if value_of(&text, "populated") == Some(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if is_gone(&error) => return Ok(()),
                Err(error) => return Err(StepError::path("read", path)(error)),
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(StepError::StillRunning {
                    path: folder.into(),
                    limit: KILL_LIMIT,
                });
            }
            readable_within(file.as_fd(), PollFlags::PRI, left).map_err(StepError::path("watch", &path))?;
        }
    }

    /// For kernels that cannot kill a cgroup at once. Frozen processes cannot start new ones between two rounds.
    fn kill_one_by_one(&self, list: &Path) -> Result<(), StepError> {
        let end = Instant::now() + KILL_LIMIT;
        loop {
            // Fails when there is no cgroup, which the next line sees as well.
            let _ = self.freeze(true);
            let processes = match fs_err::read_to_string(list) {
                Ok(text) => text,
                Err(error) if is_gone(&error) => return Ok(()),
                Err(error) => return Err(StepError::path("read", list)(error)),
            };
            if processes.trim().is_empty() {
                let _ = self.freeze(false);
                return Ok(());
            }
            for pid in processes
                .lines()
                .filter_map(|line| line.parse().ok())
                .filter_map(Pid::from_raw)
            {
                // One that has ended meanwhile is what we want.
                let _ = kill_process(pid, Signal::KILL);
            }
            // A frozen process does not die.
            let _ = self.freeze(false);
            if Instant::now() >= end {
                return Err(StepError::StillRunning {
                    path: list.into(),
                    limit: KILL_LIMIT,
                });
            }
            std::thread::sleep(PAUSE);
        }
    }
}
