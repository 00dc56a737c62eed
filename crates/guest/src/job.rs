//! Programs of the session, each under a supervisor: a process of the guest's own binary that can kill everything the
//! program started, and that outlives the call as long as something of it runs.
//!
//! In: a [`Launch`]. Out: a [`Job`] with the program's output, its end, and a way to kill it. Start reading at
//! [`Jobs::start`]; the other side is [`supervisor`], which [`forks`] makes.

pub mod forks;
pub mod supervisor;
pub mod tree;
pub mod wire;

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::cgroup;
use crate::environment;
use crate::frames::{FrameError, Frames};
use crate::user::User;
use wire::{Account, End, Exit, FRAME_BYTES_MAX, FromJob, Input, Launch, ToJob};

/// Kill orders that may wait for a supervisor; more callers wait themselves.
const ORDERS_MAX: usize = 4;

/// What is kept of the complaints of a program that a tool runs.
const COMPLAINT_BYTES_MAX: usize = 2000;

/// How long a supervisor may take to start its program. It takes a millisecond; in a session that is full of busy
/// processes, longer.
const START_TIME_MAX: Duration = Duration::from_secs(30);

/// Why a program could not be run.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The supervisor could not be started: out of processes or memory, mostly.
    #[error("could not start a process: {0}")]
    Spawn(#[source] std::io::Error),
    /// The program could not be started.
    #[error("{0}")]
    Refused(String),
    /// The supervisor ended without an answer.
    #[error("the process that supervises the program was killed")]
    Lost,
    /// The supervisor did not start its program in time.
    #[error("the program was not started within {} s; the session has too many busy processes", .0.as_secs())]
    Late(Duration),
    /// The supervisor could not be spoken to.
    #[error("could not speak to the process that supervises the program: {0}")]
    Frames(#[from] FrameError),
}

/// Starts programs as the session's user.
#[derive(Debug, Clone)]
pub struct Jobs {
    user: User,
    display: Arc<str>,
    runtime_dir: Arc<str>,
    /// Where the session has fewer processors than the machine.
    cpus: Option<u64>,
    /// The guest's own binary.
    binary: PathBuf,
    /// Makes supervisors. The session's root may kill it; then the next call starts another one.
    forks: Arc<tokio::sync::Mutex<Option<Forks>>>,
    /// Started ahead of time: a call does not wait for the start of its supervisor.
    ready: Arc<Mutex<Option<Supervisor>>>,
    /// One is being started for `ready`.
    preparing: Arc<AtomicBool>,
}

/// The running `berth-guest jobs`, and the way to it.
#[derive(Debug)]
struct Forks {
    #[expect(dead_code, reason = "ends with this")]
    process: Child,
    orders: Frames,
}

/// A supervisor that has not been told what to start.
#[derive(Debug)]
struct Supervisor {
    frames: Frames,
    output: Output,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Its exit.
    pub exit: Exit,
    /// Processes that it started still run.
    pub left: bool,
}

/// What became of a program that was run to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completed {
    /// How it ended; `None` when it was killed for its time.
    pub exit: Option<Exit>,
    /// What it wrote to standard error, or why it was killed.
    pub complaint: String,
}

/// A running program. Dropping this leaves it running, with its supervisor.
#[derive(Debug)]
pub struct Job {
    /// The program's process id.
    pub pid: i32,
    state: watch::Receiver<State>,
    orders: mpsc::Sender<Order>,
}

/// A job's output, each at its end when every process that holds it has ended.
#[derive(Debug)]
pub struct Output {
    /// What is written to standard output.
    pub stdout: pipe::Receiver,
    /// What is written to standard error.
    pub stderr: pipe::Receiver,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    Ended(Ended),
    Lost,
}

#[derive(Debug)]
struct Order {
    end: End,
    done: oneshot::Sender<()>,
}

impl Jobs {
    /// Starts programs as `user` through the binary of this process. `display` is where they find a desktop,
    /// `runtime_dir` where they find each other.
    pub fn new(user: User, display: &str, runtime_dir: &str) -> Result<Self, std::io::Error> {
        Ok(Self {
            user,
            display: display.into(),
            runtime_dir: runtime_dir.into(),
            cpus: cgroup::cpus_below_machine(),
            binary: std::env::current_exe()?,
            forks: Arc::default(),
            ready: Arc::default(),
            preparing: Arc::default(),
        })
    }

