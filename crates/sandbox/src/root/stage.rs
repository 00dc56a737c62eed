//! The server's own mount namespace, and the copies of it in which sandboxes are put together.
//!
//! Nothing is mounted where the host could see it. At start, one short-lived thread makes a mount namespace; the server
//! holds it by a descriptor. Image layers are mounted there once. To make a sandbox, a thread enters it, takes a copy of
//! its own, mounts the sandbox's root and starts the runtime from there. When the thread ends, its copy goes; when the
//! server ends, however it ends, its namespace and the layers in it go. Running sandboxes keep what they use.

use std::{
    fs::File,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use rustix::{
    io::Errno,
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
};

use crate::{StepError, sys::mounts};

/// A namespace of the server with a file system in memory at one folder of the host, which stays empty outside.
#[derive(Debug)]
pub(crate) struct Stage {
    folder: PathBuf,
    namespace: File,
}

impl Stage {
    /// Makes the namespace. `folder` exists and is empty; every user may pass through it, because the runtime opens the
    /// root as the sandbox's user.
    pub(crate) fn build(folder: PathBuf) -> Result<Self, StepError> {
        let place = folder.clone();
        let made = std::thread::Builder::new()
            .name("sandbox-stage".into())
            .spawn(move || Self::set_up(&place))
            .map_err(StepError::system("start a thread"))?
            .join();
        let namespace = made.map_err(|_| StepError::Lost("mount namespace"))??;
        Ok(Self { folder, namespace })
    }

    fn set_up(folder: &Path) -> Result<File, StepError> {
        mounts::own_mount_namespace().map_err(StepError::system("make a mount namespace"))?;
        // Not private: what the host mounts and unmounts later shall happen here as well, or a disk that was unmounted
        // on the host would stay busy as long as the server runs. Nothing goes from here to the host.
        let receive = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        mount_change("/", receive).map_err(StepError::system("detach the mount namespace"))?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount(
            "berth",
            folder,
            "tmpfs",
            flags,
            Some(c"mode=0711,size=1m,nr_inodes=4096"),
        )
        .map_err(StepError::path("mount a file system in memory at", folder))?;
        for name in ["layers", "lower", "disk", "upper", "root"] {
            let path = folder.join(name);
            fs_err::create_dir(&path).map_err(StepError::path("make", &path))?;
        }
        mounts::this_mount_namespace().map_err(StepError::system("hold the mount namespace"))
    }

    /// Moves the calling thread into the server's namespace. The thread must be one that ends afterwards.
    pub(crate) fn enter(&self) -> Result<(), StepError> {
        mounts::enter_mount_namespace(self.namespace.as_fd())
            .map_err(StepError::system("enter the server's mount namespace"))
    }

    /// After [`Stage::enter`]: gives the thread a copy in which to make one sandbox.
    pub(crate) fn copy(&self) -> Result<(), StepError> {
        mounts::own_mount_namespace().map_err(StepError::system("copy the server's mount namespace"))
    }

    /// Where image layers are mounted, once each.
    pub(crate) fn layer(&self, number: u64) -> PathBuf {
        self.folder.join("layers").join(number.to_string())
    }

    /// Where a layer is mounted with shifted ids, for one sandbox.
    pub(crate) fn lower(&self, index: usize) -> Result<PathBuf, StepError> {
        let path = self.folder.join("lower").join(index.to_string());
        make_folder(&path)?;
        Ok(path)
    }

    /// Where the disk is mounted, as it is.
    pub(crate) fn disk(&self) -> PathBuf {
        self.folder.join("disk")
    }

    /// Where the disk is mounted with shifted ids.
    pub(crate) fn upper(&self) -> PathBuf {
        self.folder.join("upper")
    }

    /// Where the finished root is mounted.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.join("root")
    }
}

/// Makes a folder that another thread may be making as well: the file system is common to all copies.
pub(crate) fn make_folder(path: &Path) -> Result<(), StepError> {
    match rustix::fs::mkdir(path, rustix::fs::Mode::from_raw_mode(0o711)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(StepError::path("make", path)(error)),
    }
}
