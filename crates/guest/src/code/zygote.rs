//! The warm Python process: started once, imports everything slow, then forks interpreters in milliseconds.
//!
//! It runs as the session's user under a supervisor, like any other program of the session, so the session can kill
//! it; then the next interpreter costs the start of another one.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::RunError;
use super::interpreter::Interpreter;
use super::keeper::Keeper;
use super::language::Kind;
use super::program::last_complaint;
use super::wire::{FRAME_BYTES_MAX, FromZygote, ToZygote};
use crate::cgroup;
use crate::frames::Frames;
use crate::job::wire::{End, Exit, Input};
use crate::job::{Job, Jobs, Output, output_pipe};
use crate::output::discard;

/// Imports from a cold disk take a second or two; more than this is a fault.
const START_TIME_MAX: Duration = Duration::from_secs(60);

/// A fork takes milliseconds.
const FORK_TIME_MAX: Duration = Duration::from_secs(10);

/// How long the news of an interpreter's end may take after the end itself.
const NEWS_TIME_MAX: Duration = Duration::from_millis(500);

/// Fork requests that may wait.
const FORKS_MAX: usize = 4;

/// Ends that nobody has asked about. Interpreters are few; the bound is against a warm process that makes them up.
const EXITS_MAX: usize = 64;

/// The warm process; ends when this is dropped, and its interpreters with it.
#[derive(Debug)]
pub(super) struct Zygote {
    /// Its process id.
    pub(super) pid: i32,
    job: Job,
    forks: mpsc::Sender<ForkRequest>,
    exits: Arc<Exits>,
}

#[derive(Debug)]
struct ForkRequest {
    fds: [std::os::fd::OwnedFd; 3],
    done: oneshot::Sender<i32>,
}

/// How interpreters ended, as the warm process reports it.
#[derive(Debug, Default)]
struct Exits {
    known: Mutex<HashMap<i32, Exit>>,
    news: tokio::sync::Notify,
}

