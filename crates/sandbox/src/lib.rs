//! Makes, adopts, watches and ends sandboxes: one isolated Linux system per session.
//!
//! In: an id and a [`Spec`] (read-only layers, the guest's binary, limits). Out: a [`Sandbox`], which holds the address
//! of its guest, says when and why it ended, and can be frozen. The guest's protocol is not known here: this crate hands
//! it a listening socket and never reads from it.
//!
//! [`Sandboxes`] is the whole interface. [`Local`] implements it on this machine with an OCI runtime; another
//! implementation may ask a cluster for a pod. What a sandbox is made of, bottom up:
//!
//! | part | module |
//! |---|---|
//! | number of the sandbox, and with it its id range and network | `local::registry` |
//! | disk: a sparse ext4 file of limited size | `root::disk` |
//! | root: read-only erofs layers under the disk, ids shifted by the kernel | `root::layers`, `root::overlay` |
//! | bundle: namespaces, capabilities, seccomp, limits | `bundle`, `seccomp` |
//! | network: one veth pair; one nftables table and one DNS forwarder for the server | `network` |
//! | processes: limits, priority, kill, freeze | `cgroup`, `runtime` |
//! | the guest's output | `guest_log` |
//!
//! Invariants:
//!
//! - The host never opens a path that a session can write. A session's files stay in its own mount namespace.
//! - Nothing is mounted on the host: mounts live in the namespaces of the server and of the sandboxes, and go with them.
//! - Sandboxes outlive the server. What a later server needs to adopt or end one is in the sandbox's folder before the
//!   sandbox runs, so a server that dies between any two steps leaves nothing that [`Sandboxes::destroy`] cannot end.
//! - Every wait for something outside this process has a limit, ends what it waited for, and says what that was. A runtime
//!   that hangs holds up its own sandbox and no other, and one that no longer works keeps nothing from being removed.
//!
//! Start reading at [`Sandboxes`], then `local::launch`.

mod bundle;
mod cgroup;
mod error;
mod guest_log;
mod id;
mod local;
mod network;
pub mod probe;
mod program;
mod root;
mod runtime;
mod sandbox;
mod seccomp;
mod spec;
mod sys;

use async_trait::async_trait;

pub use error::{Failures, SandboxError, StepError};
pub use id::{InvalidId, SandboxId};
pub use local::{Config, Local};
pub use network::addresses::host_addresses;
pub use network::{AddressBlock, InvalidBlock};
pub use sandbox::{Ending, GuestAddress, Running, Sandbox};
pub use spec::{Limits, Priority, Spec};

/// Something that can run sandboxes.
///
/// Every call may be repeated: a caller that lost an answer asks again. Calls for different ids run side by side, calls
/// for one id one after another.
#[async_trait]
pub trait Sandboxes: Send + Sync {
    /// Makes a sandbox and starts its first process. The guest may not answer yet, but connections to it are already
    /// queued. When this fails, nothing of the sandbox is left.
    async fn create(&self, id: &SandboxId, spec: &Spec) -> Result<Sandbox, SandboxError>;

    /// Takes up a sandbox that runs already, normally one of an earlier server. `None` when it does not run: it never
    /// existed, was not finished, or has ended. What may be left of it is removed by [`Sandboxes::destroy`].
    async fn adopt(&self, id: &SandboxId) -> Result<Option<Sandbox>, SandboxError>;

    /// Ends a sandbox and removes everything of it, also of one that was only half made. Succeeds when there is nothing.
    async fn destroy(&self, id: &SandboxId) -> Result<(), SandboxError>;

    /// Every sandbox of this server of which anything exists, running, ended or half made.
    async fn list(&self) -> Result<Vec<SandboxId>, SandboxError>;

    /// Called when the server stops. Sandboxes go on; what the server held for all of them is let go of if there are none.
    async fn stop(&self) -> Result<(), SandboxError>;
}
