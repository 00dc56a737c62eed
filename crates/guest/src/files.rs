//! Files of the session, always with the rights of its user.
//!
//! Work runs on a few threads that act as the user, so the kernel decides what is allowed; the guest's own threads
//! never open a path that a caller names. Errors name the path here, so this and the tools use `std::fs`. Only plain
//! files are read and written: a device or a pipe could block for ever.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};

use rustix::fs::OFlags;
use tokio::sync::oneshot;

use crate::user::User;

/// Threads that work with files at the same time.
const THREADS: usize = 4;

/// Work that waits for a thread. When it is full, a call is refused and says so.
const WAITING_MAX: usize = 64;

type Work = Box<dyn FnOnce() + Send>;

/// Why a file could not be used. Every variant names the path.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Relative paths depend on a directory that nobody agreed on.
    #[error("`path` is `{0}`; allowed: an absolute path, such as `/home/user/notes.txt`")]
    NotAbsolute(String),
    /// A NUL byte ends a path for the kernel.
    #[error("`path` holds a NUL character, which no path may")]
    Nul,
    /// Nothing is there.
    #[error("`{0}` not found: no such file or directory")]
    NotFound(String),
    /// Something is there already, and the caller asked for a new file.
    #[error("`{0}` exists already; use `mode` `overwrite` or `append` to change it")]
    Exists(String),
    /// Something is where a file should go that was to be moved.
    #[error("`{0}` exists already; move it away or choose another destination")]
    Occupied(String),
    /// A file does not hold the text that was to be replaced.
    #[error("`{path}` does not hold this text, and was not changed: {text:?}")]
    TextNotFound {
        /// The path.
        path: String,
        /// How the text begins.
        text: String,
    },
    /// Files before it filled the answer.
    #[error(
        "`{path}` was not read: the files before it fill the answer ({allowed} bytes); read it by itself"
    )]
    NoRoom {
        /// The path.
        path: String,
        /// Bytes of all files together.
        allowed: u64,
    },
    /// More directories than one watch may have, here or for all watches of the session.
    #[error("`{path}` has too many directories to be watched (at most {allowed}); watch a smaller part")]
    TooManyFolders {
        /// The path.
        path: String,
        /// Directories that are allowed.
        allowed: usize,
    },
    /// More changes than are kept.
    #[error(
        "more than {allowed} changes below `{path}` since the last call: some are missing; watching goes on"
    )]
    ChangesLost {
        /// The path.
        path: String,
        /// Changes that are kept.
        allowed: usize,
    },
    /// Something else than what is needed.
    #[error("`{path}` is {kind}, not {wanted}")]
    Kind {
        /// The path.
        path: String,
        /// What it is.
        kind: &'static str,
        /// What was needed.
        wanted: &'static str,
    },
    /// More than one call returns.
    #[error(
        "`{path}`: {bytes} bytes from `offset` are more than one call returns ({allowed}); read it in parts with \
         `offset` and `length`"
    )]
    TooLarge {
        /// The path.
        path: String,
        /// Bytes that were asked for.
        bytes: u64,
        /// Bytes that are allowed.
        allowed: u64,
    },
    /// The system refused.
    #[error("could not {doing} `{path}`: {cause}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The path.
        path: String,
        /// The system's reason.
        cause: io::Error,
    },
    /// All threads are busy and enough work waits.
    #[error("{WAITING_MAX} file operations are waiting already; try again when some have finished")]
    Busy,
    /// The thread that did the work is gone.
    #[error("the file operation was lost")]
    Lost,
}

/// Threads that act as the session's user.
#[derive(Debug, Clone)]
pub struct Files {
    work: SyncSender<Work>,
}

impl Files {
    /// Starts the threads. Fails when they cannot act as `user`.
    pub fn new(user: &User) -> io::Result<Self> {
        let (work, waiting) = sync_channel::<Work>(WAITING_MAX);
        let waiting = Arc::new(Mutex::new(waiting));
        for number in 0..THREADS {
            let (user, waiting) = (user.clone(), Arc::clone(&waiting));
            let (ready_to, ready) = sync_channel(1);
            std::thread::Builder::new()
                .name(format!("files-{number}"))
                .spawn(move || {
                    let acting = user.act_in_this_thread();
                    let may_work = acting.is_ok();
                    // A thread without the user's rights must not touch a file.
                    if ready_to.send(acting).is_ok() && may_work {
                        serve(&waiting);
                    }
                })?;
            ready
                .recv()
                .map_err(|_| io::Error::other("a file thread did not start"))??;
        }
        Ok(Self { work })
    }

