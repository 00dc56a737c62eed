//! The OCI bundle: everything that the runtime is told about one sandbox.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use oci_spec::{
    OciSpecError,
    runtime::{
        Capabilities, Capability, Linux, LinuxBuilder, LinuxCapabilitiesBuilder, LinuxCpuBuilder,
        LinuxDeviceCgroupBuilder, LinuxIdMapping, LinuxIdMappingBuilder, LinuxMemoryBuilder,
        LinuxNamespaceBuilder, LinuxNamespaceType, LinuxPidsBuilder, LinuxResources, LinuxResourcesBuilder,
        Mount, MountBuilder, PosixRlimit, PosixRlimitBuilder, PosixRlimitType, Process, ProcessBuilder,
        RootBuilder, SpecBuilder, UserBuilder,
    },
};
use rustix::process::{Resource, getrlimit};

use crate::{Limits, Spec, StepError, seccomp};

/// First process of a sandbox.
const INIT: [&str; 2] = ["/opt/berth/berth-guest", "init"];

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What `sudo`, `su`, `apt` and `chown` need, and no more. All of it counts only for the sandbox's own ids, files and
/// network: a user namespace is around it. Not among them: mounting, network set-up, raw packets, devices, debugging,
/// modules, the clock, limits.
const CAPABILITIES: [Capability; 12] = [
    Capability::AuditWrite,
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::NetBindService,
    Capability::Setfcap,
    Capability::Setgid,
    Capability::Setpcap,
    Capability::Setuid,
    Capability::SysChroot,
];

/// Kernel files that tell of the host, or reach it.
const MASKED: [&str; 15] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/keys",
    "/proc/key-users",
    "/proc/latency_stats",
    "/proc/modules",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Kernel files that may be read.
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Open files of one process, where the server may have as many.
const OPEN_FILES: u64 = 65_536;

/// `/dev/shm` at most; browsers need much of it.
const SHARED_MEMORY_MAX: u64 = 512 << 20;

/// What a bundle says besides the [`Spec`].
pub(crate) struct Placement<'a> {
    /// The root, as the runtime sees it.
    pub(crate) root: &'a Path,
    /// First id of the range, and how many.
    pub(crate) ids: (u32, u32),
    /// The cgroup, absolute from the root of each tree.
    pub(crate) cgroup: PathBuf,
    /// The host can limit swap.
    pub(crate) limits_swap: bool,
    /// The host has IPv6, which is switched off inside.
    pub(crate) has_ipv6: bool,
}

/// The bundle's `config.json`.
pub(crate) fn config(spec: &Spec, placement: &Placement<'_>) -> Result<String, StepError> {
    let seccomp = seccomp::filter()?;
    let config = || {
        let mut linux = linux(spec, placement)?;
        linux.set_seccomp(Some(seccomp));
        let config = SpecBuilder::default()
            .version("1.0.2")
            .hostname(spec.hostname.clone())
            .root(
                RootBuilder::default()
                    .path(placement.root)
                    .readonly(false)
                    .build()?,
            )
            .process(process(spec)?)
            .mounts(mounts(&spec.limits)?)
            .linux(linux)
            .build()?;
        Ok::<_, OciSpecError>(serde_json::to_string(&config)?)
    };
    config().map_err(|error| StepError::Unexpected {
        what: "the bundle",
        got: error.to_string(),
        expected: "this is a fault of the server",
    })
}

fn process(spec: &Spec) -> Result<Process, OciSpecError> {
    let mut environment: Vec<String> = vec![
        format!("PATH={PATH}"),
        "HOME=/root".into(),
        "LANG=C.UTF-8".into(),
        "container=berth".into(),
    ];
    environment.extend(
        spec.environment
            .iter()
            .map(|(name, value)| format!("{name}={value}")),
    );
    let capabilities = Capabilities::from(CAPABILITIES);
    let capabilities = LinuxCapabilitiesBuilder::default()
        .bounding(capabilities.clone())
        .permitted(capabilities.clone())
        .effective(capabilities)
        .inheritable(Capabilities::new())
        .ambient(Capabilities::new())
        .build()?;
    ProcessBuilder::default()
        .terminal(false)
        .user(UserBuilder::default().uid(0u32).gid(0u32).build()?)
        .args(INIT.map(String::from).to_vec())
        .env(environment)
        .cwd("/")
        .capabilities(capabilities)
        .rlimits(vec![
            rlimit(PosixRlimitType::RlimitNofile, open_files())?,
            // One byte, not none: with a limit of 1 the kernel also leaves alone a program on the host that collects
            // core dumps, which would otherwise be started for crashes inside.
            rlimit(PosixRlimitType::RlimitCore, 1)?,
        ])
        // `sudo` inside must work. What a set-uid program can reach is the sandbox's own root: the user namespace and the
        // bounding set are the border.
        .no_new_privileges(false)
        // When the host itself runs out of memory, sandboxes go before the server.
        .oom_score_adj(100)
        .build()
}

