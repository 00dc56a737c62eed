//! `read_multiple_files`: several text files in one answer. What cannot be read is answered by the reason.

use std::path::Path;

use berth_guest_api::ToolResult;
use schemars::JsonSchema;
use serde::Deserialize;

use super::read_file::{WINDOW_BYTES_MAX, read};
use super::text::Text;
use super::{Spec, Tool, ToolError};
use crate::files;
use crate::guest::Guest;

/// Files in one call.
const FILES_MAX: usize = 1000;

pub(super) struct ReadMultipleFiles;

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Args {
    /// Absolute paths of the files.
    paths: Vec<Text>,
}

impl Tool for ReadMultipleFiles {
    const SPEC: Spec = Spec {
        name: "read_multiple_files",
        server: "wuying_filesystem",
        description: "Reads several text files at once. A file that cannot be read is answered by the reason.",
    };
    type Args = Args;

    async fn run(args: Args, guest: Guest) -> Result<ToolResult, ToolError> {
        if args.paths.len() > FILES_MAX {
            return Err(ToolError::Field {
                field: "paths",
                got: format!("a list of {}", args.paths.len()),
                allowed: "at most 1000 paths",
            });
        }
        let text = guest.files.run(move || Ok(all(&args.paths))).await?;
        Ok(ToolResult::text(text))
    }
}

/// The form that clients take apart: the path and a colon, the content, and a line of three dashes between files.
fn all(paths: &[Text]) -> String {
    let mut left = WINDOW_BYTES_MAX;
    let blocks: Vec<String> = paths
        .iter()
        .map(|Text(path)| {
            let content = files::absolute(path).and_then(|path| text_of(&path, left));
            let content = content.unwrap_or_else(|error| error.to_string());
            left = left.saturating_sub(content.len() as u64);
            format!("{path}:\n{content}")
        })
        .collect();
    blocks.join("\n---\n")
}

fn text_of(path: &Path, left: u64) -> Result<String, files::FileError> {
    let bytes = read(path, 0, 0, 0)?;
    if bytes.len() as u64 > left {
        return Err(files::FileError::NoRoom {
            path: path.display().to_string(),
            allowed: WINDOW_BYTES_MAX,
        });
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
