//! A running sandbox as its users see it.

use std::{fmt, path::PathBuf, sync::Arc};

use async_trait::async_trait;

use crate::{Priority, SandboxError, SandboxId};

/// Where a guest listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuestAddress {
    /// A Unix socket on this machine.
    Unix(PathBuf),
}

/// Why a sandbox is no longer running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// [`crate::Sandboxes::destroy`] ended it.
    Destroyed,
    /// Its first process was killed because the sandbox used all of its memory.
    OutOfMemory,
    /// Its first process exited with this code.
    Exited(i32),
    /// Its first process was killed by this signal.
    Signalled(i32),
    /// It has ended, and the kernel does not say how: kernels before 6.15 tell only the parent.
    Unknown,
}

/// What can be asked of a running sandbox, however it is run.
#[async_trait]
pub trait Running: Send + Sync {
    /// Waits until the first process has ended. Any number of tasks may wait; later calls return at once.
    async fn ended(&self) -> Ending;

    /// The guest's last lines of output, oldest first: a bounded number of them, and no character in them acts on a
    /// terminal. They come from the session: show them, do not trust them. There until the sandbox is destroyed, of an
    /// adopted one from the moment that its last server stopped reading.
    fn log_tail(&self) -> Vec<String>;

    /// The most memory that the sandbox has used at once, in bytes. Known until it is destroyed.
    async fn memory_peak(&self) -> Result<u64, SandboxError>;

    /// Sets its share of the processor beside other sandboxes. Cheap: a creation waits for it.
    async fn set_priority(&self, priority: Priority) -> Result<(), SandboxError>;

    /// Stops all processes without ending them.
    async fn freeze(&self) -> Result<(), SandboxError>;

    /// Lets frozen processes go on.
    async fn thaw(&self) -> Result<(), SandboxError>;
}

/// A running sandbox. Cheap to clone; dropping it changes nothing.
#[derive(Clone)]
pub struct Sandbox {
    id: SandboxId,
    guest: GuestAddress,
    running: Arc<dyn Running>,
}

impl Sandbox {
    /// For implementations of [`crate::Sandboxes`].
    pub fn new(id: SandboxId, guest: GuestAddress, running: Arc<dyn Running>) -> Self {
        Self { id, guest, running }
    }

    /// Its name.
    pub fn id(&self) -> &SandboxId {
        &self.id
    }

    /// Where its guest listens.
    pub fn guest(&self) -> &GuestAddress {
        &self.guest
    }

    /// See [`Running::ended`].
    pub async fn ended(&self) -> Ending {
        self.running.ended().await
    }

    /// See [`Running::log_tail`].
    pub fn log_tail(&self) -> Vec<String> {
        self.running.log_tail()
    }

    /// See [`Running::memory_peak`].
    pub async fn memory_peak(&self) -> Result<u64, SandboxError> {
        self.running.memory_peak().await
    }

    /// See [`Running::set_priority`].
    pub async fn set_priority(&self, priority: Priority) -> Result<(), SandboxError> {
        self.running.set_priority(priority).await
    }

    /// See [`Running::freeze`].
    pub async fn freeze(&self) -> Result<(), SandboxError> {
        self.running.freeze().await
    }

    /// See [`Running::thaw`].
    pub async fn thaw(&self) -> Result<(), SandboxError> {
        self.running.thaw().await
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox")
            .field("id", &self.id)
            .field("guest", &self.guest)
            .finish_non_exhaustive()
    }
}
