//! Makes sandboxes ready, and ends them: every step is in the store before it happens.
//!
//! A sandbox is *ready* when its guest answers and its interpreters are warm. What is half-made when the server dies is
//! found by its row or its folder and removed at the next start.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use berth_guest_client::GuestError;
use berth_images::Image;
use berth_sandbox::{Limits, Priority, Sandbox, SandboxId, Sandboxes, Spec};
use berth_store::{SandboxState, Store};
use tokio::sync::Semaphore;
use tracing::{Instrument, info, info_span, warn};

use crate::TRACE_TARGET;
use crate::detail;
use crate::error::ControlError;
use crate::secret::new_id;
use crate::session::guest_of;

/// Sandboxes that are being made at the same time; more than the machine has cores only makes all of them slower.
const MAKING_MAX: usize = 4;

/// Memory that must be free before a sandbox is made, in MiB: a warm one takes about 90, its first use more.
const FREE_MEMORY_MIB_MIN: u64 = 512;

/// Disk space that must be free before a sandbox is made, in MiB: an unused one takes about 3. The rest is for sessions
/// that run, which lose their disks when the host's is full, and for the database.
pub(crate) const FREE_DISK_MIB_MIN: u64 = 256;

/// How long a new guest may take to warm its interpreters before it is used as it is.
const WARM_UP_MAX: Duration = Duration::from_secs(15);

/// How often a new guest is asked whether it is warm.
const WARM_UP_POLL: Duration = Duration::from_millis(20);

/// The part of the control plane that turns images into ready sandboxes.
pub(crate) struct Maker {
    pub(crate) store: Store,
    node: String,
    pub(crate) sandboxes: Arc<dyn Sandboxes>,
    pub(crate) guest_binary: PathBuf,
    making: Semaphore,
}

impl Maker {
    pub(crate) fn new(
        store: Store,
        node: String,
        sandboxes: Arc<dyn Sandboxes>,
        guest_binary: PathBuf,
    ) -> Self {
        Self {
            store,
            node,
            sandboxes,
            guest_binary,
            making: Semaphore::new(MAKING_MAX),
        }
    }

    /// Makes a sandbox whose guest answers. With `warm`, waits until its interpreters are warm too.
    pub(crate) async fn make(&self, image: &Image, warm: bool) -> Result<Sandbox, ControlError> {
        let Ok(_permit) = self.making.acquire().await else {
            unreachable!("the semaphore is never closed");
        };
        check_room(&self.guest_binary)?;
        let id = new_id("sb");
        let span = info_span!("make", sandbox.id = %id, image = %image.name);
        let trace = info_span!(
            target: TRACE_TARGET, "make sandbox", berth.sandbox.id = %id, berth.image = %image.name, berth.warm = warm
        );
        async {
            self.store
                .insert_sandbox(&id, &self.node, &image.key.to_string())
                .await?;
            match self.bring_up(&id, image, warm).await {
                Ok(sandbox) => Ok(sandbox),
                Err(error) => {
                    self.end(&id).await;
                    Err(error)
                }
            }
        }
        .instrument(trace)
        .instrument(span)
        .await
    }

    async fn bring_up(&self, id: &str, image: &Image, warm: bool) -> Result<Sandbox, ControlError> {
        let sandbox_id = id.parse::<SandboxId>()?;
        // Nobody waits for one that is warmed for the pool: sessions that run go first.
        let priority = if warm { Priority::Low } else { Priority::Normal };
        let spec = Spec {
            layers: image.layer_paths().map(Path::to_owned).collect(),
            guest_binary: self.guest_binary.clone(),
            hostname: "berth".to_owned(),
            limits: Limits {
                memory_bytes: image.facts.limits.memory_bytes,
                cpus: image.facts.limits.cpus,
                pids: image.facts.limits.pids,
                disk_bytes: image.facts.limits.disk_bytes,
                inodes: image.facts.limits.inodes,
            },
            priority,
            environment: vec![("BERTH_USER".to_owned(), image.facts.user.name.clone())],
        };
        let sandbox = self
            .sandboxes
            .create(&sandbox_id, &spec)
            .await
            .map_err(ControlError::Start)?;
        let guest = guest_of(&sandbox);
        let started = tokio::time::Instant::now();
        let ready = async {
            loop {
                let hello = guest
                    .hello()
                    .await
                    .map_err(|source| silent(image, &sandbox, source))?;
                if !warm || hello.warm || started.elapsed() > WARM_UP_MAX {
                    return Ok::<_, ControlError>(());
                }
                tokio::time::sleep(WARM_UP_POLL).await;
            }
        };
        tokio::select! {
            ready = ready => ready?,
            ending = sandbox.ended() => {
                warn!(?ending, log = ?sandbox.log_tail(), "guest of sandbox {id} ended while it started");
                let how = GuestError::Unexpected(format!("by ending: {ending:?}"));
                return Err(silent(image, &sandbox, how));
            }
        }
        self.store
            .advance_sandbox(id, SandboxState::Making, SandboxState::Ready)
            .await?;
        info!(
            duration_ms = started.elapsed().as_millis() as u64,
            "sandbox {id} is ready"
        );
        Ok(sandbox)
    }

    /// Removes a sandbox and everything of it; tells whether all is gone. What is left is tried again later.
    pub(crate) async fn end(&self, id: &str) -> bool {
        let condemned = self.store.condemn_sandbox(id).await;
        let Ok(sandbox_id) = id.parse::<SandboxId>() else {
            warn!("the store holds the impossible sandbox id {id:?}");
            return false;
        };
        if let Err(error) = self.sandboxes.destroy(&sandbox_id).await {
            warn!(error = &error as &dyn std::error::Error, sandbox.id = %id, "could not remove sandbox {id} yet");
            return false;
        }
        match condemned.and(self.store.delete_sandbox(id).await) {
            Ok(()) => true,
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, sandbox.id = %id, "could not forget sandbox {id} yet");
                false
            }
        }
    }
}

/// The failure of an image whose guest does not come up.
fn silent(image: &Image, sandbox: &Sandbox, source: GuestError) -> ControlError {
    let log = detail::log_text(&sandbox.log_tail());
    ControlError::Silent {
        image: image.name.clone(),
        log: if log.is_empty() {
            log
        } else {
            format!("; its log ends with:\n{log}")
        },
        source,
    }
}

/// Refuses to make a sandbox that the machine has no memory or disk space for. `data` is a path on the data folder's disk.
fn check_room(data: &Path) -> Result<(), ControlError> {
    let enough = |what, free_mib: Option<u64>, needed_mib| match free_mib {
        Some(free_mib) if free_mib < needed_mib => Err(ControlError::Full {
            what,
            free_mib,
            needed_mib,
        }),
        // Without the figure there is nothing to decide on; the kernel will.
        _ => Ok(()),
    };
    enough("memory", free_memory_mib(), FREE_MEMORY_MIB_MIN)?;
    enough("disk space", free_disk_mib(data), FREE_DISK_MIB_MIN)
}

/// Space on the disk that holds `path`.
pub(crate) fn free_disk_mib(path: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(path).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize) >> 20)
}

/// Memory that can be had without swapping, by the kernel's own estimate.
pub(crate) fn free_memory_mib() -> Option<u64> {
    let text = fs_err::read_to_string("/proc/meminfo").ok()?;
    let fields: HashMap<_, _> = text.lines().filter_map(|line| line.split_once(':')).collect();
    let kib: u64 = fields
        .get("MemAvailable")?
        .trim()
        .strip_suffix("kB")?
        .trim()
        .parse()
        .ok()?;
    Some(kib / 1024)
}
