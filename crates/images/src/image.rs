//! What an image is to those who run sessions of it: its layers, and what its recipes declare.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// A finished image of the store.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// What sessions are created by.
    pub name: String,
    /// The recipe it was made from.
    pub recipe: String,
    /// The digest of all the recipe's inputs, those of the recipes below it included.
    pub key: Digest,
    /// Bottom first. Each is an erofs file; stacked as an overlay's lower directories they are the root file system.
    pub layers: Vec<Layer>,
    /// What the recipes declare.
    pub facts: Facts,
    /// When the manifest was written, in seconds since 1970.
    pub created_unix_s: u64,
}

impl Image {
    /// The layers' files, bottom first.
    pub fn layer_paths(&self) -> impl DoubleEndedIterator<Item = &Path> {
        self.layers.iter().map(|layer| layer.path.as_path())
    }

    /// Bytes of all its layers. Images share layers, so the sum over images is more than what they take.
    pub fn size_bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size_bytes).sum()
    }
}

/// One immutable layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The recipe that made it.
    pub recipe: String,
    /// SHA-256 of its file, and the file's name.
    pub digest: Digest,
    /// Its file's size.
    pub size_bytes: u64,
    /// Its file in the store.
    pub path: PathBuf,
}

/// What is declared about an image. The nearest recipe that says something wins; languages add up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// The languages that the recipes name.
    pub languages: Vec<String>,
    /// Its desktop; `None` for an image without one.
    pub desktop: Option<Desktop>,
    /// Who works in a session.
    pub user: User,
    /// What a session may use.
    pub limits: Limits,
}

/// A desktop inside an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Desktop {
    /// Path of the program that is the desktop. Only noted: the guest starts `/usr/lib/berth/desktop-session` where there is one.
    pub command: String,
}

/// The account that a session's programs run as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its user id inside the session.
    pub uid: u32,
    /// Its group id inside the session.
    pub gid: u32,
    /// Its home folder.
    pub home: String,
}

/// What one session may use.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory, page cache included.
    pub memory_bytes: u64,
    /// Processor time, in processors.
    pub cpus: f64,
    /// Processes and threads.
    pub pids: u32,
    /// What it may write.
    pub disk_bytes: u64,
    /// How many files it may make.
    pub inodes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 2 << 30,
            cpus: 2.0,
            pids: 512,
            disk_bytes: 8 << 30,
            inodes: 1_000_000,
        }
    }
}
