//! Programs of the session, each under a supervisor: a process of the guest's own binary (`berth-guest job`) that can
//! kill everything the program started, and that outlives the call as long as something of it runs.
//!
//! In: a [`Launch`]. Out: a [`Job`] with the program's output, its end, and a way to kill it. Start reading at
//! [`Jobs::start`]; the other side is [`supervisor`].

pub mod supervisor;
pub mod tree;
pub mod wire;

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot, watch};

use crate::cgroup;
use crate::environment;
use crate::frames::{FrameError, Frames};
use crate::user::User;
use wire::{Account, End, Exit, FRAME_BYTES_MAX, FromJob, Launch, ToJob};

/// Kill orders that may wait for a supervisor; more callers wait themselves.
const ORDERS_MAX: usize = 4;

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
    /// The supervisor could not be spoken to.
    #[error("could not speak to the process that supervises the program: {0}")]
    Frames(#[from] FrameError),
}

/// Starts programs as the session's user.
#[derive(Debug, Clone)]
pub struct Jobs {
    user: User,
    display: Arc<str>,
    /// Where the session has fewer processors than the machine.
    cpus: Option<u64>,
    /// The guest's own binary.
    binary: PathBuf,
    /// Started ahead of time: a call does not wait for the start of its supervisor.
    ready: Arc<Mutex<Option<Supervisor>>>,
    /// One is being started for `ready`.
    preparing: Arc<AtomicBool>,
}

/// A supervisor that has not been told what to start.
#[derive(Debug)]
struct Supervisor {
    process: Child,
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
    /// Starts programs as `user` through the binary of this process. `display` is where they find a desktop.
    pub fn new(user: User, display: &str) -> Result<Self, std::io::Error> {
        Ok(Self {
            user,
            display: display.into(),
            cpus: cgroup::cpus_below_machine(),
            binary: std::env::current_exe()?,
            ready: Arc::default(),
            preparing: Arc::default(),
        })
    }

    /// The account that programs run as.
    pub fn user(&self) -> &User {
        &self.user
    }

    /// Starts `command` in `directory` with the session's environment and `extra` variables. `stdin` becomes its
    /// standard input; without it there is nothing to read.
    pub async fn start(
        &self,
        command: Vec<String>,
        directory: &str,
        extra: &[(String, String)],
        stdin: Option<OwnedFd>,
    ) -> Result<(Job, Output), JobError> {
        let inherited = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let launch = Launch {
            command,
            environment: environment::for_user(&self.user, &self.display, self.cpus, inherited, extra),
            directory: directory.to_owned(),
            user: Account {
                uid: self.user.uid,
                gid: self.user.gid,
                groups: self.user.groups.clone(),
            },
        };
        let fds: Vec<_> = stdin.iter().map(AsFd::as_fd).collect();
        let order = ToJob::Start(launch);
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut supervisor = match ready {
            Some(supervisor) => supervisor,
            None => self.spawn_supervisor().map_err(JobError::Spawn)?,
        };
        if supervisor.frames.send_with(&order, &fds).await.is_err() {
            // The one that waited was killed. A new one gets one chance.
            bury(supervisor.process);
            supervisor = self.spawn_supervisor().map_err(JobError::Spawn)?;
            supervisor.frames.send_with(&order, &fds).await?;
        }
        let Supervisor {
            process,
            mut frames,
            output,
        } = supervisor;
        let started = frames.next::<FromJob>().await;
        self.prepare_next();
        let pid = match started {
            Ok(Some(FromJob::Started { pid })) => pid,
            other => {
                bury(process);
                return Err(match other {
                    Ok(Some(FromJob::Failed { message })) => JobError::Refused(message),
                    Ok(_) => JobError::Lost,
                    Err(error) => JobError::Frames(error),
                });
            }
        };
        let (state_to, state) = watch::channel(State::Running);
        let (orders, orders_from) = mpsc::channel(ORDERS_MAX);
        tokio::spawn(keep(process, frames, state_to, orders_from));
        Ok((Job { pid, state, orders }, output))
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
                let started = jobs.spawn_supervisor().ok();
                *ready() = started;
            }
            jobs.preparing.store(false, Ordering::Release);
        });
    }

    fn spawn_supervisor(&self) -> std::io::Result<Supervisor> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let (stdout, stdout_to) = output_pipe()?;
        let (stderr, stderr_to) = output_pipe()?;
        // Without a directory of its own, which the guest does not have either, it is started by `posix_spawn`: a fork
        // would copy the guest's page tables, and all its threads would fault for it.
        let process = Command::new(&self.binary)
            .arg("job")
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(stdout_to))
            .stderr(Stdio::from(stderr_to))
            .spawn()?;
        let frames = Frames::new(UnixStream::from_std(ours)?, FRAME_BYTES_MAX);
        Ok(Supervisor {
            process,
            frames,
            output: Output { stdout, stderr },
        })
    }
}

/// Takes the exit status of a supervisor that ends by itself.
fn bury(mut process: Child) {
    tokio::spawn(async move { process.wait().await });
}

/// A pipe for output: the guest's end does not block, the program's end does.
pub(crate) fn output_pipe() -> std::io::Result<(pipe::Receiver, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&read, true)?;
    Ok((pipe::Receiver::from_owned_fd_unchecked(read)?, write))
}

/// Speaks to a supervisor as long as it lives, which is as long as anything of the job does.
async fn keep(
    mut supervisor: Child,
    mut frames: Frames,
    state: watch::Sender<State>,
    mut orders: mpsc::Receiver<Order>,
) {
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
    // Dropping `frames` has already told a supervisor that still lives to end.
    drop(frames);
    let _ = supervisor.wait().await;
}

impl Job {
    /// Waits until the program itself has ended. Cancel safe.
    pub async fn ended(&mut self) -> Result<Ended, JobError> {
        let state = self.state.wait_for(|state| *state != State::Running).await;
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
