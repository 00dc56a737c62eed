//! Watches directories, with everything below them, through inotify.
//!
//! In: a directory. Out: [`Change`]s since they were last taken. The kernel is asked with the rights of the session's
//! user, on the threads that work with files. What it tells is kept within bounds: when more happens than is taken,
//! the one who takes it is told that some is missing.
//!
//! Start reading at [`Watch::start`].

use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use serde::Serialize;
use tokio::net::unix::pipe;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use walkdir::WalkDir;

use crate::files::{self, FileError, Files};

/// Changes that are kept for one watch.
const CHANGES_MAX: usize = 10_000;

/// Directories of one watch, itself included.
const FOLDERS_MAX: usize = 20_000;

/// Watches that are polled; a further one takes the place of the one that was polled longest ago.
const POLLED_MAX: usize = 32;

/// Between two tries to get hold of a thread.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// Something that happened below a watched directory. The names are those of the AGB API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// What happened.
    pub event_type: ChangeKind,
    /// Absolute path; bytes that are no text are replaced.
    pub path: String,
    /// What it happened to.
    pub path_type: PathKind,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It appeared: was made, or moved here.
    Create,
    /// It was written to.
    Modify,
    /// It went away: was removed, or moved from here.
    Delete,
}

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PathKind {
    /// A file, or anything else that is no directory.
    File,
    /// A directory.
    Directory,
}

/// A watched directory; watching ends when this is dropped.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
    files: Files,
    task: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    /// An inotify descriptor is read like a pipe, and polled like one.
    events: pipe::Receiver,
    tree: Mutex<Tree>,
    changed: Notify,
}

#[derive(Debug)]
struct Tree {
    inotify: OwnedFd,
    root: PathBuf,
    folders: HashMap<i32, PathBuf>,
    changes: VecDeque<Change>,
    /// Of the changes that wait: what was written to already.
    written: HashSet<String>,
    lost: bool,
    gone: bool,
}

