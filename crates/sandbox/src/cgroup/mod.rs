//! The cgroups of a sandbox, in the three layouts that hosts have.
//!
//! | layout | limits and their counters | freeze, kill, emptiness |
//! |---|---|---|
//! | v2 | the one tree | the one tree |
//! | hybrid | one tree per v1 controller | the v2 tree beside them, where the runtime puts the processes as well |
//! | v1 | one tree per v1 controller | `freezer`, and a loop of signals |
//!
//! The runtime makes the cgroups and sets the limits. Here they are read, weighed, frozen, and in [`kill`] ended.

mod kill;

use std::{
    collections::HashSet,
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use crate::{Priority, SandboxId, StepError};

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

    /// Sets the share of the processor that the sandbox gets while others want it too.
    pub(crate) fn set_priority(&self, priority: Priority) -> Result<(), StepError> {
        // Normal is what the kernel gives a cgroup of which nothing is said.
        let (path, value) = match (self.host.kind, priority) {
            (Kind::V2, Priority::Normal) => (self.host.root.join(&self.name).join("cpu.weight"), "100"),
            (Kind::V2, Priority::Low) => (self.host.root.join(&self.name).join("cpu.weight"), "10"),
            (Kind::Hybrid | Kind::V1, Priority::Normal) => (self.v1_file("cpu", "cpu.shares"), "1024"),
            (Kind::Hybrid | Kind::V1, Priority::Low) => (self.v1_file("cpu", "cpu.shares"), "102"),
        };
        set(&path, value).map_err(StepError::path("set the priority with", &path))
    }

    /// Whether a process is in this cgroup.
    pub(crate) fn holds(&self, pid: i32) -> bool {
        let list = match self.host.unified_tree() {
            Some(tree) => tree.join(&self.name).join("cgroup.procs"),
            None => self.v1_file("freezer", "cgroup.procs"),
        };
        let processes = fs_err::read_to_string(list).unwrap_or_default();
        processes.lines().any(|line| line.parse() == Ok(pid))
    }

    /// Stops (`true`) or continues all processes.
    pub(crate) fn freeze(&self, frozen: bool) -> Result<(), StepError> {
        let (path, value) = match self.host.unified_tree() {
            Some(tree) => (
                tree.join(&self.name).join("cgroup.freeze"),
                if frozen { "1" } else { "0" },
            ),
            None => (
                self.v1_file("freezer", "freezer.state"),
                if frozen { "FROZEN" } else { "THAWED" },
            ),
        };
        set(&path, value).map_err(StepError::path("freeze or thaw with", &path))
    }

    /// Have all processes stopped? Asked after [`freeze`](Self::freeze), which returns before they have.
    pub(crate) fn is_frozen(&self) -> Result<bool, StepError> {
        let (path, frozen) = match self.host.unified_tree() {
            Some(tree) => (tree.join(&self.name).join("cgroup.events"), "frozen 1"),
            None => (self.v1_file("freezer", "freezer.state"), "FROZEN"),
        };
        let text = fs_err::read_to_string(&path).map_err(StepError::path("read", &path))?;
        Ok(text.lines().any(|line| line == frozen))
    }

    /// The cgroup exists in some tree.
    pub(crate) fn exists(&self) -> bool {
        self.host
            .trees()
            .is_ok_and(|trees| trees.iter().any(|tree| tree.join(&self.name).exists()))
    }

    fn v1_file(&self, controller: &str, file: &str) -> PathBuf {
        self.host.root.join(controller).join(&self.name).join(file)
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
                write("berth-0001/one/cgroup.events", "populated 1\nfrozen 1\n");
                write("berth-0001/one/cgroup.procs", "7\n42\n");
                write("berth-0001/one/cpu.weight", "");
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
                write("freezer/berth-0001/one/cgroup.procs", "42\n");
                write("cpu,cpuacct/berth-0001/one/cpu.shares", "");
                if kind == Kind::Hybrid {
                    write("unified/cgroup.controllers", "hugetlb");
                    write("unified/berth-0001/one/cgroup.freeze", "0");
                    write("unified/berth-0001/one/cgroup.events", "populated 1\nfrozen 1\n");
                    write("unified/berth-0001/one/cgroup.procs", "42\n");
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
            assert!(cgroups.of(&id("one")).is_frozen().unwrap(), "{kind:?}");
            assert_eq!(fs_err::read_to_string(root.path().join(file)).unwrap(), frozen);
            cgroups.of(&id("one")).freeze(false).unwrap();
            assert_eq!(fs_err::read_to_string(root.path().join(file)).unwrap(), thawed);
        }
    }

    #[test]
    fn the_priority_is_a_weight_in_each_layout() {
        let places = [
            (Kind::V2, "berth-0001/one/cpu.weight", "10", "100"),
            (
                Kind::Hybrid,
                "cpu,cpuacct/berth-0001/one/cpu.shares",
                "102",
                "1024",
            ),
            (Kind::V1, "cpu,cpuacct/berth-0001/one/cpu.shares", "102", "1024"),
        ];
        for (kind, file, low, normal) in places {
            let (root, cgroups) = host(kind);
            let read = || fs_err::read_to_string(root.path().join(file)).unwrap();
            // The kernel takes each write as a value of its own; a plain file keeps the rest of a longer one.
            let one = cgroups.of(&id("one"));
            one.set_priority(Priority::Low).unwrap();
            assert_eq!(read(), low, "{kind:?}");
            one.set_priority(Priority::Normal).unwrap();
            assert_eq!(read(), normal, "{kind:?}");
            let error = cgroups.of(&id("absent")).set_priority(Priority::Low).unwrap_err();
            assert!(error.to_string().contains("set the priority"), "{error}");
        }
    }

    #[test]
    fn only_its_own_processes_are_in_a_cgroup() {
        for kind in [Kind::V2, Kind::Hybrid, Kind::V1] {
            let (_root, cgroups) = host(kind);
            assert!(cgroups.of(&id("one")).holds(42), "{kind:?}");
            assert!(!cgroups.of(&id("one")).holds(4), "{kind:?}");
            assert!(!cgroups.of(&id("absent")).holds(42), "{kind:?}");
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
