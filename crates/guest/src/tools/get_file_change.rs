//! `get_file_change`: what changed below a directory since the last call for it. The first call begins to watch.

use berth_guest_api::ToolResult;
use schemars::JsonSchema;
use serde::Deserialize;

use super::text::Text;
use super::{Spec, Tool, ToolError};
use crate::files;
use crate::guest::Guest;

pub(super) struct GetFileChange;

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Args {
    /// Absolute path of the directory.
    path: Text,
}

impl Tool for GetFileChange {
    const SPEC: Spec = Spec {
        name: "get_file_change",
        server: "wuying_filesystem",
        description: "Tells what was created, modified or deleted below a directory since the last call for it, as a \
                      JSON array. The first call begins to watch and returns an empty array.",
    };
    type Args = Args;

    async fn run(args: Args, guest: Guest) -> Result<ToolResult, ToolError> {
        let path = files::absolute(&args.path.0)?;
        let changes = guest.polled.poll(&guest.files, path).await?;
        Ok(ToolResult::text(serde_json::to_string(&changes)?))
    }
}
