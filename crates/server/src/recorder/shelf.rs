//! The files of recordings: those that are too old go, and the oldest when all together are too many bytes.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tracing::{info, warn};

use super::RecordConfig;

/// How often is looked.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// A folder of recordings, and what is to be kept of it.
#[derive(Debug)]
pub(super) struct Shelf {
    folder: PathBuf,
    keep: Option<Duration>,
    total_bytes: Option<u64>,
    looked: Mutex<Option<Instant>>,
}

/// A session's recording.
struct Found {
    path: PathBuf,
    written: SystemTime,
    bytes: u64,
    is_live: bool,
}

impl Shelf {
    pub(super) fn of(config: &RecordConfig) -> Self {
        Self {
            folder: config.folder.clone(),
            keep: config.keep,
            total_bytes: config.total_bytes,
            looked: Mutex::default(),
        }
    }

    /// Whether it is time to look; if so, now.
    pub(super) fn is_due(&self) -> bool {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let due = looked.is_none_or(|looked| looked.elapsed() >= SWEEP_EVERY);
        if due {
            *looked = Some(Instant::now());
        }
        due
    }

    /// Removes what is not to be kept, but for the recordings of `live` sessions.
    pub(super) async fn sweep(&self, live: HashSet<String>) {
        let (folder, keep, total_bytes) = (self.folder.clone(), self.keep, self.total_bytes);
        let swept = tokio::task::spawn_blocking(move || {
            let found = found(&folder, &live)?;
            for (path, why) in unwanted(found, keep, total_bytes, SystemTime::now()) {
                fs_err::remove_file(&path)?;
                info!("removed the recording {}: {why}", path.display());
            }
            Ok::<_, io::Error>(())
        });
        if let Ok(Err(error)) = swept.await {
            let error = &error as &dyn std::error::Error;
            warn!(error, "could not remove old recordings");
        }
    }
}

/// The recordings of sessions in a folder. What else is there is somebody else's.
fn found(folder: &Path, live: &HashSet<String>) -> io::Result<Vec<Found>> {
    let mut all = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(session) = name.to_str().and_then(|name| name.strip_suffix(".berthrec")) else {
            continue;
        };
        let about = entry.metadata()?;
        if session.starts_with("s-") && about.is_file() {
            all.push(Found {
                path: entry.path(),
                written: about.modified()?,
                bytes: about.len(),
                is_live: live.contains(session),
            });
        }
    }
    Ok(all)
}

/// What is to go, and why.
fn unwanted(
    mut found: Vec<Found>,
    keep: Option<Duration>,
    total_bytes: Option<u64>,
    now: SystemTime,
) -> Vec<(PathBuf, &'static str)> {
    found.sort_by_key(|one| one.written);
    let mut bytes: u64 = found.iter().map(|one| one.bytes).sum();
    let mut gone = Vec::new();
    for one in found.into_iter().filter(|one| !one.is_live) {
        let age = now.duration_since(one.written).unwrap_or_default();
        let why = if keep.is_some_and(|keep| age > keep) {
            "it is older than is kept"
        } else if total_bytes.is_some_and(|most| bytes > most) {
            "all recordings together have more bytes than are kept"
        } else {
            continue;
        };
        bytes -= one.bytes;
        gone.push((one.path, why));
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[tokio::test]
    async fn what_is_old_or_too_much_goes_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let write = |name: &str, days: u32| {
            let path = folder.path().join(name);
            fs_err::write(&path, [0; 100]).unwrap();
            let file = fs_err::OpenOptions::new().write(true).open(&path).unwrap();
            file.set_modified(now - DAY * days).unwrap();
        };
        for (name, days) in [
            ("s-old.berthrec", 40),
            ("s-live.berthrec", 50),
            ("s-three.berthrec", 3),
            ("s-two.berthrec", 2),
            ("s-one.berthrec", 1),
            ("mine.berthrec", 90),
            ("s-old.webm", 90),
        ] {
            write(name, days);
        }
        let shelf = |keep, total_bytes| {
            Shelf::of(&RecordConfig {
                folder: folder.path().into(),
                bytes_max: 0,
                keep,
                total_bytes,
            })
        };
        let left = || {
            let names = fs_err::read_dir(folder.path()).unwrap();
            let mut names: Vec<_> = names
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter(|name| name.starts_with("s-") && name.ends_with(".berthrec"))
                .collect();
            names.sort();
            names.join(" ").replace(".berthrec", "")
        };
        let live = || HashSet::from(["s-live".to_owned()]);

        let forever = shelf(None, None);
        assert!(forever.is_due() && !forever.is_due());
        forever.sweep(live()).await;
        assert_eq!(left(), "s-live s-old s-one s-three s-two");
        shelf(Some(DAY * 30), None).sweep(live()).await;
        assert_eq!(left(), "s-live s-one s-three s-two");
        shelf(None, Some(300)).sweep(live()).await;
        assert_eq!(left(), "s-live s-one s-two");
        shelf(None, Some(0)).sweep(live()).await;
        assert_eq!(left(), "s-live");
        assert!(folder.path().join("mine.berthrec").exists() && folder.path().join("s-old.webm").exists());
    }
}
