//! The image store: a folder that several servers and builders of one machine may share.
//!
//! ```text
//! layers/<sha256>.erofs   immutable; named by what is in it
//! images/<name>.json      one manifest for each image: a file is an image when it is here
//! recipes/<key>.json      which layer a recipe's inputs made, so that it is not made again
//! cache/                  downloaded packages; may be deleted at any time
//! tmp/                    where builds work; whatever the holder of the lock finds here is stale
//! lock                    held while the store is changed
//! ```
//!
//! Every file appears under its name only when it is whole and on the disk. Readers take no lock: they see the image
//! before or after a change, and a layer that a mount still uses outlives its removal.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::FlockOperation;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Error, Result, StoreContext as _};
use crate::image::{Facts, Image, Layer};
use crate::interrupt::Interrupt;
use crate::name::is_name;

/// Version of the manifests that this program writes and reads.
const MANIFEST_FORMAT: u32 = 1;

/// No manifest is longer.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// How often a waiting build looks whether the lock is free.
const LOCK_RETRY: Duration = Duration::from_millis(200);

/// An image store. Cheap to open; holds nothing but its path.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
}

/// What stands in `images/<name>.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    name: String,
    recipe: String,
    key: Digest,
    layers: Vec<LayerRecord>,
    facts: Facts,
    created_unix_s: u64,
}

/// A layer as manifests and recipe records name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    pub recipe: String,
    #[serde(rename = "sha256")]
    pub digest: Digest,
    pub size_bytes: u64,
}

/// What [`Store::remove`] or [`Store::prune`] took away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removed {
    /// Layers that no other image used.
    pub layers: usize,
    /// Bytes that they took.
    pub size_bytes: u64,
}

/// The right to change a store. The kernel takes it back when its holder ends, however it ends.
#[derive(Debug)]
pub(crate) struct StoreLock {
    _file: File,
}

