//! Turns a filled folder into a layer: one erofs file, named by what is in it.

use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::Context;
use super::program::{Line, Program};
use crate::digest::Digest;
use crate::error::{Result, StoreContext as _};
use crate::progress::Event;
use crate::recipe::Recipe;
use crate::store::LayerRecord;

/// Overlayfs keeps notes in extended attributes with this prefix.
const OVERLAY_PREFIX: &[u8] = b"trusted.overlay.";

/// The only note that means something outside the mount that wrote it: a folder that hides what is below it.
const OPAQUE: &[u8] = b"trusted.overlay.opaque";

/// These would make a file depend on a layer below in a way that only the mount that wrote them understands.
const FORBIDDEN: [&[u8]; 2] = [b"trusted.overlay.metacopy", b"trusted.overlay.redirect"];

/// Packs the folder `diff` through `file` into the store.
pub(super) fn pack(
    context: Context<'_>,
    recipe: &Recipe,
    key: &Digest,
    diff: &Path,
    file: &Path,
) -> Result<LayerRecord> {
    context.step(&recipe.name, "packing the layer");
    // File times are kept: compiled Python and Java's archives compare them with their sources'.
    Program::new("mkfs.erofs")
        .args(["-zlz4", "-C65536", "--quiet"])
        .arg(file)
        .arg(diff)
        .run(&recipe.name, context.interrupt, |_| Line::Output)?;
    let record = context.store.add_layer(context.lock, key, &recipe.name, file)?;
    let (recipe, size_bytes) = (recipe.name.clone(), record.size_bytes);
    context.progress.report(Event::LayerDone { recipe, size_bytes });
    Ok(record)
}

/// Removes what overlayfs noted about the mount that filled `folder`. Whiteouts and opaque folders stay.
pub(super) fn strip(folder: &Path) -> Result<()> {
    strip_inner(folder).while_trying_to("clean a layer")
}

fn strip_inner(path: &Path) -> io::Result<()> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    for attribute in attributes(&name)? {
        let bytes = attribute.to_bytes();
        if FORBIDDEN.contains(&bytes) {
            let problem = format!(
                "`{}` depends on a layer below it: {}",
                path.display(),
                attribute.to_string_lossy()
            );
            return Err(io::Error::other(problem));
        }
        if bytes.starts_with(OVERLAY_PREFIX) && bytes != OPAQUE {
            rustix::fs::lremovexattr(&name, &attribute)?;
        }
    }
    if fs_err::symlink_metadata(path)?.is_dir() {
        for entry in fs_err::read_dir(path)? {
            strip_inner(&entry?.path())?;
        }
    }
    Ok(())
}

fn attributes(path: &CStr) -> io::Result<Vec<CString>> {
    let mut names = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(path, &mut names)?;
    names.truncate(length);
    Ok(names
        .split_inclusive(|byte| *byte == 0)
        .filter_map(|name| CStr::from_bytes_with_nul(name).ok().map(CStr::to_owned))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_notes_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        fs_err::create_dir(folder.path().join("a")).unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("a/link")).unwrap();
        strip(folder.path()).unwrap();
        assert!(
            fs_err::symlink_metadata(folder.path().join("a/link"))
                .unwrap()
                .is_symlink()
        );
    }
}
