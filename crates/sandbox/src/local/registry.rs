//! What servers on one machine must agree on: the name of each server, and the number of each sandbox.
//!
//! A sandbox's number gives it its range of ids and its addresses, so no two on the machine may have the same. Claims are
//! files in the run directory, changed under one lock. A claim whose owner's folder is gone counts for nothing.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    SandboxId, StepError,
    local::places::{lock_within, make_folder},
};

/// First id of the first range. Above what user databases and other container tools hand out.
const FIRST_ID: u32 = 0x1000_0000;

/// Ids of one sandbox.
const IDS: u32 = 65_536;

/// Ranges that end below 2^31: some programs take ids for signed numbers.
const MAX_SLOTS: u32 = 0x7000;

/// How long other servers may hold the lock; each needs it for less than a millisecond.
const LOCK_LIMIT: Duration = Duration::from_secs(10);

/// Range of ids of a number: the first and how many.
pub(crate) fn ids(slot: u16) -> (u32, u32) {
    (FIRST_ID + u32::from(slot) * IDS, IDS)
}

/// Name of the host's end of a sandbox's network link.
pub(crate) fn interface(tag: &str, slot: u16) -> String {
    format!("bv{tag}-{slot:x}")
}

/// The number in the name of a link, of whatever server.
pub(crate) fn slot_of(interface: &str) -> Option<u16> {
    let (tag, slot) = interface.strip_prefix("bv")?.split_once('-')?;
    (tag.len() == 4)
        .then(|| u16::from_str_radix(slot, 16).ok())
        .flatten()
}

/// The claims of one machine, as one server sees them.
#[derive(Debug)]
pub(crate) struct Registry {
    folder: PathBuf,
    owner: PathBuf,
    slots: u32,
    /// Where the kernel lists the network interfaces.
    interfaces: PathBuf,
}

/// Content of a number's file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Claim {
    owner: PathBuf,
    sandbox: String,
}

impl Claim {
    fn counts(&self) -> bool {
        self.owner.join(&self.sandbox).exists()
    }
}

impl Registry {
    /// The claims below `folder`, for the server whose sandboxes have their folders in `owner`. `capacity` is how many
    /// numbers have an address.
    pub(crate) fn open(folder: PathBuf, owner: PathBuf, capacity: u32) -> Result<Self, StepError> {
        let slots = capacity.min(MAX_SLOTS);
        let registry = Self {
            folder,
            owner,
            slots,
            interfaces: "/sys/class/net".into(),
        };
        make_folder(&registry.folder, 0o711)?;
        make_folder(&registry.servers(), 0o700)?;
        make_folder(&registry.claims(), 0o700)?;
        Ok(registry)
    }

    fn servers(&self) -> PathBuf {
        self.folder.join("servers")
    }

    fn claims(&self) -> PathBuf {
        self.folder.join("slots")
    }