/// Without `CAP_SYS_RESOURCE` nobody can give more than he has.
fn open_files() -> u64 {
    getrlimit(Resource::Nofile)
        .maximum
        .unwrap_or(OPEN_FILES)
        .min(OPEN_FILES)
}

fn rlimit(kind: PosixRlimitType, value: u64) -> Result<PosixRlimit, OciSpecError> {
    PosixRlimitBuilder::default()
        .typ(kind)
        .soft(value)
        .hard(value)
        .build()
}

fn mounts(limits: &Limits) -> Result<Vec<Mount>, OciSpecError> {
    let shared = format!("size={}", (limits.memory_bytes / 2).min(SHARED_MEMORY_MAX));
    let table: [(&str, &str, &str, Vec<&str>); 8] = [
        ("/proc", "proc", "proc", vec!["nosuid", "noexec", "nodev"]),
        (
            "/dev",
            "tmpfs",
            "tmpfs",
            vec!["nosuid", "strictatime", "mode=755", "size=64k"],
        ),
        (
            "/dev/pts",
            "devpts",
            "devpts",
            vec![
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ],
        ),
        (
            "/dev/shm",
            "tmpfs",
            "shm",
            vec!["nosuid", "noexec", "nodev", "mode=1777", &shared],
        ),
        (
            "/dev/mqueue",
            "mqueue",
            "mqueue",
            vec!["nosuid", "noexec", "nodev"],
        ),
        ("/sys", "sysfs", "sysfs", vec!["nosuid", "noexec", "nodev", "ro"]),
        // Programs read their limits here: without it a JVM would size its heap by the host's memory.
        (
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            vec!["nosuid", "noexec", "nodev", "relatime", "ro"],
        ),
        (
            "/run",
            "tmpfs",
            "tmpfs",
            vec!["nosuid", "nodev", "mode=755", "size=64m"],
        ),
    ];
    let mount = |(destination, kind, source, options): (&str, &str, &str, Vec<&str>)| {
        MountBuilder::default()
            .destination(destination)
            .typ(kind)
            .source(source)
            .options(options.into_iter().map(String::from).collect::<Vec<_>>())
            .build()
    };
    table.into_iter().map(mount).collect()
}

fn linux(spec: &Spec, placement: &Placement<'_>) -> Result<Linux, OciSpecError> {
    let namespaces: Result<Vec<_>, _> = [
        LinuxNamespaceType::User,
        LinuxNamespaceType::Mount,
        LinuxNamespaceType::Pid,
        LinuxNamespaceType::Network,
        LinuxNamespaceType::Ipc,
        LinuxNamespaceType::Uts,
        LinuxNamespaceType::Cgroup,
    ]
    .into_iter()
    .map(|kind| LinuxNamespaceBuilder::default().typ(kind).build())
    .collect();
    LinuxBuilder::default()
        .namespaces(namespaces?)
        .uid_mappings(vec![mapping(placement.ids)?])
        .gid_mappings(vec![mapping(placement.ids)?])
        .cgroups_path(placement.cgroup.clone())
        .resources(resources(&spec.limits, placement.limits_swap)?)
        .sysctl(sysctl(placement))
        .rootfs_propagation("private")
        .masked_paths(MASKED.map(String::from).to_vec())
        .readonly_paths(READ_ONLY.map(String::from).to_vec())
        .build()
}

fn mapping((first, count): (u32, u32)) -> Result<LinuxIdMapping, OciSpecError> {
    LinuxIdMappingBuilder::default()
        .container_id(0u32)
        .host_id(first)
        .size(count)
        .build()
}

fn resources(limits: &Limits, limits_swap: bool) -> Result<LinuxResources, OciSpecError> {
    /// Microseconds in which a sandbox may use its share.
    const PERIOD: u64 = 100_000;

    let memory = i64::try_from(limits.memory_bytes).unwrap_or(i64::MAX);
    let mut builder = LinuxMemoryBuilder::default().limit(memory);
    if limits_swap {
        // Memory and swap together: no swap in addition.
        builder = builder.swap(memory);
    }
    // In range: checked with the spec.
    #[expect(clippy::cast_possible_truncation, reason = "at most 4096 times the period")]
    let quota = (limits.cpus * PERIOD as f64).round() as i64;
    LinuxResourcesBuilder::default()
        .memory(builder.build()?)
        .cpu(
            LinuxCpuBuilder::default()
                .period(PERIOD)
                .quota(quota.max(1000))
                .build()?,
        )
        .pids(
            LinuxPidsBuilder::default()
                .limit(i64::from(limits.pids))
                .build()?,
        )
        // The runtime adds the harmless ones: null, zero, full, random, terminals.
        .devices(vec![
            LinuxDeviceCgroupBuilder::default()
                .allow(false)
                .access("rwm")
                .build()?,
        ])
        .build()
}