impl Watch {
    /// Watches `path`. What is there already is no change.
    pub async fn start(files: &Files, path: PathBuf) -> Result<Self, FileError> {
        let root = path.clone();
        let tree = files.run(move || Tree::new(root)).await?;
        let failed = |error: io::Error| files::failed("watch", &path, error);
        let events = tree.inotify.try_clone().map_err(failed)?;
        let shared = Arc::new(Shared {
            events: pipe::Receiver::from_owned_fd_unchecked(events).map_err(failed)?,
            tree: Mutex::new(tree),
            changed: Notify::new(),
        });
        let (watching, working) = (Arc::clone(&shared), files.clone());
        // Read as it comes, whoever takes it: the kernel's own queue is short.
        let task = tokio::spawn(async move {
            while watching.events.readable().await.is_ok() {
                let shared = Arc::clone(&watching);
                if working.run(move || shared.read()).await.is_err() {
                    // All threads are busy with other work; the events wait in the kernel.
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
            }
        });
        Ok(Self {
            shared,
            files: files.clone(),
            task: task.abort_handle(),
        })
    }

    /// What has changed up to this moment and was not taken before.
    pub async fn take(&self) -> Result<Vec<Change>, FileError> {
        let shared = Arc::clone(&self.shared);
        self.files.run(move || shared.read()).await?;
        self.shared.tree().take()
    }

    /// Waits until something can be taken.
    pub async fn changed(&self) {
        self.shared.changed.notified().await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn tree(&self) -> std::sync::MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over everything that the kernel has to tell now.
    fn read(&self) -> Result<(), FileError> {
        let mut tree = self.tree();
        let mut buffer = vec![0; 64 << 10];
        loop {
            match self.events.try_read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    for event in Events(&buffer[..count]) {
                        tree.apply(&event);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(files::failed("watch", &tree.root, error)),
            }
        }
        if !tree.changes.is_empty() || tree.lost || tree.gone {
            self.changed.notify_one();
        }
        Ok(())
    }
}

impl Tree {
    fn new(root: PathBuf) -> Result<Self, FileError> {
        let failed = |error: Errno| files::failed("watch", &root, error.into());
        files::check_directory(&root, "watch")?;
        let mut tree = Self {
            inotify: inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).map_err(failed)?,
            root: root.clone(),
            folders: HashMap::new(),
            changes: VecDeque::new(),
            written: HashSet::new(),
            lost: false,
            gone: false,
        };
        tree.watch(&root, true).map_err(|error| match error {
            Errno::NOSPC | Errno::MFILE => FileError::TooManyFolders {
                path: root.display().to_string(),
                allowed: FOLDERS_MAX,
            },
            error => failed(error),
        })?;
        tree.watch_below(&root, false);
        if tree.lost {
            return Err(FileError::TooManyFolders {
                path: root.display().to_string(),
                allowed: FOLDERS_MAX,
            });
        }
        Ok(tree)
    }

    fn watch(&mut self, folder: &Path, is_root: bool) -> Result<(), Errno> {
        if self.folders.len() >= FOLDERS_MAX {
            return Err(Errno::NOSPC);
        }
        let mut flags = WatchFlags::CREATE
            | WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::DELETE_SELF
            | WatchFlags::ONLYDIR
            | WatchFlags::EXCL_UNLINK;
        if is_root {
            flags |= WatchFlags::MOVE_SELF;
        } else {
            flags |= WatchFlags::DONT_FOLLOW;
        }
        let number = inotify::add_watch(&self.inotify, folder, flags)?;
        self.folders.insert(number, folder.to_owned());
        Ok(())
    }

    /// Watches the directories below `folder`, and tells of everything in it if it is new.
    fn watch_below(&mut self, folder: &Path, is_new: bool) {
        for entry in WalkDir::new(folder).min_depth(1).into_iter().flatten() {
            let is_folder = entry.file_type().is_dir();
            if is_new {
                let kind = if is_folder {
                    PathKind::Directory
                } else {
                    PathKind::File
                };
                self.push(ChangeKind::Create, entry.path(), kind);
            }
            // One that went away meanwhile, or that this user may not read, has nothing to tell.
            if is_folder && matches!(self.watch(entry.path(), false), Err(Errno::NOSPC)) {
                self.lost = true;
                return;
            }
        }
    }

    fn apply(&mut self, event: &Event<'_>) {
        if event.flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            self.lost = true;
            return;
        }
        if event.flags.contains(ReadFlags::IGNORED) {
            self.folders.remove(&event.watch);
            return;
        }
        let Some(folder) = self.folders.get(&event.watch) else {
            return;
        };
        let ends = ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT;
        if event.flags.intersects(ends) {
            self.gone |= *folder == self.root;
            return;
        }
        let path = folder.join(OsStr::from_bytes(event.name));
        let kind = if event.flags.contains(ReadFlags::ISDIR) {
            PathKind::Directory
        } else {
            PathKind::File
        };
        if event.flags.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) {
            self.push(ChangeKind::Create, &path, kind);
            if kind == PathKind::Directory {
                match self.watch(&path, false) {
                    Err(Errno::NOSPC) => self.lost = true,
                    // What was put into it before it was watched.
                    Ok(()) => self.watch_below(&path, true),
                    Err(_) => {}
                }
            }
        } else if event.flags.intersects(ReadFlags::DELETE | ReadFlags::MOVED_FROM) {
            self.push(ChangeKind::Delete, &path, kind);
            if event.flags.contains(ReadFlags::MOVED_FROM) && kind == PathKind::Directory {
                self.forget_below(&path);
            }
        } else if event.flags.intersects(ReadFlags::MODIFY | ReadFlags::CLOSE_WRITE) {
            self.push(ChangeKind::Modify, &path, kind);
        }
    }

    /// Lets go of a directory that was moved away: it is somewhere else now, and no business of this watch.
    fn forget_below(&mut self, folder: &Path) {
        let inotify = &self.inotify;
        self.folders.retain(|number, path| {
            let stays = !path.starts_with(folder);
            if !stays {
                // Already gone is as good.
                let _ = inotify::remove_watch(inotify, *number);
            }
            stays
        });
    }

    fn push(&mut self, event_type: ChangeKind, path: &Path, path_type: PathKind) {
        let path = path.to_string_lossy().into_owned();
        // One file is written to many times before anybody asks.
        let is_known = if event_type == ChangeKind::Modify {
            !self.written.insert(path.clone())
        } else {
            self.written.remove(&path);
            // A directory that is read while it is being filled tells of the same file twice.
            event_type == ChangeKind::Create
                && self
                    .changes
                    .iter()
                    .rev()
                    .take(64)
                    .find(|change| change.path == path)
                    .is_some_and(|last| last.event_type == event_type)
        };
        if is_known {
            return;
        }
        if self.changes.len() == CHANGES_MAX {
            self.lost = true;
            return;
        }
        self.changes.push_back(Change {
            event_type,
            path,
            path_type,
        });
    }

    fn take(&mut self) -> Result<Vec<Change>, FileError> {
        self.written.clear();
        let changes: Vec<Change> = self.changes.drain(..).collect();
        let path = || self.root.display().to_string();
        if std::mem::take(&mut self.lost) {
            return Err(FileError::ChangesLost {
                path: path(),
                allowed: CHANGES_MAX,
            });
        }
        if self.gone && changes.is_empty() {
            return Err(FileError::NotFound(path()));
        }
        Ok(changes)
    }
}