    /// Four hexadecimal digits for this server, the same after a restart: they are in the names of things that outlive
    /// it. `last` is what it had before.
    pub(crate) fn server_tag(&self, last: Option<&str>) -> Result<String, StepError> {
        let _lock = self.lock()?;
        let candidates = (0..=u32::from(u16::MAX)).map(|attempt| {
            let mut hash = Sha256::new();
            hash.update(self.owner.as_os_str().as_encoded_bytes());
            hash.update(attempt.to_be_bytes());
            let digest = hash.finalize();
            format!("{:02x}{:02x}", digest[0], digest[1])
        });
        for tag in last.map(str::to_owned).into_iter().chain(candidates) {
            let path = self.servers().join(&tag);
            let holder = match fs_err::read_to_string(&path) {
                Ok(holder) => Some(PathBuf::from(holder)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(StepError::path("read", path)(error)),
            };
            let free = match holder {
                None => true,
                Some(holder) if holder == self.owner => true,
                // Its sandboxes may still run under this name.
                Some(holder) => !holder.exists() && !self.has_links(&tag)?,
            };
            if free {
                fs_err::write(&path, self.owner.as_os_str().as_encoded_bytes())
                    .map_err(StepError::path("claim the server name", path))?;
                return Ok(tag);
            }
        }
        Err(StepError::NoSlot(u32::from(u16::MAX)))
    }

    /// Gives back the names of servers whose folder somebody deleted, when nothing of theirs runs. `remove` is called for
    /// each of them while no other server can take the name.
    pub(crate) fn remove_stale_servers(
        &self,
        remove: impl Fn(&str) -> Result<(), StepError>,
    ) -> Result<(), StepError> {
        let _lock = self.lock()?;
        let folder = self.servers();
        for entry in fs_err::read_dir(&folder).map_err(StepError::path("list", &folder))? {
            let entry = entry.map_err(StepError::path("list", &folder))?;
            let Ok(tag) = entry.file_name().into_string() else {
                continue;
            };
            let holder = PathBuf::from(fs_err::read_to_string(entry.path()).unwrap_or_default());
            if !holder.exists() && !self.has_links(&tag)? {
                remove(&tag)?;
                remove_file(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Gives the server's name back.
    pub(crate) fn release_tag(&self, tag: &str) -> Result<(), StepError> {
        let _lock = self.lock()?;
        remove_file(&self.servers().join(tag))
    }

    /// Claims a number for a sandbox, whose folder exists.
    ///
    /// Numbers are taken in turn, so that one rests before it is used again: the kernel takes a moment after the end of a
    /// sandbox to remove its network. One whose network is still there is passed over, whatever the claims say: somebody
    /// may have deleted the directory of a server whose sandboxes run.
    pub(crate) fn claim(&self, sandbox: &SandboxId) -> Result<u16, StepError> {
        let _lock = self.lock()?;
        if let Some(slot) = self.claim_free(sandbox)? {
            return Ok(slot);
        }
        self.drop_stale()?;
        self.claim_free(sandbox)?.ok_or(StepError::NoSlot(self.slots))
    }

    fn claim_free(&self, sandbox: &SandboxId) -> Result<Option<u16>, StepError> {
        let hint = self.claims().join(".next");
        // Only a hint: whatever is wrong with it, the search starts at 0.
        let start: u32 = fs_err::read_to_string(&hint)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        let connected = self.connected()?;
        for offset in 0..self.slots {
            let number = (start % self.slots + offset) % self.slots;
            let Ok(slot) = u16::try_from(number) else { continue };
            if connected.contains(&slot) {
                continue;
            }
            let path = self.claims().join(slot.to_string());
            let mut file = match File::options().write(true).create_new(true).open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(StepError::path("claim the sandbox number", path)(error)),
            };
            let claim = Claim {
                owner: self.owner.clone(),
                sandbox: sandbox.as_str().to_owned(),
            };
            let text = serde_json::to_vec(&claim).map_err(io::Error::from);
            text.and_then(|text| file.write_all(&text))
                .map_err(StepError::path("write", path))?;
            let _ = fs_err::write(&hint, (number + 1).to_string());
            return Ok(Some(slot));
        }
        Ok(None)
    }

    /// Gives back the numbers of a sandbox: `known`, or all that are found if none is known.
    pub(crate) fn release(&self, known: Option<u16>, sandbox: &SandboxId) -> Result<(), StepError> {
        let _lock = self.lock()?;
        let slots = match known {
            Some(slot) => vec![slot],
            None => self.claimed()?,
        };
        for slot in slots {
            let path = self.claims().join(slot.to_string());
            let mine = |claim: Claim| claim.owner == self.owner && claim.sandbox == sandbox.as_str();
            if read_claim(&path)?.is_some_and(mine) {
                remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Removes claims that count for nothing, such as those of a data directory that was deleted.
    pub(crate) fn remove_stale(&self) -> Result<(), StepError> {
        let _lock = self.lock()?;
        self.drop_stale()
    }

    fn drop_stale(&self) -> Result<(), StepError> {
        for slot in self.claimed()? {
            let path = self.claims().join(slot.to_string());
            // Under the lock, a claim without content is one whose server died while it wrote.
            if !read_claim(&path)?.is_some_and(|claim| claim.counts()) {
                remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Numbers of sandboxes whose network is there.
    fn connected(&self) -> Result<HashSet<u16>, StepError> {
        Ok(self.links()?.iter().filter_map(|name| slot_of(name)).collect())
    }

    /// A sandbox of the server with this name has a network.
    fn has_links(&self, tag: &str) -> Result<bool, StepError> {
        let prefix = format!("bv{tag}-");
        Ok(self.links()?.iter().any(|name| name.starts_with(&prefix)))
    }

    fn links(&self) -> Result<Vec<String>, StepError> {
        let mut names = Vec::new();
        let folder = &self.interfaces;
        for entry in fs_err::read_dir(folder).map_err(StepError::path("list", folder))? {
            let entry = entry.map_err(StepError::path("list", folder))?;
            names.extend(
                entry
                    .file_name()
                    .into_string()
                    .ok()
                    .filter(|name| name.starts_with("bv")),
            );
        }
        Ok(names)
    }

    fn claimed(&self) -> Result<Vec<u16>, StepError> {
        let folder = self.claims();
        let mut slots = Vec::new();
        for entry in fs_err::read_dir(&folder).map_err(StepError::path("list", &folder))? {
            let entry = entry.map_err(StepError::path("list", &folder))?;
            slots.extend(
                entry
                    .file_name()
                    .to_str()
                    .and_then(|name| name.parse::<u16>().ok()),
            );
        }
        Ok(slots)
    }

    /// Held for a few short calls on small files.
    fn lock(&self) -> Result<File, StepError> {
        let path = self.folder.join("lock");
        lock_within(&path, LOCK_LIMIT)?.ok_or_else(|| {
            let late = "another server of this machine holds it and does not go on";
            StepError::path("lock", path)(io::Error::new(io::ErrorKind::TimedOut, late))
        })
    }
}

/// A claim, or `None` for none or one without sense.
fn read_claim(path: &Path) -> Result<Option<Claim>, StepError> {
    match fs_err::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StepError::path("read", path)(error)),
    }
}

/// Removes a file that may be gone already.
pub(crate) fn remove_file(path: &Path) -> Result<(), StepError> {
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StepError::path("remove", path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn server(&self, name: &str, capacity: u32) -> Registry {
            let owner = self.0.path().join(name);
            fs_err::create_dir_all(&owner).unwrap();
            let interfaces = self.0.path().join("interfaces");
            fs_err::create_dir_all(&interfaces).unwrap();
            Registry {
                interfaces,
                ..Registry::open(self.0.path().join("run"), owner, capacity).unwrap()
            }
        }
    }

    fn id(text: &str) -> SandboxId {
        text.parse().unwrap()
    }

    fn claim(server: &Registry, sandbox: &str) -> Result<u16, StepError> {
        fs_err::create_dir_all(server.owner.join(sandbox)).unwrap();
        server.claim(&id(sandbox))
    }

    #[test]
    fn ranges_do_not_touch_and_stay_below_the_sign() {
        let (first, count) = ids(0);
        assert_eq!(ids(1).0, first + count);
        let last = ids(u16::try_from(MAX_SLOTS - 1).unwrap());
        assert!(i32::try_from(last.0 + last.1 - 1).is_ok());
    }

    #[test]
    fn two_servers_never_have_the_same_number() {
        let machine = Machine::new();
        let (one, two) = (machine.server("one", 8), machine.server("two", 8));
        let mut all: Vec<u16> = (0..4)
            .flat_map(|n| [claim(&one, &format!("a{n}")), claim(&two, &format!("b{n}"))])
            .map(Result::unwrap)
            .collect();
        assert!(matches!(claim(&one, "more"), Err(StepError::NoSlot(8))));
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn a_number_rests_before_it_is_used_again() {
        let machine = Machine::new();
        let server = machine.server("one", 3);
        assert_eq!(claim(&server, "a").unwrap(), 0);
        server.release(Some(0), &id("a")).unwrap();
        assert_eq!(claim(&server, "b").unwrap(), 1);
        assert_eq!(claim(&server, "c").unwrap(), 2);
        assert_eq!(claim(&server, "d").unwrap(), 0);
    }

    #[test]
    fn a_number_whose_link_is_there_is_not_given_out() {
        let machine = Machine::new();
        let server = machine.server("one", 3);
        for name in [interface("0a1b", 0), "lo".into(), "bvlan0".into()] {
            fs_err::write(server.interfaces.join(name), "").unwrap();
        }
        assert_eq!(claim(&server, "a").unwrap(), 1);
        assert_eq!(slot_of(&interface("ffff", 0x6fff)), Some(0x6fff));
        assert!(interface("ffff", u16::MAX).len() <= 15);
    }

    #[test]
    fn only_the_owner_gives_a_number_back() {
        let machine = Machine::new();
        let (one, two) = (machine.server("one", 8), machine.server("two", 8));
        let slot = claim(&one, "a").unwrap();
        two.release(Some(slot), &id("a")).unwrap();
        one.release(Some(slot), &id("b")).unwrap();
        assert_eq!(one.claimed().unwrap(), [slot]);
        // Also without knowing which it is.
        one.release(None, &id("a")).unwrap();
        assert!(one.claimed().unwrap().is_empty());
    }

    #[test]
    fn claims_of_folders_that_are_gone_are_taken_over() {
        let machine = Machine::new();
        let (one, two) = (machine.server("one", 1), machine.server("two", 1));
        claim(&one, "a").unwrap();
        assert!(claim(&two, "b").is_err());
        fs_err::remove_dir_all(one.owner.join("a")).unwrap();
        assert_eq!(claim(&two, "b").unwrap(), 0);
        // And one that was never written to its end.
        fs_err::write(two.claims().join("0"), "").unwrap();
        two.remove_stale().unwrap();
        assert!(two.claimed().unwrap().is_empty());
    }

    #[test]
    fn a_server_keeps_its_name_and_shares_it_with_none() {
        let machine = Machine::new();
        let (one, two) = (machine.server("one", 1), machine.server("two", 1));
        let tag = one.server_tag(None).unwrap();
        assert_eq!(tag.len(), 4);
        assert_eq!(one.server_tag(Some(&tag)).unwrap(), tag);
        assert_ne!(two.server_tag(Some(&tag)).unwrap(), tag);
        one.release_tag(&tag).unwrap();
        assert_eq!(two.server_tag(Some(&tag)).unwrap(), tag);
    }

    #[test]
    fn the_name_of_a_deleted_server_is_free_when_nothing_of_it_runs() {
        let machine = Machine::new();
        let (one, two) = (machine.server("one", 1), machine.server("two", 1));
        let tag = one.server_tag(None).unwrap();
        fs_err::remove_dir_all(&one.owner).unwrap();
        let link = two.interfaces.join(interface(&tag, 5));
        fs_err::write(&link, "").unwrap();
        assert_ne!(two.server_tag(Some(&tag)).unwrap(), tag);
        two.remove_stale_servers(|_| panic!("it runs")).unwrap();
        fs_err::remove_file(&link).unwrap();
        let removed = std::cell::RefCell::new(Vec::new());
        two.remove_stale_servers(|tag| {
            removed.borrow_mut().push(tag.to_owned());
            Ok(())
        })
        .unwrap();
        assert_eq!(removed.into_inner(), std::slice::from_ref(&tag));
        assert_eq!(two.server_tag(Some(&tag)).unwrap(), tag);
    }
}