impl Store {
    /// Opens the store in `folder` and makes what is missing of it.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self> {
        let folder = folder.into();
        for part in ["layers", "images", "recipes", "cache", "tmp"] {
            fs_err::create_dir_all(folder.join(part)).while_trying_to("make its folders")?;
        }
        let folder = fs_err::canonicalize(folder).while_trying_to("find its folder")?;
        Ok(Self { folder })
    }

    /// The store's folder, absolute.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The image called `name`, if it is there and whole. A name that no image can have is one that is not there.
    pub fn image(&self, name: &str) -> Result<Option<Image>> {
        if !is_name(name) {
            return Ok(None);
        }
        let path = self.manifest_path(name);
        let manifest: Manifest = match read_json(&path) {
            Ok(Some(manifest)) => manifest,
            Ok(None) => return Ok(None),
            Err(Unreadable::Io(source)) => {
                return Err(Error::Store {
                    action: "read a manifest",
                    source,
                });
            }
            Err(Unreadable::Content(problem)) => return Err(Error::Manifest { path, problem }),
        };
        if manifest.format != MANIFEST_FORMAT || manifest.name != name || manifest.layers.is_empty() {
            let problem = format!("it is for `{}` in format {}", manifest.name, manifest.format);
            return Err(Error::Manifest { path, problem });
        }
        let mut layers = Vec::with_capacity(manifest.layers.len());
        for record in manifest.layers {
            if !self.has_layer(&record)? {
                tracing::warn!(
                    image.name = name,
                    layer.digest = %record.digest,
                    "image `{name}` lacks layer {}; build it again",
                    record.digest
                );
                return Ok(None);
            }
            let path = self.layer_path(&record.digest);
            layers.push(Layer {
                recipe: record.recipe,
                digest: record.digest,
                size_bytes: record.size_bytes,
                path,
            });
        }
        Ok(Some(Image {
            name: manifest.name,
            recipe: manifest.recipe,
            key: manifest.key,
            layers,
            facts: manifest.facts,
            created_unix_s: manifest.created_unix_s,
        }))
    }

    /// All images that are whole, by name. A manifest that cannot be read is logged and left out.
    pub fn list(&self) -> Result<Vec<Image>> {
        let mut images = Vec::new();
        for name in self.names()? {
            match self.image(&name) {
                Ok(image) => images.extend(image),
                Err(error @ Error::Manifest { .. }) => {
                    tracing::warn!(image.name = name, "image `{name}` is left out: {error}");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(images)
    }

    /// Removes the image `name`, then every layer that no image uses any more.
    ///
    /// Sessions that run keep what they have mounted. A stopped session whose image is gone cannot start again:
    /// callers ask first.
    pub fn remove(&self, name: &str) -> Result<Removed> {
        let unknown = || Error::UnknownImage {
            name: name.to_owned(),
        };
        if !is_name(name) {
            return Err(unknown());
        }
        let lock = self.lock(&Interrupt::never(), || ())?;
        match fs_err::remove_file(self.manifest_path(name)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(unknown()),
            Err(source) => {
                return Err(Error::Store {
                    action: "remove a manifest",
                    source,
                });
            }
        }
        self.collect_garbage(&lock)
    }

    /// Removes layers that no image uses: those of images that were built anew.
    ///
    /// Sessions that run keep what they have mounted. A stopped session of an image's earlier build cannot start
    /// again: callers ask first.
    pub fn prune(&self) -> Result<Removed> {
        let lock = self.lock(&Interrupt::never(), || ())?;
        self.collect_garbage(&lock)
    }

    /// Waits for the right to change the store. `waiting` is called once if another has it.
    pub(crate) fn lock(&self, interrupt: &Interrupt, waiting: impl FnOnce()) -> Result<StoreLock> {
        let file = fs_err::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.folder.join("lock"))
            .while_trying_to("open its lock")?
            .into_parts()
            .0;
        let mut waiting = Some(waiting);
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(StoreLock { _file: file }),
                Err(rustix::io::Errno::WOULDBLOCK) => {}
                Err(error) => return Err(error).while_trying_to("take its lock"),
            }
            if let Some(waiting) = waiting.take() {
                waiting();
            }
            if interrupt.wait(LOCK_RETRY).while_trying_to("wait for its lock")? {
                return Err(Error::Interrupted);
            }
        }
    }

    /// Removes what builds left in `tmp`. Only the holder of the lock builds, so all of it is stale.
    pub(crate) fn sweep_tmp(&self, _lock: &StoreLock) -> Result<()> {
        let action = "remove what an earlier build left in its `tmp`";
        for entry in fs_err::read_dir(self.folder.join("tmp")).while_trying_to(action)? {
            let entry = entry.while_trying_to(action)?;
            let is_folder = entry.file_type().while_trying_to(action)?.is_dir();
            let removed = if is_folder {
                fs_err::remove_dir_all(entry.path())
            } else {
                fs_err::remove_file(entry.path())
            };
            removed.while_trying_to(action)?;
        }
        Ok(())
    }

    /// A new folder in `tmp`, removed when it is dropped.
    pub(crate) fn work_folder(&self, _lock: &StoreLock) -> Result<tempfile::TempDir> {
        tempfile::Builder::new()
            .prefix("build-")
            .tempdir_in(self.folder.join("tmp"))
            .while_trying_to("make a folder to work in")
    }

    /// A folder for downloads, kept between builds.
    pub(crate) fn cache_folder(&self, kind: &str) -> Result<PathBuf> {
        let folder = self.folder.join("cache").join(kind);
        fs_err::create_dir_all(&folder).while_trying_to("make a cache folder")?;
        Ok(folder)
    }

    /// The layer that the inputs `key` made, if it is still there.
    pub(crate) fn recorded(&self, key: &Digest) -> Result<Option<LayerRecord>> {
        match read_json::<LayerRecord>(&self.record_path(key)) {
            Ok(Some(record)) if self.has_layer(&record)? => Ok(Some(record)),
            // A record that cannot be read is as good as none: the layer is made again.
            Ok(_) | Err(Unreadable::Content(_)) => Ok(None),
            Err(Unreadable::Io(source)) => Err(Error::Store {
                action: "read which layers it has",
                source,
            }),
        }
    }

    /// Takes a finished layer into the store: first the file, then the record that lets it be found.
    pub(crate) fn add_layer(
        &self,
        _lock: &StoreLock,
        key: &Digest,
        recipe: &str,
        file: &Path,
    ) -> Result<LayerRecord> {
        let action = "take in a layer";
        let mut layer = fs_err::File::open(file).while_trying_to(action)?;
        let digest = Digest::of_reader(&mut layer).while_trying_to(action)?;
        let size_bytes = layer.metadata().while_trying_to(action)?.len();
        layer.sync_all().while_trying_to(action)?;
        let read_only = std::os::unix::fs::PermissionsExt::from_mode(0o444);
        fs_err::set_permissions(file, read_only).while_trying_to(action)?;
        fs_err::rename(file, self.layer_path(&digest)).while_trying_to(action)?;
        sync_folder(&self.folder.join("layers")).while_trying_to(action)?;
        let record = LayerRecord {
            recipe: recipe.to_owned(),
            digest,
            size_bytes,
        };
        self.write_json(&self.record_path(key), &record)
            .while_trying_to("record a layer")?;
        Ok(record)
    }

    /// Makes an image appear, or appear anew.
    pub(crate) fn add_image(
        &self,
        _lock: &StoreLock,
        name: &str,
        recipe: &str,
        key: Digest,
        layers: Vec<LayerRecord>,
        facts: &Facts,
    ) -> Result<()> {
        let created = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let manifest = Manifest {
            format: MANIFEST_FORMAT,
            name: name.to_owned(),
            recipe: recipe.to_owned(),
            key,
            layers,
            facts: facts.clone(),
            created_unix_s: created.as_secs(),
        };
        self.write_json(&self.manifest_path(name), &manifest)
            .while_trying_to("write a manifest")
    }

    fn collect_garbage(&self, _lock: &StoreLock) -> Result<Removed> {
        let action = "remove layers that nothing uses";
        let mut used = BTreeSet::new();
        for name in self.names()? {
            match read_json::<Manifest>(&self.manifest_path(&name)) {
                Ok(Some(manifest)) => used.extend(manifest.layers.iter().map(|layer| layer.digest)),
                Ok(None) => {}
                // What it uses is unknown, so nothing is safe to remove.
                Err(Unreadable::Content(problem)) => {
                    return Err(Error::Manifest {
                        path: self.manifest_path(&name),
                        problem,
                    });
                }
                Err(Unreadable::Io(source)) => return Err(Error::Store { action, source }),
            }
        }
        let mut removed = Removed {
            layers: 0,
            size_bytes: 0,
        };
        for entry in fs_err::read_dir(self.folder.join("recipes")).while_trying_to(action)? {
            let path = entry.while_trying_to(action)?.path();
            let keep =
                matches!(read_json::<LayerRecord>(&path), Ok(Some(record)) if used.contains(&record.digest));
            if !keep {
                fs_err::remove_file(path).while_trying_to(action)?;
            }
        }
        for entry in fs_err::read_dir(self.folder.join("layers")).while_trying_to(action)? {
            let entry = entry.while_trying_to(action)?;
            let name = entry.file_name();
            let digest = name
                .to_str()
                .and_then(|name| name.strip_suffix(".erofs")?.parse::<Digest>().ok());
            if !digest.is_some_and(|digest| used.contains(&digest)) {
                removed.size_bytes += entry.metadata().while_trying_to(action)?.len();
                removed.layers += 1;
                fs_err::remove_file(entry.path()).while_trying_to(action)?;
            }
        }
        Ok(removed)
    }

    fn names(&self) -> Result<BTreeSet<String>> {
        let action = "list its images";
        let mut names = BTreeSet::new();
        for entry in fs_err::read_dir(self.folder.join("images")).while_trying_to(action)? {
            let file = entry.while_trying_to(action)?.file_name();
            let name = file
                .to_str()
                .and_then(|file| file.strip_suffix(".json"))
                .filter(|name| is_name(name));
            names.extend(name.map(str::to_owned));
        }
        Ok(names)
    }

    fn has_layer(&self, record: &LayerRecord) -> Result<bool> {
        match fs_err::symlink_metadata(self.layer_path(&record.digest)) {
            Ok(metadata) => Ok(metadata.is_file() && metadata.len() == record.size_bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(Error::Store {
                action: "look for a layer",
                source,
            }),
        }
    }

    fn manifest_path(&self, name: &str) -> PathBuf {
        self.folder.join("images").join(format!("{name}.json"))
    }

    pub(crate) fn layer_path(&self, digest: &Digest) -> PathBuf {
        self.folder.join("layers").join(format!("{digest}.erofs"))
    }

    fn record_path(&self, key: &Digest) -> PathBuf {
        self.folder.join("recipes").join(format!("{key}.json"))
    }

    /// Writes beside, syncs, renames: the file is the old one or the new one, never half of it.
    fn write_json(&self, path: &Path, value: &impl Serialize) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(self.folder.join("tmp"))?;
        serde_json::to_writer_pretty(&mut file, value)?;
        file.write_all(b"\n")?;
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        file.as_file().set_permissions(readable)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        sync_folder(path.parent().unwrap_or(&self.folder))
    }
}

enum Unreadable {
    Io(io::Error),
    Content(String),
}

/// Reads a small JSON file; `None` if it is not there.
fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Unreadable> {
    match fs_err::metadata(path) {
        Ok(metadata) if metadata.len() > MAX_MANIFEST_BYTES => {
            return Err(Unreadable::Content(format!("it has {} bytes", metadata.len())));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Unreadable::Io(error)),
    }
    let content = match fs_err::read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Unreadable::Io(error)),
    };
    serde_json::from_slice(&content)
        .map(Some)
        .map_err(|error| Unreadable::Content(error.to_string()))
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    fs_err::File::open(folder)?.sync_all()
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
