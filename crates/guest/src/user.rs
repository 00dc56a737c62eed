//! The account that a session's work runs as, and the names of accounts.
//!
//! Read from `/etc/passwd` and `/etc/group` directly: a static binary has no name services. Both files belong to the
//! session, so they are bounded and nothing in them is trusted beyond the session itself.

use std::io::Read;

use rustix::process::{getegid, geteuid};
use rustix::thread::{Gid, Uid};

/// More than any real account file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// Numeric user id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// All groups, the primary one included.
    pub groups: Vec<u32>,
    /// Home directory.
    pub home: String,
}

/// Why there is no account to run as.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The named account does not exist.
    #[error("user `{0}` is not in /etc/passwd; add it to the image or set `BERTH_USER`")]
    Unknown(String),
    /// Only root can become somebody else.
    #[error("cannot run tools as `{name}` (uid {uid}): the guest itself runs as uid {own}")]
    NotAllowed {
        /// The wanted account.
        name: String,
        /// Its id.
        uid: u32,
        /// The guest's own id.
        own: u32,
    },
}

impl User {
    /// The account named `wanted`; without a wish, `user` where the guest may become it, else the guest's own.
    pub fn find(wanted: Option<&str>) -> Result<Self, UserError> {
        let (passwd, groups) = (account_file("/etc/passwd"), account_file("/etc/group"));
        let own = geteuid().as_raw();
        let named = |name: &str| passwd_entry(&passwd, &groups, |entry| entry[0] == name);
        if let Some(name) = wanted {
            let user = named(name).ok_or_else(|| UserError::Unknown(name.into()))?;
            if own != 0 && own != user.uid {
                return Err(UserError::NotAllowed {
                    name: user.name,
                    uid: user.uid,
                    own,
                });
            }
            return Ok(user);
        }
        if own == 0 {
            return named("user").ok_or_else(|| UserError::Unknown("user".into()));
        }
        let own_id = own.to_string();
        Ok(
            passwd_entry(&passwd, &groups, |entry| entry[2] == own_id).unwrap_or_else(|| Self {
                name: own_id.clone(),
                uid: own,
                gid: getegid().as_raw(),
                groups: vec![getegid().as_raw()],
                home: "/".into(),
            }),
        )
    }

    /// Whether work needs no change of identity.
    pub fn is_own(&self) -> bool {
        geteuid().as_raw() == self.uid
    }

    /// Makes the calling *thread* act with this account's rights, but stay root to everybody else.
    ///
    /// Only the effective ids change, which drops every capability. The real and saved ids stay, so that no process
    /// of the account may signal or trace the thread, which would be the whole guest.
    pub fn act_in_this_thread(&self) -> rustix::io::Result<()> {
        if self.is_own() {
            return Ok(());
        }
        rustix::thread::set_thread_groups(&self.gids())?;
        rustix::thread::set_thread_res_gid(None, Gid::from_raw(self.gid), None)?;
        rustix::thread::set_thread_res_uid(None, Uid::from_raw(self.uid), None)
    }

    /// Turns the calling *thread* into this account, with no way back: for a thread that starts a program and ends.
    pub fn become_in_this_thread(&self) -> rustix::io::Result<()> {
        if self.is_own() {
            return Ok(());
        }
        rustix::thread::set_thread_groups(&self.gids())?;
        let gid = Gid::from_raw(self.gid);
        rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        let uid = Uid::from_raw(self.uid);
        rustix::thread::set_thread_res_uid(uid, uid, uid)
    }

    fn gids(&self) -> Vec<Gid> {
        self.groups.iter().map(|gid| Gid::from_raw(*gid)).collect()
    }
}

/// Names of ids, as `ls -l` shows them; an id without a name stays a number.
#[derive(Debug)]
pub struct Names {
    passwd: String,
    groups: String,
}

impl Names {
    /// Reads the account files as they are now.
    pub fn load() -> Self {
        Self {
            passwd: account_file("/etc/passwd"),
            groups: account_file("/etc/group"),
        }
    }

    /// The login name of `uid`.
    pub fn user(&self, uid: u32) -> String {
        name_of(&self.passwd, uid)
    }

    /// The name of group `gid`.
    pub fn group(&self, gid: u32) -> String {
        name_of(&self.groups, gid)
    }
}

fn account_file(path: &str) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = fs_err::File::open(path) {
        // A broken file is an empty one: the lookup then says which name is missing.
        let _ = file.take(FILE_BYTES_MAX).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn passwd_entry(passwd: &str, groups: &str, wanted: impl Fn(&[&str]) -> bool) -> Option<User> {
    let fields: Vec<&str> = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.len() >= 7 && wanted(fields))?;
    let (name, gid) = (fields[0], fields[3].parse().ok()?);
    let mut all = vec![gid];
    for line in groups.lines() {
        let mut group = line.split(':').skip(2);
        let (Some(id), Some(members)) = (group.next(), group.next()) else {
            continue;
        };
        let Ok(id) = id.parse() else { continue };
        if members.split(',').any(|member| member == name) && !all.contains(&id) {
            all.push(id);
        }
    }
    Some(User {
        name: name.into(),
        uid: fields[2].parse().ok()?,
        gid,
        groups: all,
        home: fields[5].into(),
    })
}

fn name_of(file: &str, id: u32) -> String {
    let id = id.to_string();
    file.lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.len() >= 3 && fields[2] == id)
        .map_or(id.clone(), |fields| fields[0].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/bash\nbroken\nuser:x:1000:1001::/home/user:/bin/bash\nbad:x:a:b::/:/\n";
    const GROUPS: &str = "root:x:0:\nsudo:x:27:other,user\nuser:x:1001:\naudio:x:29:user\nbroken:x\n";

    #[test]
    fn an_account_has_its_supplementary_groups() {
        let user = passwd_entry(PASSWD, GROUPS, |entry| entry[0] == "user").unwrap();
        assert_eq!(
            (user.uid, user.gid, user.home.as_str()),
            (1000, 1001, "/home/user")
        );
        assert_eq!(user.groups, [1001, 27, 29]);
    }

    #[test]
    fn a_broken_account_is_no_account() {
        assert_eq!(passwd_entry(PASSWD, GROUPS, |entry| entry[0] == "bad"), None);
    }

    #[test]
    fn an_id_without_a_name_stays_a_number() {
        assert_eq!(name_of(PASSWD, 1000), "user");
        assert_eq!(name_of(PASSWD, 7), "7");
    }
}
