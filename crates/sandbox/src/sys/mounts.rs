//! Mount namespaces and attributes of mounts, for a thread that was started for them and ends after them.

#![expect(
    unsafe_code,
    reason = "`mount_setattr`, `unshare` and `setfsuid` have no safe form"
)]

use std::{
    ffi::c_long,
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use rustix::thread::{
    CapabilitiesSecureBits, LinkNameSpaceType, UnshareFlags, capabilities_secure_bits,
    move_into_link_name_space, set_capabilities_secure_bits, unshare_unsafe,
};

/// `struct mount_attr` of `linux/mount.h`.
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Gives the calling thread a copy of its mount namespace. Never call it on a thread that others use.
pub(crate) fn own_mount_namespace() -> io::Result<()> {
    // SAFETY: unsafe only for `UnshareFlags::FILES`, which is not among the flags.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
    Ok(())
}

/// Moves the calling thread into a mount namespace. Never call it on a thread that others use.
pub(crate) fn enter_mount_namespace(namespace: BorrowedFd<'_>) -> io::Result<()> {
    // A thread that shares its working directory with others may not change its mount namespace.
    // SAFETY: unsafe only for `UnshareFlags::FILES`, which is not among the flags.
    unsafe { unshare_unsafe(UnshareFlags::FS) }?;
    move_into_link_name_space(namespace, Some(LinkNameSpaceType::Mount))?;
    Ok(())
}

/// Moves the calling thread into a network namespace. Never call it on a thread that others use.
pub(crate) fn enter_network_namespace(namespace: BorrowedFd<'_>) -> io::Result<()> {
    move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?;
    Ok(())
}

/// The mount namespace of the calling thread; it lives as long as the file.
pub(crate) fn this_mount_namespace() -> io::Result<File> {
    File::open("/proc/thread-self/ns/mnt")
}

/// Shifts the ids of a detached mount by the map of `user_namespace`.
pub(crate) fn shift_ids(mount: BorrowedFd<'_>, user_namespace: BorrowedFd<'_>) -> io::Result<()> {
    let user_namespace =
        u64::try_from(user_namespace.as_raw_fd()).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    set_attributes(
        mount,
        &MountAttr {
            set: libc::MOUNT_ATTR_IDMAP,
            clear: 0,
            propagation: 0,
            user_namespace,
        },
    )
}

/// Makes a detached mount read-only, without devices and set-uid programs.
pub(crate) fn make_read_only(mount: BorrowedFd<'_>) -> io::Result<()> {
    let set = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOSUID;
    set_attributes(
        mount,
        &MountAttr {
            set,
            clear: 0,
            propagation: 0,
            user_namespace: 0,
        },
    )
}

fn set_attributes(mount: BorrowedFd<'_>, attributes: &MountAttr) -> io::Result<()> {
    // SAFETY: the kernel reads an empty C string and one `struct mount_attr` of the given size, both alive for the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            c_long::from(mount.as_fd().as_raw_fd()),
            c"".as_ptr(),
            c_long::from(libc::AT_EMPTY_PATH),
            std::ptr::from_ref(attributes),
            size_of::<MountAttr>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Runs `action` with the file-system ids of a sandbox's root, and all capabilities kept.
///
/// An overlay acts on its upper layer as the one who mounted it. Where that layer's ids are shifted, the host's root has
/// no place in the map, and the overlay would silently come up read-only.
pub(crate) fn as_root_of_sandbox<T>(id: u32, action: impl FnOnce() -> T) -> io::Result<T> {
    /// Puts back the ids when `action` is left, also by a panic.
    struct Restore(CapabilitiesSecureBits);

    impl Drop for Restore {
        fn drop(&mut self) {
            set_fs_ids(0);
            // Can only fail for a thread that lost `CAP_SETPCAP`, which it had a moment ago; the thread ends soon.
            let _ = set_capabilities_secure_bits(self.0);
        }
    }

    let bits = capabilities_secure_bits()?;
    // Without this bit the kernel would take the capabilities over files away together with user id 0.
    set_capabilities_secure_bits(bits | CapabilitiesSecureBits::NO_SETUID_FIXUP)?;
    let _restore = Restore(bits);
    if !set_fs_ids(id) {
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    Ok(action())
}

/// Sets both file-system ids of this thread, and says whether they hold now.
fn set_fs_ids(id: u32) -> bool {
    // SAFETY: plain system calls that change only the calling thread. They return the previous id, so the second call
    // says whether the first one worked.
    unsafe {
        libc::setfsgid(id);
        libc::setfsuid(id);
        let group = libc::setfsgid(id);
        let user = libc::setfsuid(id);
        user.cast_unsigned() == id && group.cast_unsigned() == id
    }
}
