//! Makes one sandbox, step by step. Each step leaves something that `removal` finds by the id alone, so a server that
//! dies here leaves nothing that cannot be removed.

use std::{
    fs::DirBuilder,
    os::{
        fd::OwnedFd,
        unix::{fs::DirBuilderExt as _, net::UnixListener},
    },
    path::Path,
};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::{
    Priority, SandboxId, Spec, StepError,
    bundle::{self, Placement},
    guest_log,
    local::{
        Server,
        places::{SandboxPlaces, make_folder},
        record::{Process, Record},
        registry,
    },
    network::link::Link,
    root::overlay::{self, Parts},
    runtime::{self, Creation},
};

/// Makes the sandbox and returns its first process. Blocks, and leaves the thread in other namespaces.
pub(super) fn launch(server: &Server, id: &SandboxId, spec: &Spec) -> Result<OwnedFd, StepError> {
    let places = server.places.of(id);
    DirBuilder::new()
        .mode(0o700)
        .create(&places.folder)
        .map_err(StepError::path("make the folder", &places.folder))?;
    let slot = server.registry.claim(id)?;
    let mut record = Record { slot, process: None };
    record.write(&places.record())?;
    let (host, inner) = server.address_block.pair(slot);
    let name = registry::interface(&server.tag, slot);
    let link = Link {
        name,
        host,
        inner,
        mtu: server.uplinks.prepare()?,
    };

    // A socket that somebody removed the folder of would be in the way.
    registry::remove_file(&places.socket)?;
    let listener =
        UnixListener::bind(&places.socket).map_err(StepError::path("listen on", &places.socket))?;
    let output_path = places.output();
    let output = guest_log::make(&output_path)
        .map_err(StepError::path("make the output of the guest", output_path))?;
    server.templates.copy_to(&places.disk(), &spec.limits)?;
    write_bundle(server, id, spec, slot, &places)?;

    server.stage.enter()?;
    let layers = server.layers.mounted(&server.stage, &spec.layers)?;
    server.stage.copy()?;
    let parts = Parts {
        layers: &layers,
        disk: &places.disk(),
        guest_binary: &spec.guest_binary,
        ids: registry::ids(slot),
        files: &own_files(spec, &link),
    };
    overlay::assemble(&server.stage, &parts)?;

    let log = places.runtime_log();
    let creation = Creation {
        bundle: &places.bundle(),
        pid_file: &places.pid_file(),
        log: &log,
        listener: listener.into(),
        output,
    };
    let pid = server.runtime.create(id, creation)?;
    let cgroup = server.cgroups.of(id);
    // Before anything is done to a process and its network by this number.
    if !cgroup.holds(pid) {
        return Err(runtime::wrong_number(pid.to_string()));
    }
    if spec.priority != Priority::Normal {
        cgroup.set_priority(spec.priority)?;
    }
    let process = Pid::from_raw(pid).ok_or(rustix::io::Errno::SRCH);
    let process = process
        .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()))
        .map_err(StepError::system("open the first process"))?;
    link.connect(pid)?;
    server.runtime.start(id, &log)?;
    // Only now: without it, a later server takes the sandbox for half made.
    record.process = Some(Process::now(pid)?);
    record.write(&places.record())?;
    Ok(process)
}

fn write_bundle(
    server: &Server,
    id: &SandboxId,
    spec: &Spec,
    slot: u16,
    places: &SandboxPlaces,
) -> Result<(), StepError> {
    let placement = Placement {
        root: &server.stage.root(),
        ids: registry::ids(slot),
        cgroup: server.cgroups.path_in_bundle(id),
        limits_swap: server.cgroups.limits_swap(),
        has_ipv6: Path::new("/proc/sys/net/ipv6").exists(),
    };
    let config = bundle::config(spec, &placement)?;
    make_folder(&places.bundle(), 0o700)?;
    let path = places.bundle().join("config.json");
    fs_err::write(&path, config).map_err(StepError::path("write", path))
}

/// Files that only this sandbox has. They are ordinary files, which its users may change.
fn own_files(spec: &Spec, link: &Link) -> [(&'static str, String); 3] {
    let name = &spec.hostname;
    [
        ("/etc/hostname", format!("{name}\n")),
        // `sudo` looks up the host's own name.
        (
            "/etc/hosts",
            format!("127.0.0.1 localhost\n127.0.1.1 {name}\n{} {name}\n", link.inner),
        ),
        // The host's end of the link: queries to any address reach the forwarder, but this one is always there.
        ("/etc/resolv.conf", format!("nameserver {}\n", link.host)),
    ]
}
