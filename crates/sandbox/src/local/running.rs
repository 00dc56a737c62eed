//! A sandbox that runs on this machine: watches its first process and reads its guest's output.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use tokio::{io::unix::AsyncFd, sync::watch};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    Ending, Priority, Running, SandboxError, SandboxId, StepError, cgroup::Cgroups, guest_log::GuestLog,
    local::places::SandboxPlaces, sys::pidfd,
};

/// How long the parent of the first process, normally the machine's first process, may take to collect it.
const COLLECTED_WITHIN: Duration = Duration::from_millis(500);
/// How long processes may take to stop. Those in the middle of a system call stop at its end.
const FREEZE_LIMIT: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(5);

/// One running sandbox. Watching stops when the last reference is gone; the sandbox does not.
#[derive(Debug)]
pub(crate) struct LocalSandbox {
    id: SandboxId,
    cgroups: Cgroups,
    log: Arc<GuestLog>,
    ending: watch::Receiver<Option<Ending>>,
    destroying: Arc<AtomicBool>,
    _watcher: AbortOnDropHandle<()>,
    _reader: AbortOnDropHandle<()>,
}

impl LocalSandbox {
    /// Starts watching. In a tokio runtime.
    pub(crate) fn watch(
        id: &SandboxId,
        process: OwnedFd,
        places: &SandboxPlaces,
        cgroups: &Cgroups,
    ) -> Result<Arc<Self>, StepError> {
        let output = places.output();
        let log =
            GuestLog::open(id, &output).map_err(StepError::path("open the output of the guest", output))?;
        let process = pidfd::watch(process).map_err(StepError::system("watch the first process"))?;
        let log = Arc::new(log);
        let destroying = Arc::new(AtomicBool::new(false));
        let (sender, ending) = watch::channel(None);
        let reader = Arc::clone(&log).follow();
        let watcher = {
            let (id, cgroups, destroying) = (id.clone(), cgroups.clone(), destroying.clone());
            async move {
                let ending = wait(&process, &cgroups, &id, &destroying).await;
                tracing::debug!(sandbox.id = %id, ?ending, "sandbox `{id}` has ended");
                sender.send_replace(Some(ending));
            }
        };
        Ok(Arc::new(Self {
            id: id.clone(),
            cgroups: cgroups.clone(),
            log,
            ending,
            destroying,
            _watcher: AbortOnDropHandle::new(tokio::spawn(watcher)),
            _reader: AbortOnDropHandle::new(tokio::spawn(reader)),
        }))
    }

    /// From here on its end is wanted.
    pub(crate) fn will_be_destroyed(&self) {
        self.destroying.store(true, Ordering::Relaxed);
    }

    /// It has ended already.
    pub(crate) fn has_ended(&self) -> bool {
        self.ending.borrow().is_some()
    }

    fn failed(&self) -> impl FnOnce(StepError) -> SandboxError {
        let id = self.id.clone();
        move |source| SandboxError::Processes { id, source }
    }
}

#[async_trait]
impl Running for LocalSandbox {
    async fn ended(&self) -> Ending {
        let mut ending = self.ending.clone();
        // The sender is in a task that lives as long as `self`.
        ending
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|ending| *ending)
            .unwrap_or(Ending::Unknown)
    }

    fn log_tail(&self) -> Vec<String> {
        self.log.tail()
    }

    // The files behind these are in the kernel's memory: reading or writing one takes microseconds.

    async fn memory_peak(&self) -> Result<u64, SandboxError> {
        self.cgroups.of(&self.id).memory_peak().map_err(self.failed())
    }

    async fn set_priority(&self, priority: Priority) -> Result<(), SandboxError> {
        let cgroup = self.cgroups.of(&self.id);
        cgroup.set_priority(priority).map_err(self.failed())
    }

    async fn freeze(&self) -> Result<(), SandboxError> {
        let cgroup = self.cgroups.of(&self.id);
        cgroup.freeze(true).map_err(self.failed())?;
        let end = Instant::now() + FREEZE_LIMIT;
        while !cgroup.is_frozen().map_err(self.failed())? {
            if Instant::now() >= end {
                return Err(self.failed()(StepError::StillThawed(FREEZE_LIMIT)));
            }
            // Nothing tells of it in all cgroup layouts.
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    async fn thaw(&self) -> Result<(), SandboxError> {
        self.cgroups.of(&self.id).freeze(false).map_err(self.failed())
    }
}

async fn wait(
    process: &AsyncFd<OwnedFd>,
    cgroups: &Cgroups,
    id: &SandboxId,
    destroying: &AtomicBool,
) -> Ending {
    if let Err(error) = process.readable().await {
        tracing::warn!(sandbox.id = %id, %error, "could not watch the first process of sandbox `{id}`");
        return Ending::Unknown;
    }
    // At once, before somebody removes the cgroup.
    let out_of_memory = cgroups.of(id).out_of_memory_kills() > 0;
    if destroying.load(Ordering::Relaxed) {
        return Ending::Destroyed;
    }
    let mut waited = Duration::ZERO;
    let status = loop {
        match pidfd::wait_status(process.get_ref().as_fd()) {
            Ok(Some(status)) => break Some(status),
            // Not collected yet. The kernel has no event for it.
            Ok(None) if waited < COLLECTED_WITHIN => {
                tokio::time::sleep(PAUSE).await;
                waited += PAUSE;
            }
            Ok(None) | Err(_) => break None,
        }
    };
    ending(status, out_of_memory)
}

/// What a wait status means.
fn ending(status: Option<i32>, out_of_memory: bool) -> Ending {
    match status {
        // The kernel kills with this signal alone; a count without it was some other process, earlier.
        Some(status) if libc::WIFSIGNALED(status) => match libc::WTERMSIG(status) {
            libc::SIGKILL if out_of_memory => Ending::OutOfMemory,
            signal => Ending::Signalled(signal),
        },
        Some(status) => Ending::Exited(libc::WEXITSTATUS(status)),
        None if out_of_memory => Ending::OutOfMemory,
        None => Ending::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_becomes_an_ending() {
        assert_eq!(ending(Some(0), false), Ending::Exited(0));
        assert_eq!(ending(Some(7 << 8), true), Ending::Exited(7));
        assert_eq!(ending(Some(9), false), Ending::Signalled(9));
        assert_eq!(ending(Some(9), true), Ending::OutOfMemory);
        assert_eq!(ending(Some(11 | 0x80), true), Ending::Signalled(11));
        assert_eq!(ending(None, true), Ending::OutOfMemory);
        assert_eq!(ending(None, false), Ending::Unknown);
    }
}
