//! What this machine has and lacks for running sandboxes, one line each, with the command that fixes it.
//!
//! Everything here looks and changes nothing, but for short-lived things of this process.

use std::path::Path;

use rustix::process::{Resource, getrlimit};

use crate::{
    cgroup::{Cgroups, Kind},
    local::Config,
    network::uplink::default_interfaces,
    program,
    sys::user_namespace,
};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What it is.
    pub name: &'static str,
    /// Sandboxes can run as far as this goes.
    pub ok: bool,
    /// What was found.
    pub detail: String,
    /// The command, or the advice, that makes it right.
    pub fix: Option<String>,
}

impl Check {
    fn good(name: &'static str, detail: impl Into<String>) -> Self {
        Self {
            name,
            ok: true,
            detail: detail.into(),
            fix: None,
        }
    }

    fn bad(name: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            name,
            ok: false,
            detail: detail.into(),
            fix: Some(fix.into()),
        }
    }

    fn of(name: &'static str, ok: bool, detail: impl Into<String>, fix: &str) -> Self {
        if ok {
            Self::good(name, detail)
        } else {
            Self::bad(name, detail, fix)
        }
    }
}

/// Room below which a server is of little use.
const LEAST_DISK: u64 = 5 << 30;
const LEAST_MEMORY: u64 = 2 << 30;

/// Descriptors that a server needs: a few for each sandbox, more for each client.
const LEAST_OPEN_FILES: u64 = 4096;

/// Looks at everything that `config` needs. Blocks for some milliseconds.
pub fn probe(config: &Config) -> Vec<Check> {
    vec![
        root(),
        kernel(),
        cgroups(),
        runtime(&config.runtime),
        erofs(),
        overlay(),
        loop_devices(),
        disk_tool(),
        user_namespaces(),
        user_namespace_limit(),
        nftables(),
        forwarding(),
        other_firewall(),
        open_files(),
        disk(&config.state_dir),
        memory(),
    ]
}

fn root() -> Check {
    let user = rustix::process::geteuid();
    Check::of(
        "root",
        user.is_root(),
        format!("user id {}", user.as_raw()),
        "run as root, or with sudo",
    )
}

fn kernel() -> Check {
    let system = rustix::system::uname();
    let release = system.release().to_string_lossy();
    // Shifted ids below an overlay are as old as this.
    let new_enough = version(&release).is_some_and(|version| version >= (5, 19));
    Check::of(
        "kernel",
        new_enough,
        release.clone(),
        "install a kernel of 5.19 or newer, such as Debian 12's",
    )
}

/// The first two numbers of a kernel's release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn cgroups() -> Check {
    let root = Path::new("/sys/fs/cgroup");
    let found = match Cgroups::find(root, "berth-probe".into()) {
        Ok(found) => found,
        Err(error) => {
            return Check::bad(
                "cgroups",
                error.to_string(),
                "mount -t cgroup2 none /sys/fs/cgroup",
            );
        }
    };
    let wanted = ["cpu", "memory", "pids"];
    let missing: Vec<&str> = match found.kind() {
        Kind::V2 => {
            let have = fs_err::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
            wanted
                .into_iter()
                .filter(|name| !have.split_whitespace().any(|have| have == *name))
                .collect()
        }
        Kind::Hybrid | Kind::V1 => wanted
            .into_iter()
            .filter(|name| !root.join(name).join("cgroup.procs").exists())
            .collect(),
    };
    let layout = match found.kind() {
        Kind::V2 => "v2",
        Kind::Hybrid => "v1 controllers with a v2 tree (hybrid)",
        Kind::V1 => "v1",
    };
    if missing.is_empty() {
        return Check::good("cgroups", format!("{layout}, with {}", wanted.join(", ")));
    }
    let fix = "boot with systemd.unified_cgroup_hierarchy=1 cgroup_enable=memory";
    Check::bad(
        "cgroups",
        format!("{layout}, without {}", missing.join(", ")),
        fix,
    )
}