/// One event as the kernel writes it.
struct Event<'a> {
    watch: i32,
    flags: ReadFlags,
    name: &'a [u8],
}

/// The events in what was read: four numbers of 32 bits (watch, flags, cookie, length of the name), then the name with
/// zeros behind it.
struct Events<'a>(&'a [u8]);

impl<'a> Iterator for Events<'a> {
    type Item = Event<'a>;

    fn next(&mut self) -> Option<Event<'a>> {
        let (head, rest) = self.0.split_at_checked(16)?;
        let number = |at: usize| head.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
        let length = usize::try_from(number(12)?).ok()?;
        let (name, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(length);
        Some(Event {
            watch: number(0)?.cast_signed(),
            flags: ReadFlags::from_bits_retain(number(4)?),
            name: &name[..end],
        })
    }
}

/// Watches that clients poll, by directory.
#[derive(Debug, Default)]
pub struct Polled {
    watches: Mutex<HashMap<PathBuf, Slot>>,
}

#[derive(Debug)]
struct Slot {
    watch: Arc<Watch>,
    polled: Instant,
}

impl Polled {
    /// The changes below `path` since the last call for it; the first call only begins to watch.
    pub async fn poll(&self, files: &Files, path: PathBuf) -> Result<Vec<Change>, FileError> {
        if let Some(watch) = self.known(&path) {
            let taken = watch.take().await;
            if matches!(taken, Err(FileError::NotFound(_))) {
                self.lock().remove(&path);
            }
            return taken;
        }
        let watch = Arc::new(Watch::start(files, path.clone()).await?);
        let mut watches = self.lock();
        if watches.len() >= POLLED_MAX {
            let oldest = watches.iter().min_by_key(|(_, slot)| slot.polled);
            if let Some(path) = oldest.map(|(path, _)| path.clone()) {
                watches.remove(&path);
            }
        }
        let polled = Instant::now();
        watches.insert(path, Slot { watch, polled });
        Ok(Vec::new())
    }

    fn known(&self, path: &Path) -> Option<Arc<Watch>> {
        let mut watches = self.lock();
        let slot = watches.get_mut(path)?;
        slot.polled = Instant::now();
        Some(Arc::clone(&slot.watch))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, Slot>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_taken_apart_and_broken_ones_end_it() {
        let event = |watch: i32, flags: u32, name: &[u8]| {
            let mut bytes = watch.to_ne_bytes().to_vec();
            bytes.extend(flags.to_ne_bytes());
            bytes.extend(0_u32.to_ne_bytes());
            bytes.extend(u32::try_from(name.len()).unwrap().to_ne_bytes());
            bytes.extend(name);
            bytes
        };
        let mut bytes = event(1, ReadFlags::CREATE.bits(), b"a.txt\0\0\0");
        bytes.extend(event(2, ReadFlags::DELETE_SELF.bits(), b""));
        bytes.extend([1, 2, 3]);
        let all: Vec<_> = Events(&bytes)
            .map(|event| (event.watch, event.flags, event.name))
            .collect();
        assert_eq!(
            all,
            [
                (1, ReadFlags::CREATE, &b"a.txt"[..]),
                (2, ReadFlags::DELETE_SELF, &b""[..])
            ]
        );
    }
}
