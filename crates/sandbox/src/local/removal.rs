//! Ends one sandbox and removes all of it, however far it was made. Every step is tried, and what failed is collected.

use crate::{
    Failures, SandboxId,
    local::{
        Server,
        places::{make_folder, remove_tree},
        record::Record,
        registry::remove_file,
    },
};

/// Removes everything of a sandbox. Blocks. Nothing to remove is a success.
///
/// What is not removed here goes with the last process: mounts, namespaces, the network link and the loop device.
pub(super) fn remove(server: &Server, id: &SandboxId) -> Failures {
    let mut failures = Failures::default();
    let places = server.places.of(id);
    let cgroup = server.cgroups.of(id);
    if !places.folder.exists() && !cgroup.exists() {
        return failures;
    }
    // The folder goes last, so that the sandbox is listed as long as anything of it may be left. If somebody else removed
    // it, it has to be there again before the rest goes.
    failures.note(make_folder(&places.folder, 0o700));
    failures.note(cgroup.kill());
    if let Err(error) = server.runtime.delete(id, &places.runtime_log()) {
        // All that it would have removed is removed below. One that fails or hangs must not keep a sandbox for ever.
        let error = &error as &dyn std::error::Error;
        tracing::warn!(sandbox.id = %id, error, "the runtime did not delete sandbox `{id}`; removing it without");
    }
    // Also of a runtime that was killed while it made the container, and does not know it any more.
    failures.note(remove_tree(&server.places.runtime().join(id.as_str())));
    failures.note(cgroup.remove());
    failures.note(remove_file(&places.socket));
    let slot = Record::read(&places.record())
        .ok()
        .flatten()
        .map(|record| record.slot);
    failures.note(server.registry.release(slot, id));
    if failures.is_empty() {
        failures.note(remove_tree(&places.folder));
    }
    failures
}
