//! `delete_file`: removes a file. A directory is an error, a link is removed itself.

use std::path::Path;

use berth_guest_api::ToolResult;
use schemars::JsonSchema;
use serde::Deserialize;

use super::text::Text;
use super::{Spec, Tool, ToolError, done};
use crate::files::{self, FileError};
use crate::guest::Guest;

pub(super) struct DeleteFile;

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Args {
    /// Absolute path of the file.
    path: Text,
}

impl Tool for DeleteFile {
    const SPEC: Spec = Spec {
        name: "delete_file",
        server: "wuying_filesystem",
        description: "Deletes a file. Directories are not deleted; use the shell for those.",
    };
    type Args = Args;

    async fn run(args: Args, guest: Guest) -> Result<ToolResult, ToolError> {
        let path = files::absolute(&args.path.0)?;
        guest.files.run(move || delete(&path)).await?;
        Ok(done())
    }
}

fn delete(path: &Path) -> Result<(), FileError> {
    let failed = |error| files::failed("delete", path, error);
    if std::fs::symlink_metadata(path).map_err(failed)?.is_dir() {
        return Err(FileError::Kind {
            path: path.display().to_string(),
            kind: "a directory",
            wanted: "a file",
        });
    }
    std::fs::remove_file(path).map_err(failed)
}
