//! `move_file`: moves or renames a file or directory. In: two absolute paths. Never over something that exists.

use std::path::Path;
use std::time::Duration;

use berth_guest_api::ToolResult;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use schemars::JsonSchema;
use serde::Deserialize;

use super::text::Text;
use super::{Spec, Tool, ToolError, done};
use crate::files::{self, FileError};
use crate::guest::Guest;
use crate::job::wire::Exit;

/// How long a move between two file systems may take: it copies.
const COPY_TIME_MAX: Duration = Duration::from_secs(600);

pub(super) struct MoveFile;

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Args {
    /// Absolute path of what to move.
    source: Text,
    /// Absolute path that it gets. Nothing may be there yet; missing parents are made.
    destination: Text,
}

impl Tool for MoveFile {
    const SPEC: Spec = Spec {
        name: "move_file",
        server: "wuying_filesystem",
        description: "Moves or renames a file or directory. Fails if the destination exists.",
    };
    type Args = Args;

    async fn run(args: Args, guest: Guest) -> Result<ToolResult, ToolError> {
        let source = files::absolute(&args.source.0)?;
        let destination = files::absolute(&args.destination.0)?;
        let (from, to) = (source.clone(), destination.clone());
        let renamed = guest.files.run(move || rename(&from, &to)).await?;
        if !renamed {
            copy(&source, &destination, &guest).await?;
        }
        Ok(done())
    }
}

/// False when the two are on different file systems.
fn rename(source: &Path, destination: &Path) -> Result<bool, FileError> {
    std::fs::symlink_metadata(source).map_err(|error| files::failed("move", source, error))?;
    if let Some(parent) = destination.parent() {
        files::make_directory(parent)?;
    }
    match renameat_with(CWD, source, CWD, destination, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::XDEV) => Ok(false),
        Err(Errno::EXIST) => Err(FileError::Occupied(destination.display().to_string())),
        Err(error) => Err(files::failed("move", source, error.into())),
    }
}

/// What `rename` cannot do, `mv` does: it copies everything with its owners, modes, times and links, and then removes it.
async fn copy(source: &Path, destination: &Path, guest: &Guest) -> Result<(), ToolError> {
    let place = |path: &Path| path.to_string_lossy().into_owned();
    if destination.symlink_metadata().is_ok() {
        return Err(FileError::Occupied(place(destination)).into());
    }
    let command = [
        "mv",
        "--no-clobber",
        "-T",
        "--",
        &place(source),
        &place(destination),
    ];
    let command = command.map(str::to_owned).to_vec();
    let moved = guest.jobs.complete(command, "/", COPY_TIME_MAX).await?;
    if moved.exit == Some(Exit::Code(0)) {
        return Ok(());
    }
    Err(files::failed("move", source, std::io::Error::other(moved.complaint)).into())
}
