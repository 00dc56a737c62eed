//! `read_file`: a file, or a part of it. In: absolute path, byte window. Out: text, or base64 for `format` `binary`.
//!
//! Clients read long files in windows and join the answers, so text windows are cut between characters.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use berth_guest_api::ToolResult;
use schemars::JsonSchema;
use serde::Deserialize;

use super::text::Text;
use super::{Spec, Tool, ToolError};
use crate::files::{self, FileError};
use crate::guest::Guest;

/// Bytes that one call returns at most; the official clients ask for 51,200.
pub(super) const WINDOW_BYTES_MAX: u64 = 16 << 20;

/// No UTF-8 character has more continuation bytes.
const CONTINUATION_BYTES_MAX: u64 = 3;

pub(super) struct ReadFile;

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Args {
    /// Absolute path of the file.
    path: Text,
    /// First byte to read; 0 if absent.
    offset: Option<u64>,
    /// Bytes to read; 0 or absent reads to the end.
    length: Option<u64>,
    /// `binary` for base64; absent for text.
    #[schemars(extend("enum" = ["text", "binary"]))]
    format: Option<String>,
}

impl Tool for ReadFile {
    const SPEC: Spec = Spec {
        name: "read_file",
        server: "wuying_filesystem",
        description: "Reads a file, or a byte range of it, as UTF-8 text or (format: binary) as base64.",
    };
    type Args = Args;

    async fn run(args: Args, guest: Guest) -> Result<ToolResult, ToolError> {
        let binary = match args.format.as_deref() {
            None | Some("" | "text") => false,
            Some("binary") => true,
            Some(other) => {
                let got = format!("`{other}`");
                return Err(ToolError::Field {
                    field: "format",
                    got,
                    allowed: "`text`, `binary`",
                });
            }
        };
        let (offset, length) = (args.offset.unwrap_or(0), args.length.unwrap_or(0));
        let path = files::absolute(&args.path.0)?;
        let text = guest
            .files
            .run(move || {
                if binary {
                    return Ok(STANDARD.encode(read(&path, offset, length, 0)?));
                }
                let bytes = read(&path, offset, length, CONTINUATION_BYTES_MAX)?;
                let length = match usize::try_from(length) {
                    Ok(0) | Err(_) => bytes.len(),
                    Ok(length) => length,
                };
                Ok(String::from_utf8_lossy(whole_characters(&bytes, offset, length)).into_owned())
            })
            .await?;
        Ok(ToolResult::text(text))
    }
}

/// The window and up to `extra` bytes after it.
pub(super) fn read(path: &Path, offset: u64, length: u64, extra: u64) -> Result<Vec<u8>, FileError> {
    let mut file = files::open(path, std::fs::OpenOptions::new().read(true), "read")?;
    let failed = |error: std::io::Error| files::failed("read", path, error);
    let too_large = |bytes| FileError::TooLarge {
        path: path.display().to_string(),
        bytes,
        allowed: WINDOW_BYTES_MAX,
    };
    let size = file.metadata().map_err(failed)?.len();
    let rest = size.saturating_sub(offset);
    let wanted = if length == 0 { rest } else { length.min(rest) };
    if wanted > WINDOW_BYTES_MAX {
        return Err(too_large(wanted));
    }
    if offset > 0 {
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
    }
    // Files of the kernel say that they are empty, and a log grows while it is read: the end decides, the limit
    // holds.
    let limit = if length == 0 {
        WINDOW_BYTES_MAX + 1
    } else {
        length.min(WINDOW_BYTES_MAX) + extra
    };
    let mut bytes = Vec::with_capacity(usize::try_from(wanted + extra).unwrap_or(0));
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    if length == 0 && bytes.len() as u64 > WINDOW_BYTES_MAX {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(bytes)
}

/// Trims a window to whole characters, so that joined reads give back the file.
///
/// A character cut by the end of a window is finished here and skipped by the next read. `window` may hold up to 3
/// bytes past `length`.
fn whole_characters(window: &[u8], offset: u64, length: usize) -> &[u8] {
    let continuations = |bytes: &[u8]| {
        bytes
            .iter()
            .take(3)
            .take_while(|byte| **byte & 0xC0 == 0x80)
            .count()
    };
    let skip = if offset == 0 { 0 } else { continuations(window) };
    let end = length.min(window.len());
    let end = end + continuations(&window[end..]);
    &window[skip.min(end)..end]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn joined_windows_give_back_the_file(text in any::<String>(), window in 1usize..9) {
            let bytes = text.as_bytes();
            let mut joined = String::new();
            let mut offset = 0;
            while offset < bytes.len() {
                let seen = &bytes[offset..(offset + window + 3).min(bytes.len())];
                joined += std::str::from_utf8(whole_characters(seen, offset as u64, window)).unwrap();
                offset += window;
            }
            prop_assert_eq!(joined, text);
        }

        #[test]
        fn bytes_that_are_no_text_cost_no_other_bytes(
            bytes in proptest::collection::vec(any::<u8>(), 0..60),
            window in 4usize..9,
        ) {
            let mut joined = Vec::new();
            let mut offset = 0;
            while offset < bytes.len() {
                let seen = &bytes[offset..(offset + window + 3).min(bytes.len())];
                joined.extend_from_slice(whole_characters(seen, offset as u64, window));
                offset += window;
            }
            prop_assert_eq!(joined, bytes);
        }
    }
}
