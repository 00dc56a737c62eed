//! Puts the root of one sandbox together, in the calling thread's copy of the server's namespace.
//!
//! Image layers and the disk store the ids that the sandbox sees (0, 1000, ...). The kernel shifts them into the
//! sandbox's own range while mounting, so nothing is ever chowned, and a disk can move to another range.

use std::{
    fs::{File, Permissions},
    io::Read as _,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::PermissionsExt as _,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::CWD,
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, OpenTreeFlags, fsconfig_create,
        fsconfig_set_string, fsmount, fsopen, mount, open_tree,
    },
};

use crate::{
    StepError,
    root::{layers::attach, stage::Stage},
    sys::{loop_device::LoopDevice, mounts, user_namespace},
};

/// Where the guest's binary is, below the root.
const GUEST: &str = "opt/berth/berth-guest";

/// What one root is made from.
pub(crate) struct Parts<'a> {
    /// Mount points of the layers, bottom first.
    pub(crate) layers: &'a [PathBuf],
    /// The disk's file.
    pub(crate) disk: &'a Path,
    /// The guest's binary on the host.
    pub(crate) guest_binary: &'a Path,
    /// First id of the sandbox's range, and how many there are.
    pub(crate) ids: (u32, u32),
    /// Small files of the sandbox's own, by absolute path. They are ordinary files for it.
    pub(crate) files: &'a [(&'static str, String)],
}

/// Mounts the root at [`Stage::root`].
pub(crate) fn assemble(stage: &Stage, parts: &Parts<'_>) -> Result<(), StepError> {
    mount_disk(&stage.disk(), parts.disk)?;
    fill(&stage.disk().join("upper"), parts.files)?;
    let work = stage.disk().join("work");
    fs_err::create_dir_all(&work).map_err(StepError::path("make", &work))?;

    let namespace = user_namespace::make(parts.ids.0, parts.ids.1)
        .map_err(StepError::system("make a user namespace for the ids"))?;
    let shift = |from: &Path, to: &Path| {
        let mount = clone(from)?;
        mounts::shift_ids(mount.as_fd(), namespace.as_fd())
            .map_err(StepError::path("shift the ids of the mount", from))?;
        // Older kernels take only attached mounts as the layers of an overlay.
        attach(&mount, to)
    };
    let mut lowers = Vec::with_capacity(parts.layers.len());
    for (index, layer) in parts.layers.iter().enumerate() {
        let lower = stage.lower(index)?;
        shift(layer, &lower)?;
        lowers.push(lower);
    }
    shift(&stage.disk(), &stage.upper())?;
    // An overlay's first lower layer is its topmost.
    lowers.reverse();
    let root = mounts::as_root_of_sandbox(parts.ids.0, || overlay(&lowers, &stage.upper()))
        .map_err(StepError::system("act with the ids of the sandbox"))??;
    attach(&root, &stage.root())?;

    let guest = clone(parts.guest_binary)?;
    mounts::make_read_only(guest.as_fd())
        .map_err(StepError::path("make read-only the mount of", parts.guest_binary))?;
    attach(&guest, &stage.root().join(GUEST))
}

/// Mounts the disk. The loop device is freed with the last mount of it.
fn mount_disk(place: &Path, disk: &Path) -> Result<(), StepError> {
    let file = File::options()
        .read(true)
        .write(true)
        .open(disk)
        .map_err(StepError::path("open the disk", disk))?;
    let device =
        LoopDevice::attach(&file, false).map_err(StepError::path("make a loop device for the disk", disk))?;
    // `discard` gives the space of deleted files back to the host; `noinit_itable` keeps the kernel from writing out
    // empty inode tables in the background.
    mount(
        device.path(),
        place,
        "ext4",
        MountFlags::NOSUID | MountFlags::NODEV,
        Some(c"discard,noinit_itable"),
    )
    .map_err(StepError::path("mount the disk", disk))
}

/// Writes the sandbox's own files below the upper layer, before anything of the sandbox runs.
///
/// Not through the finished root: a layer could have a symbolic link at one of these paths. Here they are new names in
/// new folders, which hide what the layers have.
fn fill(upper: &Path, files: &[(&'static str, String)]) -> Result<(), StepError> {
    for (path, content) in files
        .iter()
        .map(|(path, content)| (*path, content.as_str()))
        .chain([(GUEST, "")])
    {
        let path = upper.join(path.trim_start_matches('/'));
        for folder in path
            .ancestors()
            .skip(1)
            .take_while(|folder| folder.starts_with(upper))
        {
            fs_err::create_dir_all(folder).map_err(StepError::path("make", folder))?;
            set_mode(folder, 0o755)?;
        }
        fs_err::write(&path, content).map_err(StepError::path("write", &path))?;
        set_mode(&path, 0o644)?;
    }
    Ok(())
}

/// Sets a mode whatever the server's umask is.
fn set_mode(path: &Path, mode: u32) -> Result<(), StepError> {
    fs_err::set_permissions(path, Permissions::from_mode(mode))
        .map_err(StepError::path("set the mode of", path))
}

fn clone(path: &Path) -> Result<OwnedFd, StepError> {
    open_tree(
        CWD,
        path,
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
    )
    .map_err(StepError::path("copy the mount of", path))
}

fn overlay(lowers: &[PathBuf], upper: &Path) -> Result<OwnedFd, StepError> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)
        .map_err(StepError::system("open the overlay file system"))?;
    configure(&context, lowers, upper).map_err(|source| StepError::Mount {
        kind: "overlay",
        path: upper.into(),
        said: explanation(&context)
            .map(|said| format!(" ({said})"))
            .unwrap_or_default(),
        source: source.into(),
    })
}

fn configure(context: &OwnedFd, lowers: &[PathBuf], upper: &Path) -> Result<OwnedFd, Errno> {
    fsconfig_set_string(context, "source", "berth")?;
    for (index, lower) in lowers.iter().enumerate() {
        match fsconfig_set_string(context, "lowerdir+", lower) {
            Ok(()) => {}
            // Kernels before 6.8 take all layers in one string.
            Err(Errno::INVAL) if index == 0 => {
                let all: Vec<&str> = lowers.iter().filter_map(|lower| lower.to_str()).collect();
                fsconfig_set_string(context, "lowerdir", all.join(":"))?;
                break;
            }
            Err(error) => return Err(error),
        }
    }
    fsconfig_set_string(context, "upperdir", upper.join("upper"))?;
    fsconfig_set_string(context, "workdir", upper.join("work"))?;
    // Folders of the image can be renamed, as package managers do.
    fsconfig_set_string(context, "redirect_dir", "on")?;
    fsconfig_create(context)?;
    fsmount(
        context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::MOUNT_ATTR_NODEV,
    )
}

/// What the kernel says about a mount that it refused.
fn explanation(context: &OwnedFd) -> Option<String> {
    let mut file = File::from(context.try_clone().ok()?);
    let mut buffer = [0; 512];
    let length = file.read(&mut buffer).ok()?;
    let text = String::from_utf8_lossy(&buffer[..length]);
    Some(text.trim().chars().filter(|c| !c.is_control()).collect())
}
