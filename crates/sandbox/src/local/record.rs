//! What a sandbox's folder says of it, for a server that did not make it.

use std::{io, os::fd::OwnedFd, path::Path};

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

use crate::StepError;

/// The record. Members are only added: sandboxes outlive the version that made them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Number of the sandbox.
    pub(crate) slot: u16,
    /// The first process, once it runs.
    pub(crate) process: Option<Process>,
}

/// A process of the host in a form that no other process will ever have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pid: i32,
    /// When it started, in the kernel's ticks since the machine did.
    start_time: u64,
    /// Which start of the machine.
    boot: String,
}

impl Record {
    /// Reads a record. `None` if there is none, or none that was written to its end: such a sandbox was never finished.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, StepError> {
        match fs_err::read(path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StepError::path("read", path)(error)),
        }
    }

    /// Writes a record: whole, or the one before stays.
    ///
    /// Not flushed to the disk: when the machine fails no sandbox runs any more, and a record that is lost then reads as
    /// that of a sandbox that was never finished, which is removed in the same way.
    pub(crate) fn write(&self, path: &Path) -> Result<(), StepError> {
        let unfinished = path.with_extension("unfinished");
        let text = serde_json::to_vec(self)
            .map_err(io::Error::from)
            .map_err(StepError::path("write", path))?;
        fs_err::write(&unfinished, text).map_err(StepError::path("write", &unfinished))?;
        fs_err::rename(&unfinished, path).map_err(StepError::path("write", path))
    }
}

impl Process {
    /// The process that has this number now.
    pub(crate) fn now(pid: i32) -> Result<Self, StepError> {
        let boot = boot()?;
        let path = format!("/proc/{pid}/stat");
        let stat = fs_err::read_to_string(&path).map_err(StepError::path("read", path))?;
        let start_time = start_time(&stat).ok_or_else(|| StepError::Unexpected {
            what: "the state of the first process",
            got: format!("{:?}", stat.chars().take(200).collect::<String>()),
            expected: "it must be in the form of proc(5)",
        })?;
        Ok(Self {
            pid,
            start_time,
            boot,
        })
    }

    /// Opens the process, if it still runs.
    pub(crate) fn open(&self) -> Result<Option<OwnedFd>, StepError> {
        if boot()? != self.boot {
            return Ok(None);
        }
        let Some(pid) = Pid::from_raw(self.pid) else {
            return Ok(None);
        };
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(rustix::io::Errno::SRCH | rustix::io::Errno::INVAL) => return Ok(None),
            Err(error) => return Err(StepError::system("open the first process")(error)),
        };
        // Looked at after it was opened: if it is the same now, the descriptor is of the same process.
        match Self::now(self.pid) {
            Ok(now) if now == *self => Ok(Some(pidfd)),
            _ => Ok(None),
        }
    }
}

fn boot() -> Result<String, StepError> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    let id = fs_err::read_to_string(PATH).map_err(StepError::path("read", PATH))?;
    Ok(id.trim().to_owned())
}

/// The 22nd field of `/proc/PID/stat`. The second is a name in parentheses that may hold anything, the third a letter.
fn start_time(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace();
    let state = fields.next()?;
    // A process that has ended is no longer running, though its parent has not noticed.
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.json");
        assert_eq!(Record::read(&path).unwrap(), None);
        let record = Record {
            slot: 7,
            process: Some(Process::now(std::process::id().cast_signed()).unwrap()),
        };
        record.write(&path).unwrap();
        assert_eq!(Record::read(&path).unwrap(), Some(record));
        fs_err::write(&path, "{").unwrap();
        assert_eq!(Record::read(&path).unwrap(), None);
    }

    #[test]
    fn members_of_a_newer_version_are_passed_over() {
        let record: Record = serde_json::from_str(r#"{"slot":1,"process":null,"new":[]}"#).unwrap();
        assert_eq!(
            record,
            Record {
                slot: 1,
                process: None
            }
        );
    }

    #[test]
    fn only_the_very_process_is_opened() {
        let mine = Process::now(std::process::id().cast_signed()).unwrap();
        assert!(mine.open().unwrap().is_some());
        let older = Process {
            start_time: mine.start_time + 1,
            ..mine.clone()
        };
        assert!(older.open().unwrap().is_none());
        let other_boot = Process {
            boot: "other".into(),
            ..mine.clone()
        };
        assert!(other_boot.open().unwrap().is_none());
        let nobody = Process {
            pid: i32::MAX,
            ..mine
        };
        assert!(nobody.open().unwrap().is_none());
    }

    #[test]
    fn names_with_parentheses_do_not_shift_the_fields() {
        let stat = "42 (a) R 1 (b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20";
        assert_eq!(start_time(stat), Some(777));
        assert_eq!(
            start_time("42 (a) Z 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20"),
            None
        );
        assert_eq!(start_time(""), None);
    }
}
