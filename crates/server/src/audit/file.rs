//! The file behind the audit log: one write per line, at its end, and a new file when one is full.

use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fs_err::os::unix::fs::OpenOptionsExt;
use jiff::Timestamp;
use tracing::error;

/// A file that has so many bytes gets no more lines.
pub(super) const FILE_BYTES_MAX: u64 = 64 << 20;

/// How often a failure is told; a full disk would fail every line.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Lines of JSON on a disk. Nothing here ever removes a line or a file.
#[derive(Debug)]
pub(super) struct LineFile {
    path: PathBuf,
    file: fs_err::File,
    bytes_max: u64,
    /// A line was cut short by a full disk: the next one begins with a line break.
    is_torn: bool,
    lost: u64,
    told: Option<Instant>,
}

impl LineFile {
    /// Opens the file, making it if need be.
    pub(super) fn open(path: &Path, bytes_max: u64) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            // It may be the server's own folder, which holds more that is nobody's business.
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)?;
        }
        Ok(Self {
            path: path.to_owned(),
            file: open(path)?,
            bytes_max,
            is_torn: false,
            lost: 0,
            told: None,
        })
    }

    /// Appends a line, which ends with a line break. A failure is for the log of the server: a request that was carried
    /// out must not be told that it was not.
    pub(super) fn append(&mut self, line: &[u8]) {
        if let Err(source) = self.make_room().and_then(|()| self.write(line)) {
            self.lost += 1;
            let is_due = self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY);
            if is_due {
                self.told = Some(Instant::now());
                error!(
                    error = &source as &dyn std::error::Error,
                    "could not write the audit log; {} lines are missing so far", self.lost
                );
            }
        }
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let torn;
        let line = if self.is_torn {
            torn = [b"\n", line].concat();
            &torn
        } else {
            line
        };
        // One system call: lines of `berth key` go into the same file, and `O_APPEND` keeps whole writes apart.
        let written = loop {
            match self.file.write(line) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        self.is_torn = written < line.len() && (written > 0 || self.is_torn);
        if written < line.len() {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                format!("{written} of {} bytes were written", line.len()),
            ));
        }
        Ok(())
    }

    /// Sets a full file aside under a name with the time, and begins another.
    fn make_room(&mut self) -> io::Result<()> {
        // Asked each time: another process writes here too.
        if self.file.metadata()?.len() < self.bytes_max {
            return Ok(());
        }
        let now = Timestamp::now();
        // A name is never used twice, whatever the clock does: renaming would replace the older file.
        let aside = (0..u32::MAX)
            .map(|number| aside(&self.path, now, number))
            .find(|path| !path.exists())
            .ok_or_else(|| io::Error::from(io::ErrorKind::AlreadyExists))?;
        fs_err::rename(&self.path, aside)?;
        self.file = open(&self.path)?;
        self.is_torn = false;
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<fs_err::File> {
    let file = fs_err::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("`{}` is not a regular file", path.display()),
        ));
    }
    Ok(file)
}

/// `audit.jsonl` becomes `audit-20260102T030405.678Z.jsonl`.
fn aside(path: &Path, now: Timestamp, number: u32) -> PathBuf {
    let part = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let (stem, extension) = (part(path.file_stem()), part(path.extension()));
    let time = now.strftime("%Y%m%dT%H%M%S.%3fZ");
    let number = if number == 0 {
        String::new()
    } else {
        format!("-{number}")
    };
    let dot = if extension.is_empty() { "" } else { "." };
    path.with_file_name(format!("{stem}-{time}{number}{dot}{extension}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn text(path: &Path) -> String {
        fs_err::read_to_string(path).unwrap()
    }

    #[test]
    fn lines_are_appended_across_openings_and_only_the_owner_reads_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        for line in ["one\n", "two\n"] {
            LineFile::open(&path, FILE_BYTES_MAX)
                .unwrap()
                .append(line.as_bytes());
        }
        assert_eq!(text(&path), "one\ntwo\n");
        let mode = fs_err::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_full_file_is_set_aside_and_no_line_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let mut file = LineFile::open(&path, 10).unwrap();
        for line in 0..50 {
            file.append(format!("line {line}\n").as_bytes());
        }
        let mut lines = Vec::new();
        for entry in fs_err::read_dir(folder.path()).unwrap() {
            let path = entry.unwrap().path();
            assert!(fs_err::metadata(&path).unwrap().len() < 20, "{path:?}");
            lines.extend(text(&path).lines().map(str::to_owned));
        }
        lines.sort();
        let mut wanted: Vec<_> = (0..50).map(|line| format!("line {line}")).collect();
        wanted.sort();
        assert_eq!(lines, wanted);
    }

    #[test]
    fn a_name_says_when_the_file_was_full() {
        let at: Timestamp = "2026-01-02T03:04:05.678Z".parse().unwrap();
        let name = |path, number| aside(Path::new(path), at, number).display().to_string();
        assert_eq!(name("/d/audit.jsonl", 0), "/d/audit-20260102T030405.678Z.jsonl");
        assert_eq!(name("/d/log", 2), "/d/log-20260102T030405.678Z-2");
    }

    #[test]
    fn a_full_disk_loses_lines_and_nothing_else() {
        // Takes no byte, as a full disk does.
        let mut file =
            LineFile::open(&tempfile::tempdir().unwrap().path().join("log"), FILE_BYTES_MAX).unwrap();
        file.file = fs_err::OpenOptions::new().append(true).open("/dev/full").unwrap();
        file.append(b"one\n");
        file.append(b"two\n");
        assert_eq!(file.lost, 2);
    }

    #[test]
    fn a_device_is_refused() {
        let refused = LineFile::open(Path::new("/dev/null"), FILE_BYTES_MAX).unwrap_err();
        assert!(refused.to_string().contains("`/dev/null` is not a regular file"));
    }
}
