//! The pictures that a run shows: saved in a folder if one is named, else only mentioned.
//!
//! A session chooses what is in a picture, and nothing of its name. Nothing that exists is written over.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use berth_client::ExecutionResult;

use crate::remote::Failure;
use crate::show::size;

/// Forms of pictures, with the ending of their files.
const KINDS: [(&str, &str); 3] = [
    ("image/png", "png"),
    ("image/jpeg", "jpg"),
    ("image/svg+xml", "svg"),
];

/// Where pictures go.
#[derive(Debug)]
pub(crate) struct Pictures {
    folder: Option<PathBuf>,
    /// Of the last file.
    number: u32,
    saved: Vec<PathBuf>,
}

impl Pictures {
    /// Into `folder`, which is made if it is not there.
    pub(crate) fn into(folder: Option<&Path>) -> Result<Self, Failure> {
        if let Some(folder) = folder {
            fs_err::create_dir_all(folder).map_err(Failure::File)?;
        }
        Ok(Self {
            folder: folder.map(Path::to_owned),
            number: 0,
            saved: Vec::new(),
        })
    }

    /// Takes the pictures of a result; says of each what became of it.
    pub(crate) fn take(&mut self, result: &ExecutionResult) -> Result<Vec<String>, Failure> {
        let mut said = Vec::new();
        for (mime, ending) in KINDS {
            let Some(bytes) = result.bytes(mime) else {
                continue;
            };
            said.push(match self.folder.clone() {
                Some(folder) => format!("saved {}", self.save(&folder, ending, &bytes)?.display()),
                None => format!("{mime}, {}; --save DIR keeps it", size(bytes.len() as u64)),
            });
        }
        Ok(said)
    }

    /// The files that were written.
    pub(crate) fn saved(&self) -> &[PathBuf] {
        &self.saved
    }

    fn save(&mut self, folder: &Path, ending: &str, bytes: &[u8]) -> Result<PathBuf, Failure> {
        loop {
            self.number += 1;
            let path = folder.join(format!("result-{}.{ending}", self.number));
            let file = fs_err::OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(&path);
            match file {
                Ok(mut file) => {
                    file.write_all(bytes).map_err(Failure::File)?;
                    self.saved.push(path.clone());
                    return Ok(path);
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Failure::File(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result() -> ExecutionResult {
        ExecutionResult {
            is_main_result: false,
            mime: [
                ("image/png".to_owned(), "aGVsbG8=".into()),
                ("text/plain".to_owned(), "x".into()),
            ]
            .into(),
        }
    }

    #[test]
    fn pictures_get_free_names_and_nothing_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = folder.path().join("new");
        for expected in ["result-1.png", "result-2.png"] {
            let mut pictures = Pictures::into(Some(&wanted)).unwrap();
            pictures.take(&result()).unwrap();
            assert_eq!(pictures.saved(), [wanted.join(expected)]);
        }
        assert_eq!(fs_err::read(wanted.join("result-1.png")).unwrap(), b"hello");
    }

    #[test]
    fn without_a_folder_a_picture_is_mentioned() {
        let mut pictures = Pictures::into(None).unwrap();
        assert_eq!(
            pictures.take(&result()).unwrap(),
            ["image/png, 5 B; --save DIR keeps it"]
        );
        assert!(pictures.saved().is_empty());
    }
}
