//! `list_directory`: the names in a directory, one a line, marked as directory or file.

use berth_guest_api::ToolResult;
use schemars::JsonSchema;
use serde::Deserialize;

use super::text::Text;
use super::{Spec, Tool, ToolError};
use crate::files::{self, FileError};
use crate::guest::Guest;

/// Names in one answer. Clients ignore the line that says how many more there are; a person does not.
const NAMES_MAX: usize = 20_000;

pub(super) struct ListDirectory;

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Args {
    /// Absolute path of the directory.
    path: Text,
}

impl Tool for ListDirectory {
    const SPEC: Spec = Spec {
        name: "list_directory",
        server: "wuying_filesystem",
        description: "Lists a directory: one line per entry, [DIR] or [FILE] and the name.",
    };
    type Args = Args;

    async fn run(args: Args, guest: Guest) -> Result<ToolResult, ToolError> {
        let path = files::absolute(&args.path.0)?;
        let text = guest.files.run(move || list(&path)).await?;
        Ok(ToolResult::text(text))
    }
}

fn list(path: &std::path::Path) -> Result<String, FileError> {
    files::check_directory(path, "list")?;
    let entries = std::fs::read_dir(path).map_err(|error| files::failed("list", path, error))?;
    let mut lines = Vec::new();
    let mut more = 0_usize;
    for entry in entries {
        let entry = entry.map_err(|error| files::failed("list", path, error))?;
        if lines.len() == NAMES_MAX {
            more += 1;
            continue;
        }
        // A link counts as what it leads to, as everywhere else.
        let is_directory = match entry.file_type() {
            Ok(kind) if kind.is_symlink() => {
                std::fs::metadata(entry.path()).is_ok_and(|target| target.is_dir())
            }
            Ok(kind) => kind.is_dir(),
            Err(_) => false,
        };
        // A line end inside a name would make two entries of one.
        let name = entry
            .file_name()
            .to_string_lossy()
            .replace('\n', "\\n")
            .replace('\r', "\\r");
        lines.push((name, is_directory));
    }
    lines.sort();
    let mut text: Vec<String> = lines
        .into_iter()
        .map(|(name, is_directory)| format!("[{}] {name}", if is_directory { "DIR" } else { "FILE" }))
        .collect();
    if more > 0 {
        text.push(format!("({more} more entries are not shown)"));
    }
    Ok(text.join("\n"))
}
