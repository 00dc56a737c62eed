//! The cgroups of a sandbox, in the three layouts that hosts have.
//!
//! | layout | limits and their counters | freeze, kill, emptiness |
//! |---|---|---|
//! | v2 | the one tree | the one tree |
//! | hybrid | one tree per v1 controller | the v2 tree beside them, where the runtime puts the processes as well |
//! | v1 | one tree per v1 controller | `freezer`, and a loop of signals |
//!
//! The runtime makes the cgroups and sets the limits. Here they are read, frozen, killed and removed.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    event::PollFlags,
    process::{Pid, Signal, kill_process},
};

use crate::{SandboxId, StepError, program::readable_within};

/// How long killed processes may take to end. They need a few milliseconds, unless one hangs in the kernel.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// Between two looks where the kernel cannot tell of a change.
const PAUSE: Duration = Duration::from_millis(2);

/// Which layout a host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One tree for everything.
    V2,
    /// v1 controllers, and a v2 tree without them.
    Hybrid,
    /// v1 controllers only.
    V1,
}

/// The cgroup file systems of this host, and the one cgroup in them that is the parent of this server's sandboxes.
#[derive(Debug, Clone)]
pub(crate) struct Cgroups {
    root: PathBuf,
    kind: Kind,
    parent: String,
}

impl Cgroups {
    /// Looks at the cgroup file systems below `root`, which is `/sys/fs/cgroup` but in tests.
    pub(crate) fn find(root: &Path, parent: String) -> Result<Self, StepError> {
        let kind = if root.join("cgroup.controllers").exists() {
            Kind::V2
        } else if root.join("unified/cgroup.controllers").exists() {
            Kind::Hybrid
        } else if root.join("memory").is_dir() {
            Kind::V1
        } else {
            return Err(StepError::Unexpected {
                what: "the cgroup layout",
                got: format!("unknown below `{}`", root.display()),
                expected: "mount cgroup v2 there, or the v1 controllers",
            });
        };
        Ok(Self {
            root: root.into(),
            kind,
            parent,
        })
    }

    /// The layout.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// The path of a sandbox's cgroup as the bundle names it: absolute, from the root of each tree.
    pub(crate) fn path_in_bundle(&self, id: &SandboxId) -> PathBuf {
        Path::new("/").join(&self.parent).join(id.as_str())
    }

    /// The host can limit swap, so the bundle may ask for it.
    pub(crate) fn limits_swap(&self) -> bool {
        match self.kind {
            // The runtime leaves it out by itself where the file is missing.
            Kind::V2 => true,
            Kind::Hybrid | Kind::V1 => self.root.join("memory/memory.memsw.limit_in_bytes").exists(),
        }
    }

    /// The sandbox's cgroup.
    pub(crate) fn of(&self, id: &SandboxId) -> Cgroup<'_> {
        Cgroup {
            host: self,
            name: Path::new(&self.parent).join(id.as_str()),
        }
    }

    /// The ids of all cgroups below the parent.
    pub(crate) fn names(&self) -> Result<Vec<String>, StepError> {
        let mut names = HashSet::new();
        for tree in self.trees()? {
            let parent = tree.join(&self.parent);
            let entries = match fs_err::read_dir(&parent) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(StepError::path("list", parent)(error)),
            };
            for entry in entries {
                let entry = entry.map_err(StepError::path("list", &parent))?;
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    names.extend(entry.file_name().into_string());
                }
            }
        }
        Ok(names.into_iter().collect())
    }

    /// Removes the parent if no sandbox is in it.
    pub(crate) fn remove_parent(&self) -> Result<(), StepError> {
        for tree in self.trees()? {
            let path = tree.join(&self.parent);
            match rustix::fs::rmdir(&path) {
                Ok(()) => {}
                Err(error) if is_gone(&error.into()) || is_occupied(&error.into()) => {}
                Err(error) => return Err(StepError::path("remove the cgroup", path)(error)),
            }
        }
        Ok(())
    }

    /// The root folders of all trees.
    fn trees(&self) -> Result<Vec<PathBuf>, StepError> {
        if self.kind == Kind::V2 {
            return Ok(vec![self.root.clone()]);
        }
        let list = || {
            let mut trees = Vec::new();
            for entry in fs_err::read_dir(&self.root)? {
                let entry = entry?;
                // Names of joined controllers are symbolic links to the one tree that they share.
                if entry.file_type()?.is_dir() {
                    trees.push(entry.path());
                }
            }
            Ok::<_, io::Error>(trees)
        };
        list().map_err(StepError::path("list", &self.root))
    }

    fn memory_tree(&self) -> PathBuf {
        match self.kind {
            Kind::V2 => self.root.clone(),
            Kind::Hybrid | Kind::V1 => self.root.join("memory"),
        }
    }

    /// The v2 tree, where there is one.
    fn unified_tree(&self) -> Option<PathBuf> {
        match self.kind {
            Kind::V2 => Some(self.root.clone()),
            Kind::Hybrid => Some(self.root.join("unified")),
            Kind::V1 => None,
        }
    }
}