    /// The account that programs run as.
    pub fn user(&self) -> &User {
        &self.user
    }

    /// Starts `command` in `directory` with the session's environment and `extra` variables. It gets the descriptors
    /// `fds`, as many as `input` says.
    pub async fn start(
        &self,
        command: Vec<String>,
        directory: &str,
        extra: &[(String, String)],
        input: Input,
        fds: Vec<OwnedFd>,
    ) -> Result<(Job, Output), JobError> {
        let inherited = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let launch = Launch {
            command,
            environment: environment::for_user(
                &self.user,
                &self.display,
                &self.runtime_dir,
                self.cpus,
                inherited,
                extra,
            ),
            directory: directory.to_owned(),
            user: Account {
                uid: self.user.uid,
                gid: self.user.gid,
                groups: self.user.groups.clone(),
            },
            input,
        };
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        let order = ToJob::Start(launch);
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut supervisor = match ready {
            Some(supervisor) => supervisor,
            None => self.fork_supervisor().await.map_err(JobError::Spawn)?,
        };
        if supervisor.frames.send_with(&order, &fds).await.is_err() {
            // The one that waited was killed. A new one gets one chance.
            supervisor = self.fork_supervisor().await.map_err(JobError::Spawn)?;
            supervisor.frames.send_with(&order, &fds).await?;
        }
        let Supervisor { mut frames, output } = supervisor;
        let started = timeout(START_TIME_MAX, frames.next::<FromJob>()).await;
        self.prepare_next();
        let pid = match started {
            Ok(Ok(Some(FromJob::Started { pid }))) => pid,
            Ok(Ok(Some(FromJob::Failed { message }))) => return Err(JobError::Refused(message)),
            Ok(Ok(_)) => return Err(JobError::Lost),
            Ok(Err(error)) => return Err(JobError::Frames(error)),
            Err(_) => {
                // Whatever holds it up, stopped by the session's root for one, may hold up its maker as well.
                self.forks.lock().await.take();
                return Err(JobError::Late(START_TIME_MAX));
            }
        };
        let (state_to, state) = watch::channel(State::Running);
        let (orders, orders_from) = mpsc::channel(ORDERS_MAX);
        tokio::spawn(keep(frames, state_to, orders_from));
        Ok((Job { pid, state, orders }, output))
    }

    /// Runs `command` in `directory` to its end, or kills it after `limit`: for what a tool does through a program of the
    /// image. The beginning of what it complains about is kept.
    pub async fn complete(
        &self,
        command: Vec<String>,
        directory: &str,
        limit: Duration,
    ) -> Result<Completed, JobError> {
        let (job, output) = self
            .start(command, directory, &[], Input::Nothing, Vec::new())
            .await?;
        crate::output::discard(output.stdout);
        let mut stderr = output.stderr;
        let mut complaint = Vec::new();
        let ended = timeout(limit, async {
            loop {
                tokio::select! {
                    bytes = crate::output::read_some(&mut stderr) => match bytes {
                        Some(bytes) => {
                            complaint.extend_from_slice(&bytes);
                            complaint.truncate(COMPLAINT_BYTES_MAX);
                        }
                        None => break,
                    },
                    // What it left running may hold the output open.
                    _ = job.ended() => break,
                }
            }
            crate::output::read_now(&stderr, |bytes| complaint.extend_from_slice(bytes));
            complaint.truncate(COMPLAINT_BYTES_MAX);
            job.ended().await
        })
        .await;
        let Ok(ended) = ended else {
            job.end(End::default()).await;
            return Ok(Completed {
                exit: None,
                complaint: format!("it took longer than {} s", limit.as_secs()),
            });
        };
        crate::output::discard(stderr);
        Ok(Completed {
            exit: Some(ended?.exit),
            complaint: String::from_utf8_lossy(&complaint).trim().to_owned(),
        })
    }

    /// Starts the supervisor of the next call, unless there is one or it is being started: of many calls at once, one.
    fn prepare_next(&self) {
        if self.preparing.swap(true, Ordering::Acquire) {
            return;
        }
        let jobs = self.clone();
        tokio::spawn(async move {
            let ready = || jobs.ready.lock().unwrap_or_else(PoisonError::into_inner);
            if ready().is_none() {
                // Out of processes: the next call tries again and says so.
                let started = jobs.fork_supervisor().await.ok();
                *ready() = started;
            }
            jobs.preparing.store(false, Ordering::Release);
        });
    }

