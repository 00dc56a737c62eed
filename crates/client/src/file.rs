//! Files of a session. Long ones are read and written in pieces.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::json;

use crate::{Error, Session};

/// Bytes that are read or written at once.
const PIECE_BYTES: usize = 4 << 20;

/// The longest file that is read into memory.
const FILE_BYTES_MAX: usize = 256 << 20;

/// No UTF-8 character has more continuation bytes, so a piece of text may be shorter than asked for by so many.
const CONTINUATION_BYTES_MAX: usize = 3;

/// Reads and writes files. Paths are absolute.
///
/// ```no_run
/// # async fn example(session: berth_client::Session) -> Result<(), berth_client::Error> {
/// let files = session.file();
/// files.write("/home/user/a.txt", "hello\n").await?;
/// assert_eq!(files.read("/home/user/a.txt").await?, "hello\n");
/// for entry in files.list("/home/user").await? {
///     println!("{}{}", entry.name, if entry.is_directory { "/" } else { "" });
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct FileSystem<'a> {
    session: &'a Session,
}

/// What [`FileSystem::write_with`] does with a file that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteMode {
    /// Replaces it.
    Overwrite,
    /// Adds to its end.
    Append,
    /// Refuses.
    CreateNew,
}

impl WriteMode {
    fn word(self) -> &'static str {
        match self {
            WriteMode::Overwrite => "overwrite",
            WriteMode::Append => "append",
            WriteMode::CreateNew => "create_new",
        }
    }
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DirectoryEntry {
    /// The name.
    pub name: String,
    /// It is a directory, or a link to one.
    pub is_directory: bool,
}

/// What is known of a file or a directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FileInfo {
    /// The last part of its path.
    pub name: String,
    /// Its path.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// It is a directory.
    pub is_directory: bool,
    /// When it was last changed, such as `20260102T030405Z`.
    pub mod_time: String,
    /// As `ls -l` writes it.
    pub mode: String,
    /// Who owns it.
    pub owner: String,
    /// Which group it belongs to.
    pub group: String,
}

impl<'a> FileSystem<'a> {
    pub(crate) fn of(session: &'a Session) -> Self {
        Self { session }
    }

    /// A whole file as text, at most 256 MiB. Bytes that are not UTF-8 become U+FFFD.
    ///
    /// # Errors
    ///
    /// [`Error::Tool`] when there is no such file, or it cannot be read.
    pub async fn read(&self, path: &str) -> Result<String, Error> {
        let mut text = String::new();
        for offset in (0..).step_by(PIECE_BYTES) {
            let args = json!({ "path": path, "offset": offset, "length": PIECE_BYTES });
            let piece = self.session.call_mcp_tool("read_file", &args).await?;
            text += &piece;
            if piece.len() < PIECE_BYTES - CONTINUATION_BYTES_MAX {
                break;
            }
            bounded(path, text.len())?;
        }
        Ok(text)
    }

    /// A whole file, at most 256 MiB.
    ///
    /// # Errors
    ///
    /// [`Error::Tool`] when there is no such file, or it cannot be read.
    pub async fn read_binary(&self, path: &str) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        for offset in (0..).step_by(PIECE_BYTES) {
            let args = json!({ "path": path, "offset": offset, "length": PIECE_BYTES, "format": "binary" });
            let piece = self.session.call_mcp_tool("read_file", &args).await?;
            let piece = STANDARD
                .decode(piece)
                .map_err(|error| Error::Protocol(format!("the content of `{path}`: {error}")))?;
            bytes.extend_from_slice(&piece);
            if piece.len() < PIECE_BYTES {
                break;
            }
            bounded(path, bytes.len())?;
        }
        Ok(bytes)
    }

    /// Writes a file, whether it exists or not. Makes the folders above it.
    ///
    /// # Errors
    ///
    /// [`Error::Tool`] when it cannot be written.
    pub async fn write(&self, path: &str, content: &str) -> Result<(), Error> {
        self.write_with(path, content, WriteMode::Overwrite).await
    }

    /// Writes a file. One that is longer than 4 MiB comes about in pieces, which a reader can see.
    ///
    /// # Errors
    ///
    /// [`Error::Tool`] when it cannot be written.
    pub async fn write_with(&self, path: &str, content: &str, mode: WriteMode) -> Result<(), Error> {
        let mut mode = mode;
        for piece in pieces(content) {
            let args = json!({ "path": path, "content": piece, "mode": mode.word() });
            self.session.call_mcp_tool("write_file", &args).await?;
            mode = WriteMode::Append;
        }
        Ok(())
    }

    /// The names in a directory. Of more than 20,000 the rest is left out.
    ///
    /// # Errors
    ///
    /// [`Error::Tool`] when there is no such directory.
    pub async fn list(&self, path: &str) -> Result<Vec<DirectoryEntry>, Error> {
        let text = self
            .session
            .call_mcp_tool("list_directory", &json!({ "path": path }))
            .await?;
        Ok(text.lines().filter_map(entry).collect())
    }

    /// What is known of a file or a directory.
    ///
    /// # Errors
    ///
    /// [`Error::Tool`] when there is none.
    pub async fn info(&self, path: &str) -> Result<FileInfo, Error> {
        let text = self
            .session
            .call_mcp_tool("get_file_info", &json!({ "path": path }))
            .await?;
        Ok(info(&text))
    }

    /// Makes a directory and those above it. Succeeds if it exists.
    ///
    /// # Errors
    ///
    /// [`Error::Tool`] when it cannot be made.
    pub async fn mkdir(&self, path: &str) -> Result<(), Error> {
        let args = json!({ "path": path });
        self.session
            .call_mcp_tool("create_directory", &args)
            .await
            .map(drop)
    }
}