fn runtime(name: &str) -> Check {
    let install = "apt-get install runc";
    if program::find(name).is_none() {
        return Check::bad("runtime", format!("`{name}` is not there"), install);
    }
    let mut command = program::command(name);
    command.arg("--version");
    let version = match program::run(command, "--version", None, std::time::Duration::from_secs(5)) {
        Ok(said) => said.split(';').next().unwrap_or_default().trim().to_owned(),
        Err(error) => return Check::bad("runtime", error.to_string(), install),
    };
    let hybrid = Cgroups::find(Path::new("/sys/fs/cgroup"), "berth-probe".into())
        .is_ok_and(|found| found.kind() == Kind::Hybrid);
    if hybrid && version.starts_with("crun") {
        return Check::bad(
            "runtime",
            format!("{version} does not run on hybrid cgroups"),
            "use runc, or boot with systemd.unified_cgroup_hierarchy=1",
        );
    }
    Check::good("runtime", version)
}

fn erofs() -> Check {
    Check::of(
        "erofs",
        has_file_system("erofs"),
        "read-only images",
        "modprobe erofs",
    )
}

fn overlay() -> Check {
    Check::of(
        "overlay",
        has_file_system("overlay"),
        "a root of several layers",
        "modprobe overlay",
    )
}

fn has_file_system(name: &str) -> bool {
    let known = fs_err::read_to_string("/proc/filesystems").unwrap_or_default();
    let listed = known
        .lines()
        .any(|line| line.split_whitespace().last() == Some(name));
    // A module that is not loaded is loaded by the first mount.
    listed || has_module(name)
}

fn has_module(name: &str) -> bool {
    let release = fs_err::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let list = Path::new("/lib/modules").join(release.trim()).join("modules.dep");
    let list = fs_err::read_to_string(list).unwrap_or_default();
    list.lines().any(|line| {
        line.split(':')
            .next()
            .is_some_and(|path| path.contains(&format!("/{name}.ko")))
    })
}

fn loop_devices() -> Check {
    let there = Path::new("/dev/loop-control").exists();
    Check::of("loop devices", there, "disks of sandboxes", "modprobe loop")
}

fn disk_tool() -> Check {
    let there = program::find("mkfs.ext4").is_some();
    Check::of(
        "mkfs.ext4",
        there,
        "formats disks of sandboxes",
        "apt-get install e2fsprogs",
    )
}

fn user_namespaces() -> Check {
    match user_namespace::make(0x1000_0000, 65_536) {
        Ok(_) => Check::good("user namespaces", "can be made"),
        Err(error) => Check::bad(
            "user namespaces",
            format!("cannot be made: {error}"),
            "sysctl -w user.max_user_namespaces=15000",
        ),
    }
}

fn user_namespace_limit() -> Check {
    let read = |name: &str| {
        let text = fs_err::read_to_string(format!("/proc/sys/user/{name}")).unwrap_or_default();
        text.trim().parse::<u64>().unwrap_or(0)
    };
    let names = [
        "max_user_namespaces",
        "max_mnt_namespaces",
        "max_pid_namespaces",
        "max_net_namespaces",
    ];
    let (name, least) = names
        .map(|name| (name, read(name)))
        .into_iter()
        .min_by_key(|(_, limit)| *limit)
        .unwrap_or(("", 0));
    let fix = format!("sysctl -w user.{name}=15000");
    Check::of(
        "namespace limits",
        least >= 100,
        format!("user.{name} = {least}"),
        &fix,
    )
}

fn nftables() -> Check {
    let mut command = program::command("nft");
    command.args(["--check", "-f", "-"]);
    let rules = "table inet berth_probe {\n chain c {\n type filter hook prerouting priority raw;\n \
                 fib saddr . iif oif missing drop\n }\n}\n";
    match program::run(command, "--check", Some(rules), std::time::Duration::from_secs(5)) {
        Ok(_) => Check::good("nftables", "rules can be set"),
        Err(error) => Check::bad(
            "nftables",
            error.to_string(),
            "apt-get install nftables; modprobe nft_fib_inet",
        ),
    }
}