fn sysctl(placement: &Placement<'_>) -> HashMap<String, String> {
    let mut sysctl = HashMap::from([
        // `ping` without raw sockets, for every group there is.
        (
            "net.ipv4.ping_group_range".to_owned(),
            format!("0 {}", placement.ids.1 - 1),
        ),
        // An agent's web server on port 80 needs no root: the ports are the sandbox's own.
        ("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned()),
    ]);
    if placement.has_ipv6 {
        // Policy and addresses are IPv4; what is not there cannot go around them.
        for scope in ["all", "default"] {
            sysctl.insert(format!("net.ipv6.conf.{scope}.disable_ipv6"), "1".to_owned());
        }
    }
    sysctl
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json() -> serde_json::Value {
        let spec = Spec {
            layers: vec!["/layer".into()],
            guest_binary: "/guest".into(),
            hostname: "box".into(),
            limits: Limits {
                memory_bytes: 256 << 20,
                cpus: 0.5,
                pids: 64,
                ..Limits::default()
            },
            priority: crate::Priority::Normal,
            environment: vec![("BERTH_USER".into(), "user".into())],
        };
        let placement = Placement {
            root: Path::new("/run/berth/0001/stage/root"),
            ids: (0x1000_0000, 65536),
            cgroup: "/berth-0001/one".into(),
            limits_swap: true,
            has_ipv6: true,
        };
        serde_json::from_str(&config(&spec, &placement).unwrap()).unwrap()
    }

    #[test]
    fn every_namespace_is_new() {
        let mut kinds: Vec<String> = json()["linux"]["namespaces"]
            .as_array()
            .unwrap()
            .iter()
            .map(|namespace| {
                assert!(namespace.get("path").is_none());
                namespace["type"].as_str().unwrap().to_owned()
            })
            .collect();
        kinds.sort();
        assert_eq!(kinds, ["cgroup", "ipc", "mount", "network", "pid", "user", "uts"]);
    }

    #[test]
    fn ids_start_at_the_range() {
        for map in ["uidMappings", "gidMappings"] {
            let expected = serde_json::json!([{"containerID": 0, "hostID": 0x1000_0000, "size": 65536}]);
            assert_eq!(json()["linux"][map], expected);
        }
    }

    #[test]
    fn limits_are_those_of_the_spec() {
        let resources = &json()["linux"]["resources"];
        assert_eq!(resources["memory"]["limit"], 256 << 20);
        assert_eq!(resources["memory"]["swap"], 256 << 20);
        assert_eq!(resources["cpu"]["quota"], 50_000);
        assert_eq!(resources["pids"]["limit"], 64);
        assert_eq!(resources["devices"][0]["allow"], false);
        let json = json();
        let shm = json["mounts"]
            .as_array()
            .unwrap()
            .iter()
            .find(|m| m["destination"] == "/dev/shm")
            .unwrap();
        assert!(
            shm["options"]
                .as_array()
                .unwrap()
                .iter()
                .any(|o| o == "size=134217728")
        );
    }

    #[test]
    fn capabilities_are_bounded() {
        let json = json();
        let capabilities = &json["process"]["capabilities"];
        let bounding = capabilities["bounding"].as_array().unwrap();
        for absent in [
            "CAP_SYS_ADMIN",
            "CAP_NET_ADMIN",
            "CAP_NET_RAW",
            "CAP_SYS_PTRACE",
            "CAP_MKNOD",
        ] {
            assert!(
                !bounding.iter().any(|capability| capability == absent),
                "{absent}"
            );
        }
        assert!(bounding.iter().any(|capability| capability == "CAP_SETUID"));
        assert_eq!(capabilities["ambient"].as_array().map_or(0, Vec::len), 0);
    }

    #[test]
    fn the_guest_is_the_first_process() {
        let json = json();
        assert_eq!(
            json["process"]["args"],
            serde_json::json!(["/opt/berth/berth-guest", "init"])
        );
        assert_eq!(json["process"]["noNewPrivileges"], false);
        assert!(
            json["process"]["env"]
                .as_array()
                .unwrap()
                .iter()
                .any(|e| e == "BERTH_USER=user")
        );
        assert_eq!(json["hostname"], "box");
    }
}