/// The cgroup of one sandbox, in all trees.
#[derive(Debug)]
pub(crate) struct Cgroup<'a> {
    host: &'a Cgroups,
    name: PathBuf,
}

impl Cgroup<'_> {
    /// The most memory used at once, in bytes.
    pub(crate) fn memory_peak(&self) -> Result<u64, StepError> {
        let folder = self.host.memory_tree().join(&self.name);
        let names: &[&str] = match self.host.kind {
            // Kernels before 5.19 keep no peak: what is used now is the best there is.
            Kind::V2 => &["memory.peak", "memory.current"],
            Kind::Hybrid | Kind::V1 => &["memory.max_usage_in_bytes"],
        };
        let name = names
            .iter()
            .find(|name| folder.join(name).exists())
            .unwrap_or(&names[0]);
        let path = folder.join(name);
        let text = fs_err::read_to_string(&path).map_err(StepError::path("read", &path))?;
        text.trim().parse().map_err(|_| StepError::Unexpected {
            what: "the memory counter",
            got: format!("{text:?}"),
            expected: "it must be a number",
        })
    }

    /// How many processes were killed because the memory limit was reached; 0 if it cannot be read any more.
    pub(crate) fn out_of_memory_kills(&self) -> u64 {
        let folder = self.host.memory_tree().join(&self.name);
        let file = match self.host.kind {
            Kind::V2 => "memory.events",
            Kind::Hybrid | Kind::V1 => "memory.oom_control",
        };
        let text = fs_err::read_to_string(folder.join(file)).unwrap_or_default();
        value_of(&text, "oom_kill").unwrap_or(0)
    }

    /// Stops (`true`) or continues all processes.
    pub(crate) fn freeze(&self, frozen: bool) -> Result<(), StepError> {
        let (path, value) = match self.host.unified_tree() {
            Some(tree) => (
                tree.join(&self.name).join("cgroup.freeze"),
                if frozen { "1" } else { "0" },
            ),
            None => (self.v1_freezer(), if frozen { "FROZEN" } else { "THAWED" }),
        };
        set(&path, value).map_err(StepError::path("freeze or thaw with", &path))
    }

    /// Kills all processes and waits until they are gone. Also when there is no such cgroup.
    pub(crate) fn kill(&self) -> Result<(), StepError> {
        let Some(tree) = self.host.unified_tree() else {
            return self.kill_one_by_one(&self.v1_processes());
        };
        let folder = tree.join(&self.name);
        let switch = folder.join("cgroup.kill");
        match set(&switch, "1") {
            Ok(()) => self.wait_until_empty(&folder),
            // Before kernel 5.14, or no such cgroup.
            Err(error) if is_gone(&error) => self.kill_one_by_one(&folder.join("cgroup.procs")),
            Err(error) => Err(StepError::path("kill all processes with", switch)(error)),
        }
    }

    /// Removes the cgroup from all trees. Its processes are gone.
    pub(crate) fn remove(&self) -> Result<(), StepError> {
        let end = Instant::now() + KILL_LIMIT;
        for tree in self.host.trees()? {
            let path = tree.join(&self.name);
            loop {
                match rustix::fs::rmdir(&path) {
                    Ok(()) => break,
                    Err(error) if is_gone(&error.into()) => break,
                    // In v1 a cgroup stays occupied for a moment after its last process has ended.
                    Err(error) if is_occupied(&error.into()) && Instant::now() < end => {
                        std::thread::sleep(PAUSE);
                    }
                    Err(error) => return Err(StepError::path("remove the cgroup", path)(error)),
                }
            }
        }
        Ok(())
    }

    /// The cgroup exists in some tree.
    pub(crate) fn exists(&self) -> bool {
        self.host
            .trees()
            .is_ok_and(|trees| trees.iter().any(|tree| tree.join(&self.name).exists()))
    }

    fn v1_freezer(&self) -> PathBuf {
        self.host
            .root
            .join("freezer")
            .join(&self.name)
            .join("freezer.state")
    }

    fn v1_processes(&self) -> PathBuf {
        self.host
            .root
            .join("freezer")
            .join(&self.name)
            .join("cgroup.procs")
    }

    /// Waits for the kernel's word that no process is left in a v2 cgroup.
    fn wait_until_empty(&self, folder: &Path) -> Result<(), StepError> {
        let path = folder.join("cgroup.events");
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if is_gone(&error) => return Ok(()),
            Err(error) => return Err(StepError::path("open", path)(error)),
        };
        let end = Instant::now() + KILL_LIMIT;
        loop {
            // Reading also arms the poll below for the next change.
            let mut text = String::new();
            let read = file
                .seek(SeekFrom::Start(0))
                .and_then(|_| file.read_to_string(&mut text));
            match read {
                Ok(_) if value_of(&text, "populated") == Some(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if is_gone(&error) => return Ok(()),
                Err(error) => return Err(StepError::path("read", path)(error)),
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(StepError::StillRunning {
                    path: folder.into(),
                    limit: KILL_LIMIT,
                });
            }
            readable_within(file.as_fd(), PollFlags::PRI, left).map_err(StepError::path("watch", &path))?;
        }
    }

    /// For kernels that cannot kill a cgroup at once. Frozen processes cannot start new ones between two rounds.
    fn kill_one_by_one(&self, list: &Path) -> Result<(), StepError> {
        let end = Instant::now() + KILL_LIMIT;
        loop {
            // Fails when there is no cgroup, which the next line sees as well.
            let _ = self.freeze(true);
            let processes = match fs_err::read_to_string(list) {
                Ok(text) => text,
                Err(error) if is_gone(&error) => return Ok(()),
                Err(error) => return Err(StepError::path("read", list)(error)),
            };
            if processes.trim().is_empty() {
                let _ = self.freeze(false);
                return Ok(());
            }
            for pid in processes
                .lines()
                .filter_map(|line| line.parse().ok())
                .filter_map(Pid::from_raw)
            {
                // One that has ended meanwhile is what we want.
                let _ = kill_process(pid, Signal::KILL);
            }
            // A frozen process does not die.
            let _ = self.freeze(false);
            if Instant::now() >= end {
                return Err(StepError::StillRunning {
                    path: list.into(),
                    limit: KILL_LIMIT,
                });
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// Writes a value into a file of the kernel, without making one where there is none.
fn set(path: &Path, value: &str) -> io::Result<()> {
    File::options()
        .write(true)
        .open(path)?
        .write_all(value.as_bytes())
}

/// The number behind a name in a file of lines `name number`.
fn value_of(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The file is not there, or its cgroup was removed while it was open.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

/// The cgroup has processes or children.
fn is_occupied(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBUSY | libc::ENOTEMPTY))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree of plain files that looks like the cgroup file systems of a host, with one sandbox in it.
    fn host(kind: Kind) -> (tempfile::TempDir, Cgroups) {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, content: &str| {
            let path = root.path().join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, content).unwrap();
        };
        let v1 = ["memory", "pids", "freezer", "cpu,cpuacct"];
        match kind {
            Kind::V2 => {
                write("cgroup.controllers", "memory pids");
                write("berth-0001/one/memory.peak", "4096\n");
                write(
                    "berth-0001/one/memory.events",
                    "low 0\noom 3\noom_kill 2\noom_group_kill 0\n",
                );
                write("berth-0001/one/cgroup.freeze", "0");
            }
            Kind::Hybrid | Kind::V1 => {
                for name in v1 {
                    write(&format!("{name}/cgroup.procs"), "");
                }
                rustix::fs::symlink("cpu,cpuacct", root.path().join("cpu")).unwrap();
                write("memory/memory.memsw.limit_in_bytes", "0");
                write("memory/berth-0001/one/memory.max_usage_in_bytes", "8192\n");
                write(
                    "memory/berth-0001/one/memory.oom_control",
                    "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
                );
                write("freezer/berth-0001/one/freezer.state", "THAWED");
                write("freezer/berth-0001/one/cgroup.procs", "");
                if kind == Kind::Hybrid {
                    write("unified/cgroup.controllers", "hugetlb");
                    write("unified/berth-0001/one/cgroup.freeze", "0");
                }
            }
        }
        let cgroups = Cgroups::find(root.path(), "berth-0001".into()).unwrap();
        assert_eq!(cgroups.kind(), kind);
        (root, cgroups)
    }

    fn id(text: &str) -> SandboxId {
        text.parse().unwrap()
    }

    #[test]
    fn counters_are_read_in_each_layout() {
        for (kind, peak, kills) in [(Kind::V2, 4096, 2), (Kind::Hybrid, 8192, 1), (Kind::V1, 8192, 1)] {
            let (_root, cgroups) = host(kind);
            let cgroup = cgroups.of(&id("one"));
            assert_eq!(cgroup.memory_peak().unwrap(), peak, "{kind:?}");
            assert_eq!(cgroup.out_of_memory_kills(), kills, "{kind:?}");
            assert!(cgroups.limits_swap());
        }
    }

    #[test]
    fn freezing_writes_to_the_v2_tree_where_there_is_one() {
        let places = [
            (Kind::V2, "berth-0001/one/cgroup.freeze", "1", "0"),
            (Kind::Hybrid, "unified/berth-0001/one/cgroup.freeze", "1", "0"),
            (
                Kind::V1,
                "freezer/berth-0001/one/freezer.state",
                "FROZEN",
                "THAWED",
            ),
        ];
        for (kind, file, frozen, thawed) in places {
            let (root, cgroups) = host(kind);
            cgroups.of(&id("one")).freeze(true).unwrap();
            assert_eq!(fs_err::read_to_string(root.path().join(file)).unwrap(), frozen);
            cgroups.of(&id("one")).freeze(false).unwrap();
            assert_eq!(fs_err::read_to_string(root.path().join(file)).unwrap(), thawed);
        }
    }

    #[test]
    fn trees_are_folders_and_not_their_second_names() {
        let (root, cgroups) = host(Kind::Hybrid);
        let mut trees = cgroups.trees().unwrap();
        trees.sort();
        let names = ["cpu,cpuacct", "freezer", "memory", "pids", "unified"];
        assert_eq!(trees, names.map(|name| root.path().join(name)));
        assert_eq!(host(Kind::V2).1.trees().unwrap().len(), 1);
    }

    #[test]
    fn names_come_from_all_trees() {
        let (root, cgroups) = host(Kind::Hybrid);
        fs_err::create_dir_all(root.path().join("pids/berth-0001/two")).unwrap();
        fs_err::create_dir_all(root.path().join("pids/berth-0002/other")).unwrap();
        let mut names = cgroups.names().unwrap();
        names.sort();
        assert_eq!(names, ["one", "two"]);
    }

    #[test]
    fn what_does_not_exist_is_killed_and_removed() {
        for kind in [Kind::V2, Kind::Hybrid, Kind::V1] {
            let (_root, cgroups) = host(kind);
            let absent = cgroups.of(&id("absent"));
            assert!(!absent.exists());
            absent.kill().unwrap();
            absent.remove().unwrap();
            assert!(cgroups.of(&id("one")).exists());
        }
    }

    #[test]
    fn the_bundle_names_the_path_from_the_root_of_each_tree() {
        let (_root, cgroups) = host(Kind::V1);
        assert_eq!(cgroups.path_in_bundle(&id("one")), Path::new("/berth-0001/one"));
    }

    #[test]
    fn a_host_without_cgroups_is_refused_with_advice() {
        let empty = tempfile::tempdir().unwrap();
        let error = Cgroups::find(empty.path(), "x".into()).unwrap_err();
        assert!(error.to_string().contains("mount cgroup v2"), "{error}");
    }
}