    async fn fork_supervisor(&self) -> std::io::Result<Supervisor> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let (stdout, stdout_to) = output_pipe()?;
        let (stderr, stderr_to) = output_pipe()?;
        let fds = [theirs.as_fd(), stdout_to.as_fd(), stderr_to.as_fd()];
        let mut forks = self.forks.lock().await;
        let sent = match forks.as_mut() {
            Some(Forks { orders, .. }) => orders.send_with(&forks::Fork {}, &fds).await.is_ok(),
            None => false,
        };
        if !sent {
            let mut new = Forks::start(&self.binary)?;
            new.orders
                .send_with(&forks::Fork {}, &fds)
                .await
                .map_err(std::io::Error::other)?;
            *forks = Some(new);
        }
        drop(forks);
        Ok(Supervisor {
            frames: Frames::new(UnixStream::from_std(ours)?, FRAME_BYTES_MAX),
            output: Output { stdout, stderr },
        })
    }
}

impl Forks {
    fn start(binary: &Path) -> std::io::Result<Self> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        // Killed and reaped when it is let go, should it be stuck; supervisors need it no more.
        let process = Command::new(binary)
            .arg("jobs")
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self {
            process,
            orders: Frames::new(UnixStream::from_std(ours)?, FRAME_BYTES_MAX),
        })
    }
}

/// A pipe for output: the guest's end does not block, the program's end does.
pub(crate) fn output_pipe() -> std::io::Result<(pipe::Receiver, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&read, true)?;
    Ok((pipe::Receiver::from_owned_fd_unchecked(read)?, write))
}

/// A pipe for input: the guest's end does not block, the program's end does.
pub(crate) fn input_pipe() -> std::io::Result<(OwnedFd, pipe::Sender)> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&write, true)?;
    Ok((read, pipe::Sender::from_owned_fd_unchecked(write)?))
}

/// Speaks to a supervisor as long as it lives, which is as long as anything of the job does.
async fn keep(mut frames: Frames, state: watch::Sender<State>, mut orders: mpsc::Receiver<Order>) {
    let mut waiting: std::collections::VecDeque<oneshot::Sender<()>> = std::collections::VecDeque::new();
    let mut ordering = true;
    loop {
        tokio::select! {
            message = frames.next::<FromJob>() => match message {
                Ok(Some(FromJob::Exited { exit, left })) => {
                    state.send_replace(State::Ended(Ended { exit, left }));
                }
                Ok(Some(FromJob::Ended { killed, stuck })) => {
                    tracing::debug!(killed, stuck, "killed processes of a job");
                    if let Some(done) = waiting.pop_front() {
                        let _ = done.send(());
                    }
                }
                Ok(Some(FromJob::Started { .. } | FromJob::Failed { .. })) => {}
                Ok(None) | Err(_) => break,
            },
            order = orders.recv(), if ordering => match order {
                Some(order) => {
                    if frames.send(&ToJob::End(order.end)).await.is_err() {
                        break;
                    }
                    waiting.push_back(order.done);
                }
                None => ordering = false,
            },
        }
    }
    state.send_if_modified(|state| {
        let lost = *state == State::Running;
        if lost {
            *state = State::Lost;
        }
        lost
    });
    // Dropping `frames` tells a supervisor that still lives to end.
}

impl Job {
    /// Waits until the program itself has ended. Cancel safe.
    pub async fn ended(&self) -> Result<Ended, JobError> {
        let mut state = self.state.clone();
        let state = state.wait_for(|state| *state != State::Running).await;
        match state.map(|state| *state) {
            Ok(State::Ended(ended)) => Ok(ended),
            Ok(State::Running | State::Lost) | Err(_) => Err(JobError::Lost),
        }
    }

    /// Whether the program itself has ended.
    pub fn has_ended(&self) -> bool {
        *self.state.borrow() != State::Running
    }

    /// Kills what `end` names, and returns when it is dead. A job that is over has nothing left to kill.
    pub async fn end(&self, end: End) {
        let (done, killed) = oneshot::channel();
        if self.orders.send(Order { end, done }).await.is_ok() {
            // An error means that the supervisor is gone, and everything with it.
            let _ = killed.await;
        }
    }
}