fn bounded(path: &str, bytes: usize) -> Result<(), Error> {
    match bytes < FILE_BYTES_MAX {
        true => Ok(()),
        false => Err(Error::invalid(
            "path",
            format!("`{path}`, which is longer than {} MiB", FILE_BYTES_MAX >> 20),
            "a shorter file; read parts of a longer one with `call_mcp_tool`",
        )),
    }
}

/// Pieces of a text, cut between characters; one empty piece for an empty text.
fn pieces(content: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(content);
    std::iter::from_fn(move || {
        let (piece, more) = rest?.split_at(rest?.floor_char_boundary(PIECE_BYTES));
        rest = Some(more).filter(|more| !more.is_empty());
        Some(piece)
    })
}

/// `[DIR] name` or `[FILE] name`; other lines are remarks.
fn entry(line: &str) -> Option<DirectoryEntry> {
    let (kind, name) = line.strip_prefix('[')?.split_once("] ")?;
    let is_directory = match kind {
        "DIR" => true,
        "FILE" => false,
        _ => return None,
    };
    Some(DirectoryEntry {
        name: name.to_owned(),
        is_directory,
    })
}

/// Lines of `key: value`.
fn info(text: &str) -> FileInfo {
    let mut info = FileInfo::default();
    for (key, value) in text.lines().filter_map(|line| line.split_once(": ")) {
        let value = value.to_owned();
        match key {
            "name" => info.name = value,
            "path" => info.path = value,
            "size" => info.size = value.parse().unwrap_or_default(),
            "isDirectory" => info.is_directory = value == "true",
            "modTime" => info.mod_time = value,
            "mode" => info.mode = value,
            "owner" => info.owner = value,
            "group" => info.group = value,
            _ => {}
        }
    }
    info
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_answer_is_read(text in ".{0,200}") {
            let _ = (info(&text), text.lines().filter_map(entry).count());
        }
    }

    #[test]
    fn pieces_join_to_the_text() {
        assert_eq!(pieces("").collect::<Vec<_>>(), [""]);
        let text = "ä😀x".repeat(PIECE_BYTES / 3);
        let cut: Vec<_> = pieces(&text).collect();
        assert!(cut.len() > 1 && cut.iter().all(|piece| piece.len() <= PIECE_BYTES));
        assert_eq!(cut.concat(), text);
    }

    #[test]
    fn a_directory_is_read_line_by_line() {
        let entries: Vec<_> = "[DIR] a b\n[FILE] [x] y\n(3 more entries are not shown)"
            .lines()
            .filter_map(entry)
            .collect();
        assert_eq!((entries[0].name.as_str(), entries[0].is_directory), ("a b", true));
        assert_eq!(
            (entries[1].name.as_str(), entries[1].is_directory),
            ("[x] y", false)
        );
        assert_eq!(entries.len(), 2);
    }

    #[test]
    fn what_is_known_of_a_file_is_read() {
        let read = info(
            "name: a: b\npath: /a: b\nsize: 5\nisDirectory: false\nmodTime: 20260102T030405Z\nmode: -rw-r--r--",
        );
        assert_eq!(
            (read.name.as_str(), read.size, read.is_directory),
            ("a: b", 5, false)
        );
        assert_eq!(read.mod_time, "20260102T030405Z");
    }
}
