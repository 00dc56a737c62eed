//! The programs of the host that a build runs.

use std::path::Path;

use crate::error::{Error, Result};

/// A program that has to be installed for building images. Using them needs none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequiredProgram {
    /// The program.
    pub program: &'static str,
    /// The Debian package that brings it.
    pub package: &'static str,
    /// What it is needed for.
    pub purpose: &'static str,
}

/// Where Debian's keys are; a file instead of a program, but needed as much.
pub(super) const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// All that a build runs.
pub const REQUIRED_PROGRAMS: &[RequiredProgram] = &[
    RequiredProgram {
        program: "mmdebstrap",
        package: "mmdebstrap",
        purpose: "makes the lowest layer",
    },
    RequiredProgram {
        program: "mkfs.erofs",
        package: "erofs-utils",
        purpose: "packs layers",
    },
    RequiredProgram {
        program: "apt-get",
        package: "apt",
        purpose: "finds and downloads packages",
    },
    RequiredProgram {
        program: "pip3",
        package: "python3-pip",
        purpose: "downloads python packages",
    },
    RequiredProgram {
        program: "tar",
        package: "tar",
        purpose: "copies files into layers",
    },
    RequiredProgram {
        program: "unshare",
        package: "util-linux",
        purpose: "keeps mounts to the build",
    },
    RequiredProgram {
        program: "setpriv",
        package: "util-linux",
        purpose: "ends programs with the build",
    },
    RequiredProgram {
        program: KEYRING,
        package: "debian-archive-keyring",
        purpose: "checks what Debian signed",
    },
];

/// Those of [`REQUIRED_PROGRAMS`] that this machine lacks.
pub fn missing_programs() -> Vec<RequiredProgram> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |required: &&RequiredProgram| {
        Path::new(required.program).is_absolute() && Path::new(required.program).exists()
            || std::env::split_paths(&path).any(|folder| folder.join(required.program).is_file())
    };
    REQUIRED_PROGRAMS
        .iter()
        .filter(|required| !is_there(required))
        .copied()
        .collect()
}

/// Says what is missing before anything is begun.
pub(super) fn check() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::NotRoot);
    }
    match missing_programs().first() {
        Some(missing) => Err(Error::MissingProgram {
            program: missing.program,
            package: missing.package,
        }),
        None => Ok(()),
    }
}
