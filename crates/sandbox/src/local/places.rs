//! Where things of this server and of its sandboxes are on the host. No session can write to any of it.

use std::{
    fs::{File, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, flock};

use crate::{SandboxId, StepError};

/// Longest path of a Unix socket, without its final NUL.
const MAX_SOCKET_PATH: usize = 107;

/// The server's places.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// Folders of sandboxes. Survives a restart of the machine.
    pub(crate) state: PathBuf,
    /// Sockets and state of running sandboxes. Need not survive it.
    pub(crate) run: PathBuf,
}

/// One sandbox's places.
#[derive(Debug, Clone)]
pub(crate) struct SandboxPlaces {
    /// The first thing of a sandbox to be made and the last to be removed.
    pub(crate) folder: PathBuf,
    /// Where the guest listens. Not in the folder: the path of a socket must be short.
    pub(crate) socket: PathBuf,
}

impl Places {
    /// The server's own files beside the sandboxes. No id starts with a dot.
    pub(crate) fn server(state: &Path) -> PathBuf {
        state.join(".server")
    }

    /// Formatted disks to copy from; beside the sandboxes, so that a copy can share blocks.
    pub(crate) fn templates(&self) -> PathBuf {
        self.state.join(".templates")
    }

    /// The runtime's state.
    pub(crate) fn runtime(&self) -> PathBuf {
        self.run.join("runtime")
    }

    /// Mount point of the server's namespace; an empty folder on the host.
    pub(crate) fn stage(&self) -> PathBuf {
        self.run.join("stage")
    }

    fn sockets(&self) -> PathBuf {
        self.run.join("guest")
    }

    /// The places of one sandbox.
    pub(crate) fn of(&self, id: &SandboxId) -> SandboxPlaces {
        SandboxPlaces {
            folder: self.state.join(id.as_str()),
            socket: self.sockets().join(format!("{id}.sock")),
        }
    }

    /// Makes the folders. The runtime opens a root as its sandbox's user, who therefore may pass through `run`.
    pub(crate) fn make(&self) -> Result<(), StepError> {
        let longest = self.sockets().as_os_str().len() + "/.sock".len() + 64;
        if longest > MAX_SOCKET_PATH {
            return Err(StepError::Unexpected {
                what: "the run directory",
                got: format!("`{}`", self.run.display()),
                expected: "choose a shorter path, since sockets are made in it",
            });
        }
        make_folder(&self.run, 0o711)?;
        make_folder(&self.stage(), 0o711)?;
        make_folder(&self.runtime(), 0o700)?;
        make_folder(&self.sockets(), 0o700)?;
        make_folder(&self.templates(), 0o700)
    }
}

impl SandboxPlaces {
    /// What a later server needs to know.
    pub(crate) fn record(&self) -> PathBuf {
        self.folder.join("record.json")
    }

    /// The disk.
    pub(crate) fn disk(&self) -> PathBuf {
        self.folder.join("disk.ext4")
    }

    /// The guest's output.
    pub(crate) fn output(&self) -> PathBuf {
        self.folder.join("output")
    }

    /// The bundle's folder.
    pub(crate) fn bundle(&self) -> PathBuf {
        self.folder.join("bundle")
    }

    /// Where the runtime writes the number of the first process.
    pub(crate) fn pid_file(&self) -> PathBuf {
        self.folder.join("pid")
    }

    /// The runtime's messages.
    pub(crate) fn runtime_log(&self) -> PathBuf {
        self.folder.join("runtime.log")
    }
}

/// Makes a folder with this mode, whatever the umask is, and its parents. One that is there stays as it is.
pub(crate) fn make_folder(path: &Path, mode: u32) -> Result<(), StepError> {
    if path.is_dir() {
        return Ok(());
    }
    fs_err::create_dir_all(path).map_err(StepError::path("make", path))?;
    fs_err::set_permissions(path, Permissions::from_mode(mode))
        .map_err(StepError::path("set the mode of", path))
}

/// Takes the lock of a file, which is made if need be. `None` when somebody else holds it for as long as `limit`.
pub(crate) fn lock_within(path: &Path, limit: Duration) -> Result<Option<File>, StepError> {
    const PAUSE: Duration = Duration::from_millis(5);

    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(StepError::path("open", path))?;
    let end = Instant::now() + limit;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < end => std::thread::sleep(PAUSE),
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(StepError::path("lock", path)(error)),
        }
    }
}

/// Removes a folder with all in it, if it is there. Symbolic links in it are removed, not followed.
pub(crate) fn remove_tree(path: &Path) -> Result<(), StepError> {
    match fs_err::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StepError::path("remove", path)(error)),
        _ => Ok(()),
    }
}
