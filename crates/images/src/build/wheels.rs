//! Downloads Python packages on the host, for the Python inside the image.
//!
//! The host has the way to the package index, its certificates and its settings; the image gets files whose digests
//! are in the recipe, and nothing of that.

use std::path::{Path, PathBuf};

use super::Context;
use super::program::{Line, Program};
use crate::error::{Result, StoreContext as _};
use crate::recipe::Python;

/// What the image's C library runs: Debian 13 has glibc 2.41.
const GLIBC_MINORS: std::ops::RangeInclusive<u32> = 17..=41;

/// The name of the requirements in the folder that [`download`] fills.
const REQUIREMENTS: &str = "requirements.txt";

/// Fills `folder` with the wheels that `python` asks for and its requirements; returns it.
pub(super) fn download(
    context: Context<'_>,
    recipe: &str,
    python: &Python,
    folder: &Path,
) -> Result<PathBuf> {
    let action = "make a folder for python packages";
    fs_err::create_dir(folder).while_trying_to(action)?;
    let requirements = folder.join(REQUIREMENTS);
    fs_err::write(&requirements, &python.requirements).while_trying_to(action)?;

    let cache = context.store.cache_folder("wheels")?;
    context.step(recipe, "downloading python packages");
    let pip = |args: &[&str]| {
        Program::new("pip3")
            .args([
                "download",
                "-q",
                "--disable-pip-version-check",
                "--no-deps",
                "--require-hashes",
            ])
            .args([
                "--only-binary",
                ":all:",
                "--implementation",
                "cp",
                "--python-version",
                &python.version,
            ])
            .args(platforms())
            .args(args)
            .arg("--find-links")
            .arg(&cache)
            .arg("--dest")
            .arg(folder)
            .arg("--requirement")
            .arg(&requirements)
            .run(recipe, context.interrupt, |_| Line::Output)
    };
    // With all in the cache this works without a network; with something new in the recipe it fails at once.
    let has_cache = fs_err::read_dir(&cache).while_trying_to(action)?.next().is_some();
    if !has_cache || pip(&["--no-index"]).is_err() {
        pip(&[])?;
        keep(folder, &cache)?;
    }
    Ok(folder.to_owned())
}

/// Every tag that a wheel for the image may carry.
fn platforms() -> Vec<String> {
    let architecture = std::env::consts::ARCH;
    GLIBC_MINORS
        .rev()
        .map(|minor| format!("manylinux_2_{minor}_{architecture}"))
        .chain([format!("manylinux2014_{architecture}")])
        .flat_map(|platform| ["--platform".to_owned(), platform])
        .collect()
}

/// Copies new wheels into the cache, each whole or not at all.
fn keep(folder: &Path, cache: &Path) -> Result<()> {
    let action = "keep downloaded python packages";
    for entry in fs_err::read_dir(folder).while_trying_to(action)? {
        let entry = entry.while_trying_to(action)?;
        let kept = cache.join(entry.file_name());
        if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "whl")
            && !kept.exists()
        {
            let partial = cache.join(format!("{}.partial", entry.file_name().to_string_lossy()));
            fs_err::copy(entry.path(), &partial).while_trying_to(action)?;
            fs_err::rename(&partial, &kept).while_trying_to(action)?;
        }
    }
    Ok(())
}