fn forwarding() -> Check {
    let table = fs_err::read_to_string("/proc/net/route").unwrap_or_default();
    let uplinks = default_interfaces(&table);
    if uplinks.is_empty() {
        return Check::good("forwarding", "no default route: sandboxes reach no network");
    }
    for name in &uplinks {
        let path = format!("/proc/sys/net/ipv4/conf/{name}/forwarding");
        let on = fs_err::read_to_string(&path).is_ok_and(|value| value.trim() == "1");
        let settable = rustix::fs::access(&path, rustix::fs::Access::WRITE_OK).is_ok();
        if !on && !settable {
            let fix = format!("sysctl -w net.ipv4.conf.{name}.forwarding=1");
            return Check::bad("forwarding", format!("`{path}` is 0 and read-only"), fix);
        }
    }
    Check::good("forwarding", format!("through {}", uplinks.join(", ")))
}

/// Another program's rule that drops all forwarded packets would cut sandboxes off, and no rule of ours can overrule it.
fn other_firewall() -> Check {
    let mut command = program::command("nft");
    command.args(["list", "chains", "ip"]);
    let said =
        program::run(command, "list chains", None, std::time::Duration::from_secs(5)).unwrap_or_default();
    let drops = said
        .split("chain ")
        .any(|chain| chain.contains("hook forward") && chain.contains("policy drop"));
    Check::of(
        "other firewalls",
        !drops,
        if drops {
            "another table drops forwarded packets"
        } else {
            "none drops what sandboxes send"
        },
        "iptables -I FORWARD -i bv+ -j ACCEPT; iptables -I FORWARD -o bv+ -j ACCEPT",
    )
}

fn open_files() -> Check {
    let limit = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let fix = "set LimitNOFILE=65536 in the service, or ulimit -Hn 65536";
    Check::of(
        "open files",
        limit >= LEAST_OPEN_FILES,
        format!("at most {limit}"),
        fix,
    )
}

fn disk(state: &Path) -> Check {
    // The folder may not exist yet.
    let folder = state
        .ancestors()
        .find(|folder| folder.exists())
        .unwrap_or(Path::new("/"));
    let free = match rustix::fs::statvfs(folder) {
        Ok(stat) => stat.f_bavail * stat.f_frsize,
        Err(error) => return Check::bad("disk", error.to_string(), "choose another data directory"),
    };
    let detail = format!("{} GiB free at `{}`", free >> 30, folder.display());
    Check::of(
        "disk",
        free >= LEAST_DISK,
        detail,
        "free some space, or choose another data directory",
    )
}

fn memory() -> Check {
    let text = fs_err::read_to_string("/proc/meminfo").unwrap_or_default();
    let free = available_memory(&text);
    Check::of(
        "memory",
        free >= LEAST_MEMORY,
        format!("{} MiB free", free >> 20),
        "free some memory",
    )
}

/// `MemAvailable`, in bytes.
fn available_memory(meminfo: &str) -> u64 {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_wrong_says_what_to_do() {
        let checks = probe(&Config::new("/nonexistent/sandboxes"));
        assert_eq!(checks.len(), 16);
        for check in checks {
            assert_eq!(check.ok, check.fix.is_none(), "{check:?}");
            assert!(!check.detail.is_empty(), "{check:?}");
            assert!(!check.detail.contains('\n'), "{check:?}");
        }
    }

    #[test]
    fn a_missing_runtime_is_found() {
        let check = runtime("no-such-runtime");
        assert!(!check.ok && check.fix.is_some(), "{check:?}");
    }

    #[test]
    fn releases_are_compared_as_numbers() {
        assert!(version("6.1.0-18-amd64").unwrap() > (5, 19));
        assert!(version("5.4").unwrap() < (5, 19));
        assert_eq!(version("none"), None);
    }

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(
            available_memory("MemTotal: 5 kB\nMemAvailable:   1024 kB\n"),
            1 << 20
        );
        assert_eq!(available_memory(""), 0);
    }
}