    /// Runs `task` with the user's rights.
    pub async fn run<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, FileError> {
        let (done, result) = oneshot::channel();
        let work = Box::new(move || {
            let _ = done.send(task());
        });
        self.work.try_send(work).map_err(|error| match error {
            TrySendError::Full(_) => FileError::Busy,
            TrySendError::Disconnected(_) => FileError::Lost,
        })?;
        result.await.map_err(|_| FileError::Lost)?
    }
}

fn serve(waiting: &Mutex<Receiver<Work>>) {
    loop {
        let next = match waiting.lock() {
            Ok(waiting) => waiting.recv(),
            Err(_) => return,
        };
        let Ok(work) = next else { return };
        // A panic answers its caller with "lost" and must not cost a thread.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    }
}

/// `text` as an absolute path; a trailing slash is tolerated.
pub fn absolute(text: &str) -> Result<PathBuf, FileError> {
    if text.contains('\0') {
        return Err(FileError::Nul);
    }
    if !text.starts_with('/') {
        return Err(FileError::NotAbsolute(text.to_owned()));
    }
    let trimmed = text.trim_end_matches('/');
    Ok(PathBuf::from(if trimmed.is_empty() { "/" } else { trimmed }))
}

/// An I/O error about `path`, with the two that callers look for in words of their own.
pub fn failed(doing: &'static str, path: &Path, error: io::Error) -> FileError {
    let path = path.display().to_string();
    match error.kind() {
        io::ErrorKind::NotFound => FileError::NotFound(path),
        io::ErrorKind::AlreadyExists => FileError::Exists(path),
        _ => FileError::Io {
            doing,
            path,
            cause: error,
        },
    }
}

/// Makes a directory and its parents.
pub fn make_directory(path: &Path) -> Result<(), FileError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .create(path)
        .map_err(|error| match failed("create", path, error) {
            // A directory would not have been an error.
            FileError::Exists(path) => FileError::Kind {
                path,
                kind: "a file",
                wanted: "a directory",
            },
            other => other,
        })
}

/// Refuses what is no directory.
pub fn check_directory(path: &Path, doing: &'static str) -> Result<(), FileError> {
    let about = std::fs::metadata(path).map_err(|error| failed(doing, path, error))?;
    if about.is_dir() {
        return Ok(());
    }
    Err(FileError::Kind {
        path: path.display().to_string(),
        kind: "a file",
        wanted: "a directory",
    })
}

/// Opens a plain file without ever blocking.
pub fn open(path: &Path, options: &mut OpenOptions, doing: &'static str) -> Result<File, FileError> {
    // NONBLOCK: opening a pipe would wait for its other end. NOCTTY: a terminal must not become ours.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC).bits();
    let opened = options.custom_flags(i32::try_from(flags).unwrap_or(0)).open(path);
    let file = opened.map_err(|error| refused(path, &error).unwrap_or_else(|| failed(doing, path, error)))?;
    let kind = file
        .metadata()
        .map_err(|error| failed(doing, path, error))?
        .file_type();
    match kind_of(kind) {
        None => Ok(file),
        Some(kind) => Err(FileError::Kind {
            path: path.display().to_string(),
            kind,
            wanted: "a plain file",
        }),
    }
}

/// Opening some kinds fails before they can be looked at.
fn refused(path: &Path, error: &io::Error) -> Option<FileError> {
    if !matches!(error.raw_os_error(), Some(raw) if raw == rustix::io::Errno::NXIO.raw_os_error()
        || raw == rustix::io::Errno::ISDIR.raw_os_error())
    {
        return None;
    }
    let kind = kind_of(std::fs::metadata(path).ok()?.file_type())?;
    Some(FileError::Kind {
        path: path.display().to_string(),
        kind,
        wanted: "a plain file",
    })
}

/// What `kind` is called, if it is no plain file.
pub fn kind_of(kind: std::fs::FileType) -> Option<&'static str> {
    if kind.is_file() {
        None
    } else if kind.is_dir() {
        Some("a directory")
    } else if kind.is_fifo() {
        Some("a named pipe")
    } else if kind.is_socket() {
        Some("a socket")
    } else {
        Some("a device")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_absolute_and_a_trailing_slash_is_tolerated() {
        assert_eq!(absolute("/tmp/").unwrap(), PathBuf::from("/tmp"));
        assert_eq!(absolute("/").unwrap(), PathBuf::from("/"));
        assert!(absolute("tmp").unwrap_err().to_string().contains("`tmp`"));
        assert!(matches!(absolute("/a\0b"), Err(FileError::Nul)));
    }
}
