//! `get_file_info`: size, kind, time, mode and owner, one `key: value` a line.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use berth_guest_api::ToolResult;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;

use super::text::Text;
use super::{Spec, Tool, ToolError};
use crate::files::{self, FileError};
use crate::guest::Guest;
use crate::user::Names;

pub(super) struct GetFileInfo;

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Args {
    /// Absolute path of a file or directory.
    path: Text,
}

impl Tool for GetFileInfo {
    const SPEC: Spec = Spec {
        name: "get_file_info",
        server: "wuying_filesystem",
        description: "Tells size, kind, modification time, mode, owner and group of a file or directory.",
    };
    type Args = Args;

    async fn run(args: Args, guest: Guest) -> Result<ToolResult, ToolError> {
        let path = files::absolute(&args.path.0)?;
        let text = guest.files.run(move || describe(&path)).await?;
        Ok(ToolResult::text(text))
    }
}

fn describe(path: &Path) -> Result<String, FileError> {
    let about = std::fs::metadata(path).map_err(|error| files::failed("look at", path, error))?;
    let names = Names::load();
    let name = path
        .file_name()
        .map_or_else(|| "/".into(), |name| name.to_string_lossy());
    // No colon in the time: clients cut a value at its second colon.
    let time = Timestamp::from_second(about.mtime())
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .strftime("%Y%m%dT%H%M%SZ");
    let line = |text: &str| text.replace('\n', "\\n");
    Ok(format!(
        "name: {}\npath: {}\nsize: {}\nisDirectory: {}\nmodTime: {time}\nmode: {}\nowner: {}\ngroup: {}",
        line(&name),
        line(&path.to_string_lossy()),
        about.len(),
        about.is_dir(),
        mode(&about),
        names.user(about.uid()),
        names.group(about.gid()),
    ))
}

/// As `ls -l` writes it.
fn mode(about: &std::fs::Metadata) -> String {
    let kind = about.file_type();
    let mut text = String::from(if kind.is_dir() {
        "d"
    } else if kind.is_char_device() {
        "c"
    } else if kind.is_block_device() {
        "b"
    } else if kind.is_fifo() {
        "p"
    } else if kind.is_socket() {
        "s"
    } else {
        "-"
    });
    let bits = about.mode();
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let of = bits >> shift;
        text.push(if of & 4 != 0 { 'r' } else { '-' });
        text.push(if of & 2 != 0 { 'w' } else { '-' });
        text.push(match (of & 1 != 0, bits & special != 0) {
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}
