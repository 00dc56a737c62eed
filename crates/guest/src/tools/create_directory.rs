//! `create_directory`: a directory with its parents. One that exists already is fine.

use berth_guest_api::ToolResult;
use schemars::JsonSchema;
use serde::Deserialize;

use super::text::Text;
use super::{Spec, Tool, ToolError, done};
use crate::files;
use crate::guest::Guest;

pub(super) struct CreateDirectory;

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Args {
    /// Absolute path of the directory.
    path: Text,
}

impl Tool for CreateDirectory {
    const SPEC: Spec = Spec {
        name: "create_directory",
        server: "wuying_filesystem",
        description: "Creates a directory and its parents. Succeeds if it exists already.",
    };
    type Args = Args;

    async fn run(args: Args, guest: Guest) -> Result<ToolResult, ToolError> {
        let path = files::absolute(&args.path.0)?;
        guest.files.run(move || files::make_directory(&path)).await?;
        Ok(done())
    }
}
