//! Processes that outlive the call which started them, with or without a terminal: listed, written to, read again,
//! signalled, watched by several at once.
//!
//! In: a [`Request`]. Out: a [`Process`], kept by its id until it has ended and enough others have. What it writes goes
//! into a [`Replay`] of bounded size, and every reader reads from there at its own pace: a slow one misses what no
//! longer fits and is told so, and makes nobody else wait.
//!
//! Start reading at [`Processes::start`]; [`socket`] is the way for a person's terminal.

pub mod replay;
pub mod socket;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use rustix::process::{Gid, Pid, Signal, Uid, kill_process, kill_process_group};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use serde::Serialize;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::job::wire::{End, Exit, Input};
use crate::job::{Job, JobError, Jobs, Output};
use crate::output::read_some;
use replay::{Channel, Replay};

/// Processes that are remembered, running or not.
const PROCESSES_MAX: usize = 64;

/// How long a program may let its input wait before a write is given up.
const WRITE_TIME_MAX: Duration = Duration::from_secs(10);

/// Why a process could not be started or spoken to.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// None has this id.
    #[error(
        "process `{0}` not found: it never was, or ended long ago; `list_processes` tells which there are"
    )]
    Unknown(String),
    /// Too many run.
    #[error("{PROCESSES_MAX} processes are running already; end one before starting another")]
    TooMany,
    /// It could not be started.
    #[error(transparent)]
    Job(#[from] JobError),
    /// No terminal for it.
    #[error("could not open a terminal: {0}")]
    Terminal(#[source] std::io::Error),
    /// It has ended.
    #[error("process `{0}` has ended")]
    Ended(String),
    /// It reads nothing.
    #[error("process `{id}` did not read its input within {} s", .after.as_secs())]
    Stuck {
        /// The process.
        id: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// Its input is closed.
    #[error("process `{0}` reads no input any more")]
    Closed(String),
    /// Only a terminal has a size.
    #[error("process `{0}` has no terminal")]
    NoTerminal(String),
}

/// Characters of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Size {
    /// Characters in a line.
    #[schemars(range(min = 1, max = 1000))]
    pub columns: u16,
    /// Lines.
    #[schemars(range(min = 1, max = 1000))]
    pub rows: u16,
}

impl Size {
    /// Both numbers are ones that programs can work with.
    pub fn is_sane(self) -> bool {
        (1..=1000).contains(&self.columns) && (1..=1000).contains(&self.rows)
    }
}

impl From<Size> for Winsize {
    fn from(size: Size) -> Self {
        Self {
            ws_row: size.rows,
            ws_col: size.columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        }
    }
}

/// What to start.
#[derive(Debug)]
pub struct Request {
    /// What it is called in lists.
    pub name: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Its working directory.
    pub directory: String,
    /// Variables besides the session's.
    pub variables: Vec<(String, String)>,
    /// With a terminal of this size; without one, it has pipes.
    pub terminal: Option<Size>,
}

/// What is told of a process.
#[derive(Debug, Clone, Serialize)]
pub struct About {
    /// What it is asked for by.
    pub process_id: String,
    /// What was started.
    pub command: String,
    /// Its number inside the session.
    pub pid: i32,
    /// When it was started, in RFC 3339.
    pub started: String,
    /// It still runs.
    pub running: bool,
    /// As a shell counts it, when it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Its terminal, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminal: Option<Size>,
    /// Bytes that it has written.
    pub output_bytes: u64,
}

/// One process.
#[derive(Debug)]
pub struct Process {
    id: String,
    name: String,
    started: SystemTime,
    job: Job,
    terminal: Option<(OwnedFd, Mutex<Size>)>,
    input: tokio::sync::Mutex<Option<pipe::Sender>>,
    /// What it wrote.
    pub replay: Replay,
    exit: watch::Receiver<Option<Exit>>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Processes {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    known: BTreeMap<u64, Arc<Process>>,
    next: u64,
}

impl Processes {
    /// Starts a process. That it runs does not keep the session in use; whoever speaks to it does.
    pub async fn start(&self, jobs: &Jobs, request: Request) -> Result<Arc<Process>, ProcessError> {
        self.make_room()?;
        let started = Started::new(jobs, &request).await?;
        let (exit_to, exit) = watch::channel(None);
        let process = {
            let mut inner = self.lock();
            inner.next += 1;
            let process = Arc::new(Process {
                id: format!("p{}", inner.next),
                name: request.name,
                started: SystemTime::now(),
                job: started.job,
                terminal: started.terminal.zip(request.terminal.map(Mutex::new)),
                input: tokio::sync::Mutex::new(Some(started.input)),
                replay: Replay::default(),
                exit,
            });
            let number = inner.next;
            inner.known.insert(number, Arc::clone(&process));
            process
        };
        let reading: Vec<_> = started
            .outputs
            .into_iter()
            .map(|(channel, pipe)| tokio::spawn(record(Arc::clone(&process), channel, pipe)))
            .collect();
        let watched = Arc::clone(&process);
        tokio::spawn(async move {
            let exit = watched
                .job
                .ended()
                .await
                .map_or(Exit::Signal(9), |ended| ended.exit);
            // What it left in its pipes belongs before the news of its end. A child that it left behind may hold them.
            let all = async {
                for reading in reading {
                    let _ = reading.await;
                }
            };
            let _ = timeout(Duration::from_millis(50), all).await;
            watched.input.lock().await.take();
            exit_to.send_replace(Some(exit));
            watched.replay.wake();
        });
        Ok(process)
    }

    /// The process with this id.
    pub fn get(&self, id: &str) -> Result<Arc<Process>, ProcessError> {
        let number = id.strip_prefix('p').and_then(|number| number.parse().ok());
        number
            .and_then(|number: u64| self.lock().known.get(&number).cloned())
            .ok_or_else(|| ProcessError::Unknown(id.chars().take(40).collect()))
    }

    /// All that are known, in the order in which they were started.
    pub fn list(&self) -> Vec<About> {
        self.lock()
            .known
            .values()
            .map(|process| process.about())
            .collect()
    }

    /// Forgets the one that was started first of those that have ended, if there are too many.
    fn make_room(&self) -> Result<(), ProcessError> {
        let mut inner = self.lock();
        if inner.known.len() < PROCESSES_MAX {
            return Ok(());
        }
        let ended = inner.known.iter().find(|(_, process)| process.exit().is_some());
        let number = ended.map(|(number, _)| *number).ok_or(ProcessError::TooMany)?;
        inner.known.remove(&number);
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Process {
    /// What can be told of it now.
    pub fn about(&self) -> About {
        let exit = self.exit();
        About {
            process_id: self.id.clone(),
            command: self.name.clone(),
            pid: self.job.pid,
            started: Timestamp::try_from(self.started)
                .unwrap_or(Timestamp::UNIX_EPOCH)
                .to_string(),
            running: exit.is_none(),
            exit_code: exit.map(Exit::shell_code),
            terminal: self.size(),
            output_bytes: self.replay.end(),
        }
    }

    /// How it ended, if it has.
    pub fn exit(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    /// Waits until it has ended.
    pub async fn ended(&self) {
        let mut exit = self.exit.clone();
        // The sender lives until it has told.
        let _ = exit.wait_for(Option::is_some).await;
    }

    /// Writes to its standard input, or as if typed at its terminal.
    pub async fn write(&self, bytes: &[u8]) -> Result<(), ProcessError> {
        let mut input = self.input.lock().await;
        let Some(pipe) = input.as_mut() else {
            return Err(match self.exit() {
                Some(_) => ProcessError::Ended(self.id.clone()),
                None => ProcessError::Closed(self.id.clone()),
            });
        };
        match timeout(WRITE_TIME_MAX, pipe.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(ProcessError::Closed(self.id.clone())),
            Err(_) => Err(ProcessError::Stuck {
                id: self.id.clone(),
                after: WRITE_TIME_MAX,
            }),
        }
    }

    /// Ends its standard input. At a terminal that is a key (Ctrl-D), which the program may read as it likes.
    pub async fn close_input(&self) -> Result<(), ProcessError> {
        if self.terminal.is_some() {
            return self.write(b"\x04").await;
        }
        self.input.lock().await.take();
        Ok(())
    }

    /// Gives its terminal another size. The program is told by the kernel.
    pub fn resize(&self, size: Size) -> Result<(), ProcessError> {
        let (master, known) = self
            .terminal
            .as_ref()
            .ok_or_else(|| ProcessError::NoTerminal(self.id.clone()))?;
        rustix::termios::tcsetwinsize(master, size.into())
            .map_err(|error| ProcessError::Terminal(error.into()))?;
        *known.lock().unwrap_or_else(PoisonError::into_inner) = size;
        Ok(())
    }

    fn size(&self) -> Option<Size> {
        let (_, size) = self.terminal.as_ref()?;
        Some(*size.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends a signal to the process and to what it started, as far as that stayed with it. `KILL` reaches everything.
    pub async fn signal(&self, signal: Signal) -> Result<(), ProcessError> {
        if self.exit().is_some() {
            return Err(ProcessError::Ended(self.id.clone()));
        }
        if signal == Signal::KILL {
            self.job.end(End::default()).await;
            return Ok(());
        }
        // What a key does at a terminal, it does to the command in front and not to the shell behind it.
        let by_key = matches!(signal, Signal::INT | Signal::QUIT | Signal::TSTP);
        let in_front = self.terminal.as_ref().filter(|_| by_key);
        let in_front = in_front.and_then(|(master, _)| rustix::termios::tcgetpgrp(master).ok());
        // The supervisor has not taken over its end, so the number is still its own.
        if let Some(group) = in_front.or(Pid::from_raw(self.job.pid)) {
            let _ = kill_process_group(group, signal).or_else(|_| kill_process(group, signal));
        }
        Ok(())
    }
}

/// A process that was just started, and the ways to it.
struct Started {
    job: Job,
    terminal: Option<OwnedFd>,
    input: pipe::Sender,
    outputs: Vec<(Channel, pipe::Receiver)>,
}

impl Started {
    async fn new(jobs: &Jobs, request: &Request) -> Result<Self, ProcessError> {
        match request.terminal {
            Some(size) => Self::at_terminal(jobs, request, size).await,
            None => Self::with_pipes(jobs, request).await,
        }
    }

    async fn with_pipes(jobs: &Jobs, request: &Request) -> Result<Self, ProcessError> {
        let (theirs, input) = crate::job::input_pipe().map_err(JobError::Spawn)?;
        let (job, Output { stdout, stderr }) = jobs
            .start(
                request.command.clone(),
                &request.directory,
                &request.variables,
                Input::Stdin,
                vec![theirs],
            )
            .await?;
        Ok(Self {
            job,
            terminal: None,
            input,
            outputs: vec![(Channel::Stdout, stdout), (Channel::Stderr, stderr)],
        })
    }

    async fn at_terminal(jobs: &Jobs, request: &Request, size: Size) -> Result<Self, ProcessError> {
        let user = jobs.user();
        let open = || -> std::io::Result<(OwnedFd, OwnedFd)> {
            let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
            let master = rustix::pty::openpt(flags)?;
            rustix::pty::grantpt(&master)?;
            rustix::pty::unlockpt(&master)?;
            // By its descriptor: a name could lead to the terminal of another file system.
            let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
            // `mesg`, `screen` and others open it by name.
            rustix::fs::fchown(&slave, Some(Uid::from_raw(user.uid)), None::<Gid>)?;
            rustix::termios::tcsetwinsize(&master, size.into())?;
            rustix::io::ioctl_fionbio(&master, true)?;
            Ok((master, slave))
        };
        let (master, slave) = open().map_err(ProcessError::Terminal)?;
        let input = master.try_clone().and_then(pipe::Sender::from_owned_fd_unchecked);
        let output = master
            .try_clone()
            .and_then(pipe::Receiver::from_owned_fd_unchecked);
        let mut variables = vec![("TERM".to_owned(), "xterm-256color".to_owned())];
        variables.extend(request.variables.iter().cloned());
        // Makes the terminal the program's own, so that Ctrl-C reaches it.
        let command = ["setsid", "-c"].map(str::to_owned);
        let command = command
            .into_iter()
            .chain(request.command.iter().cloned())
            .collect();
        let (job, _) = jobs
            .start(
                command,
                &request.directory,
                &variables,
                Input::Terminal,
                vec![slave],
            )
            .await?;
        Ok(Self {
            job,
            input: input.map_err(ProcessError::Terminal)?,
            outputs: vec![(Channel::Stdout, output.map_err(ProcessError::Terminal)?)],
            terminal: Some(master),
        })
    }
}

/// Writes down what comes out of one pipe, to its end.
async fn record(process: Arc<Process>, channel: Channel, mut pipe: pipe::Receiver) {
    while let Some(bytes) = read_some(&mut pipe).await {
        process.replay.push(channel, &bytes);
    }
}