impl Zygote {
    /// Starts it and waits until it is warm.
    pub(super) async fn start(
        jobs: &Jobs,
        python: &str,
        driver: &str,
        directory: &str,
    ) -> Result<Self, RunError> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()
            .map_err(|error| RunError::Start(Kind::Python, error.to_string()))?;
        ours.set_nonblocking(true)
            .map_err(|error| RunError::Start(Kind::Python, error.to_string()))?;
        let stream =
            UnixStream::from_std(ours).map_err(|error| RunError::Start(Kind::Python, error.to_string()))?;
        let command = vec![python.to_owned(), driver.to_owned()];
        let (job, Output { stdout, mut stderr }) = jobs
            .start(command, directory, &[], Input::Stdin, vec![theirs.into()])
            .await
            .map_err(|error| RunError::Job(Kind::Python, error))?;
        discard(stdout);
        let mut frames = Frames::new(stream, FRAME_BYTES_MAX);
        let ready = timeout(START_TIME_MAX, frames.next::<FromZygote>()).await;
        match ready {
            Ok(Ok(Some(FromZygote::Ready { python, threads }))) => {
                tracing::info!(python, "python is warm");
                if threads != 1 {
                    tracing::warn!(
                        threads,
                        "the warm python process has more than one thread; forks of it may hang"
                    );
                }
            }
            Ok(_) => {
                let complaint = last_complaint(&mut stderr).await;
                return Err(RunError::Start(
                    Kind::Python,
                    format!("`{python}` ended while it was starting: {complaint}"),
                ));
            }
            Err(_) => {
                job.end(End::default()).await;
                return Err(RunError::Start(
                    Kind::Python,
                    format!("`{python}` was not ready within {START_TIME_MAX:?}"),
                ));
            }
        }
        discard(stderr);
        let exits = Arc::new(Exits::default());
        let (forks, requests) = mpsc::channel(FORKS_MAX);
        tokio::spawn(attend(frames, requests, Arc::clone(&exits)));
        Ok(Self {
            pid: job.pid,
            job,
            forks,
            exits,
        })
    }

    /// Whether forks can still be had.
    pub(super) fn is_alive(&self) -> bool {
        !self.job.has_ended() && !self.forks.is_closed()
    }

    /// Forks an interpreter, ready for its first run.
    pub(super) async fn fork(self: &Arc<Self>) -> Result<Interpreter, RunError> {
        let start = |error: std::io::Error| RunError::Start(Kind::Python, error.to_string());
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(start)?;
        ours.set_nonblocking(true).map_err(start)?;
        let (stdout, stdout_to) = output_pipe().map_err(start)?;
        let (stderr, stderr_to) = output_pipe().map_err(start)?;
        let (done, forked) = oneshot::channel();
        let gone = || {
            RunError::Start(
                Kind::Python,
                "the warm process was killed; the next run starts another one".into(),
            )
        };
        let request = ForkRequest {
            fds: [theirs.into(), stdout_to, stderr_to],
            done,
        };
        self.forks.send(request).await.map_err(|_| gone())?;
        let pid = match timeout(FORK_TIME_MAX, forked).await {
            Ok(Ok(pid)) => pid,
            Ok(Err(_)) => return Err(gone()),
            Err(_) => {
                return Err(RunError::Start(
                    Kind::Python,
                    format!("the warm process did not fork within {FORK_TIME_MAX:?}"),
                ));
            }
        };
        let stream = UnixStream::from_std(ours).map_err(start)?;
        let output = Output { stdout, stderr };
        let frames = Frames::new(stream, FRAME_BYTES_MAX);
        Interpreter::new(
            Kind::Python,
            pid,
            frames,
            output,
            Keeper::Zygote(Arc::clone(self)),
        )
        .map_err(start)
    }

    /// How the interpreter `pid` ended, if the warm process tells in time.
    pub(super) async fn exit_of(&self, pid: i32) -> Option<Exit> {
        let told = async {
            loop {
                // Registered before looking, so that news in between is not missed.
                let news = self.exits.news.notified();
                tokio::pin!(news);
                news.as_mut().enable();
                if let Some(exit) = self.exits.lock().remove(&pid) {
                    return exit;
                }
                news.await;
            }
        };
        tokio::select! {
            exit = timeout(NEWS_TIME_MAX, told) => exit.ok(),
            // Gone as well, it has nothing more to tell.
            () = self.forks.closed() => self.exits.lock().remove(&pid),
        }
    }

    /// Kills processes of the session's interpreters.
    pub(super) async fn end(&self, end: End) {
        self.job.end(end).await;
    }
}

impl Exits {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<i32, Exit>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passes on fork requests, one at a time, and hears of interpreters that ended.
async fn attend(mut frames: Frames, mut requests: mpsc::Receiver<ForkRequest>, exits: Arc<Exits>) {
    let mut pending: Option<oneshot::Sender<i32>> = None;
    loop {
        tokio::select! {
            message = frames.next::<FromZygote>() => match message {
                Ok(Some(FromZygote::Forked(pid))) => {
                    if let Some(done) = pending.take() {
                        let _ = done.send(pid);
                    }
                }
                Ok(Some(FromZygote::Exited { pid, status })) => {
                    let mut known = exits.lock();
                    if known.len() < EXITS_MAX {
                        known.insert(pid, Exit::from_wait_status(status));
                    }
                    drop(known);
                    exits.news.notify_waiters();
                }
                Ok(Some(FromZygote::Ready { .. })) => {}
                Ok(None) | Err(_) => return,
            },
            request = requests.recv(), if pending.is_none() => {
                let Some(ForkRequest { fds, done }) = request else { return };
                let message = ToZygote::Fork { cpus: cgroup::cpu_count() };
                if frames.send_with(&message, &fds.each_ref().map(AsFd::as_fd)).await.is_err() {
                    return;
                }
                pending = Some(done);
            }
        }
    }
}

/// Where Python is, when no setting says so.
pub(super) fn default_python() -> Option<PathBuf> {
    ["/usr/local/bin/python3", "/usr/bin/python3", "/bin/python3"]
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
}
