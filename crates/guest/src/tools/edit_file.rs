//! `edit_file`: replaces texts in a file. In: absolute path, pairs of old and new text. All of them or none.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use berth_guest_api::ToolResult;
use schemars::JsonSchema;
use serde::Deserialize;

use super::text::Text;
use super::{Spec, Tool, ToolError, done};
use crate::files::{self, FileError};
use crate::guest::Guest;

/// Largest file that is edited; the whole of it is in memory for the moment.
const FILE_BYTES_MAX: u64 = 64 << 20;

pub(super) struct EditFile;

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Args {
    /// Absolute path of the file.
    path: Text,
    /// Replacements of `oldText` by `newText`, made one after the other. Each replaces the first place where its old
    /// text stands.
    edits: Vec<Edit>,
    /// Only check that every old text is there.
    #[serde(rename = "dryRun")]
    dry_run: Option<bool>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Edit {
    /// Text that stands in the file, exactly; may span lines.
    #[serde(rename = "oldText")]
    old: Text,
    /// Text that takes its place.
    #[serde(rename = "newText")]
    new: Text,
}

impl Tool for EditFile {
    const SPEC: Spec = Spec {
        name: "edit_file",
        server: "wuying_filesystem",
        description: "Replaces texts in a file. Every oldText must stand in the file exactly, else nothing is changed. \
                      With dryRun, only checks.",
    };
    type Args = Args;

    async fn run(args: Args, guest: Guest) -> Result<ToolResult, ToolError> {
        let path = files::absolute(&args.path.0)?;
        let dry_run = args.dry_run.unwrap_or(false);
        guest.files.run(move || edit(&path, &args.edits, dry_run)).await?;
        Ok(done())
    }
}

fn edit(path: &Path, edits: &[Edit], dry_run: bool) -> Result<(), FileError> {
    let failed = |error: std::io::Error| files::failed("edit", path, error);
    let mut options = std::fs::OpenOptions::new();
    let mut file = files::open(path, options.read(true).write(!dry_run), "edit")?;
    let before_bytes = file.metadata().map_err(failed)?.len();
    if before_bytes > FILE_BYTES_MAX {
        return Err(FileError::TooLarge {
            path: path.display().to_string(),
            bytes: before_bytes,
            allowed: FILE_BYTES_MAX,
        });
    }
    let mut before = Vec::new();
    (&file)
        .take(FILE_BYTES_MAX)
        .read_to_end(&mut before)
        .map_err(failed)?;
    let after = edited(before, edits).map_err(|text| FileError::TextNotFound {
        path: path.display().to_string(),
        text,
    })?;
    if dry_run {
        return Ok(());
    }
    // Space first: a full disk must not leave half a file. A file system that cannot promise any is believed.
    if after.len() as u64 > before_bytes {
        match rustix::fs::fallocate(
            &file,
            rustix::fs::FallocateFlags::KEEP_SIZE,
            0,
            after.len() as u64,
        ) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
            Err(error) => return Err(failed(error.into())),
        }
    }
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    file.write_all(&after).map_err(failed)?;
    file.set_len(after.len() as u64).map_err(failed)
}

/// The file after all edits, or the beginning of the text that it does not hold. Bytes, so that a file need not be text.
fn edited(mut content: Vec<u8>, edits: &[Edit]) -> Result<Vec<u8>, String> {
    for Edit { old, new } in edits {
        let found = if old.0.is_empty() {
            // Only an empty file is "nothing".
            content.is_empty().then_some(0)
        } else {
            memchr::memmem::find(&content, old.0.as_bytes())
        };
        let Some(at) = found else {
            return Err(old.0.chars().take(200).collect());
        };
        content.splice(at..at + old.0.len(), new.0.bytes());
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(content: &str, old: &str, new: &str) -> Result<String, String> {
        let edits = [Edit {
            old: Text(old.into()),
            new: Text(new.into()),
        }];
        edited(content.into(), &edits).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn the_first_place_is_replaced() {
        assert_eq!(one("a b a", "a", "cc").unwrap(), "cc b a");
        assert_eq!(one("one\ntwo\n", "one\ntwo\n", "").unwrap(), "");
        assert_eq!(one("", "", "new").unwrap(), "new");
    }

    #[test]
    fn a_text_that_is_not_there_is_named() {
        assert_eq!(one("abc", "x\ny", "z").unwrap_err(), "x\ny");
        assert_eq!(one("abc", "", "z").unwrap_err(), "");
    }

    #[test]
    fn a_file_that_is_no_text_is_edited_too() {
        let edits = [Edit {
            old: Text("mark".into()),
            new: Text("M".into()),
        }];
        assert_eq!(
            edited(b"\xff\x00mark\xfe".to_vec(), &edits).unwrap(),
            b"\xff\x00M\xfe"
        );
    }
}
