//! `write_file`: text into a file. In: absolute path, text, mode. Missing parents are made.
//!
//! Clients write long text as one overwrite and many appends, and cut it at UTF-16 units: a piece may end with half a
//! character whose other half begins the next piece. The half is written as U+FFFD and remembered; an append that
//! brings the other half puts the whole character in its place. Nothing is lost when that append never comes.

use std::collections::HashMap;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use berth_guest_api::ToolResult;
use schemars::JsonSchema;
use serde::Deserialize;

use super::text::{Halves, Text, join};
use super::{Spec, Tool, ToolError, done};
use crate::files::{self, FileError};
use crate::guest::Guest;

/// Files with an unfinished character that are remembered. When more are half written, the oldest are forgotten.
const UNFINISHED_MAX: usize = 256;

/// Bytes of U+FFFD.
const PLACEHOLDER_BYTES: u64 = 3;

pub(super) struct WriteFile;

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Args {
    /// Absolute path of the file.
    path: Text,
    /// The text.
    content: Halves,
    /// `overwrite` (default), `append`, or `create_new`, which fails if the file exists.
    #[schemars(extend("enum" = ["overwrite", "append", "create_new"]))]
    mode: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Overwrite,
    Append,
    CreateNew,
}

/// Half characters at the end of files.
#[derive(Debug, Default)]
pub struct Unfinished {
    halves: Mutex<HashMap<PathBuf, Half>>,
}

/// A half character, and the file exactly as it was left: any change makes it void.
#[derive(Debug, Clone, Copy)]
struct Half {
    unit: u16,
    inode: u64,
    size: u64,
    number: u64,
}

impl Unfinished {
    fn take(&self, path: &Path) -> Option<Half> {
        self.halves.lock().ok()?.remove(path)
    }

    fn remember(&self, path: &Path, mut half: Half) {
        let Ok(mut halves) = self.halves.lock() else {
            return;
        };
        half.number = halves
            .values()
            .map(|half| half.number)
            .max()
            .map_or(0, |number| number + 1);
        if halves.len() >= UNFINISHED_MAX
            && let Some(oldest) = halves
                .iter()
                .min_by_key(|(_, half)| half.number)
                .map(|(path, _)| path.clone())
        {
            halves.remove(&oldest);
        }
        halves.insert(path.to_owned(), half);
    }
}

impl Tool for WriteFile {
    const SPEC: Spec = Spec {
        name: "write_file",
        server: "wuying_filesystem",
        description: "Writes text to a file: overwrites it, appends to it, or creates it anew. Makes missing parent \
                      directories.",
    };
    type Args = Args;

    async fn run(args: Args, guest: Guest) -> Result<ToolResult, ToolError> {
        let mode = match args.mode.as_deref() {
            None | Some("" | "overwrite") => Mode::Overwrite,
            Some("append") => Mode::Append,
            Some("create_new") => Mode::CreateNew,
            Some(other) => {
                let got = format!("`{other}`");
                return Err(ToolError::Field {
                    field: "mode",
                    got,
                    allowed: "`overwrite`, `append`, `create_new`",
                });
            }
        };
        let path = files::absolute(&args.path.0)?;
        let unfinished = std::sync::Arc::clone(&guest.unfinished);
        guest
            .files
            .run(move || write(&path, args.content, mode, &unfinished))
            .await?;
        Ok(done())
    }
}

fn write(path: &Path, content: Halves, mode: Mode, unfinished: &Unfinished) -> Result<(), FileError> {
    if let Some(parent) = path.parent() {
        files::make_directory(parent)?;
    }
    let mut options = std::fs::OpenOptions::new();
    // Not truncated before it is known to be a plain file. Appends of several callers do not overwrite each other.
    options
        .write(true)
        .append(mode == Mode::Append)
        .create(true)
        .create_new(mode == Mode::CreateNew);
    let mut file = files::open(path, &mut options, "write")?;
    let failed = |error: std::io::Error| files::failed("write", path, error);
    let about = file.metadata().map_err(failed)?;

    let before = unfinished.take(path);
    let after = content.last_half();
    let mut begin = if mode == Mode::Append { about.len() } else { 0 };
    if mode != Mode::Append {
        file.set_len(0).map_err(failed)?;
    }
    let mut completed = None;
    if let (Mode::Append, Some(half), Some(second)) = (mode, before, content.first_half())
        && half.inode == about.ino()
        && half.size == about.len()
    {
        completed = join(half.unit, second);
    }
    let mut text = content.into_text();
    if let Some(character) = completed {
        begin -= PLACEHOLDER_BYTES;
        file.set_len(begin).map_err(failed)?;
        // The placeholder of the second half gives way to the whole character.
        text.replace_range(..'\u{FFFD}'.len_utf8(), character.encode_utf8(&mut [0; 4]));
    }
    file.write_all(text.as_bytes()).map_err(failed)?;
    if let Some(unit) = after {
        let size = begin + text.len() as u64;
        unfinished.remember(
            path,
            Half {
                unit,
                inode: about.ino(),
                size,
                number: 0,
            },
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn piece(units: &[u16]) -> Halves {
        let escaped: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
        serde_json::from_str(&format!("\"{escaped}\"")).unwrap()
    }

    proptest! {
        #[test]
        fn pieces_cut_at_any_unit_make_the_text(
            text in any::<String>(),
            cuts in proptest::collection::vec(1usize..4, 1..80),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("new/file");
            let units: Vec<u16> = text.encode_utf16().collect();
            let unfinished = Unfinished::default();
            let (mut at, mut mode) = (0_usize, Mode::CreateNew);
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let end = at.saturating_add(cut).min(units.len());
                write(&path, piece(&units[at..end]), mode, &unfinished).unwrap();
                (at, mode) = (end, Mode::Append);
            }
            prop_assert_eq!(fs_err::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn a_file_that_changed_in_between_is_not_mended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let unfinished = Unfinished::default();
        write(&path, piece(&[0x61, 0xD83D]), Mode::Overwrite, &unfinished).unwrap();
        fs_err::write(&path, "other").unwrap();
        write(&path, piece(&[0xDE00]), Mode::Append, &unfinished).unwrap();
        assert_eq!(fs_err::read_to_string(&path).unwrap(), "other\u{FFFD}");
    }

    #[test]
    fn a_new_file_must_be_new() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        write(&path, piece(&[0x61]), Mode::CreateNew, &Unfinished::default()).unwrap();
        let error = write(&path, piece(&[0x61]), Mode::CreateNew, &Unfinished::default()).unwrap_err();
        assert!(matches!(error, FileError::Exists(_)), "{error}");
    }
}
