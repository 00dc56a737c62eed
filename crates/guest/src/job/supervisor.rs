//! The parent of one program of the session, a fork of `berth-guest jobs`.
//!
//! It stays root, so the program cannot signal it; it is the reaper of everything that the program starts, so nothing
//! gets away from it; and it ends when the last of that has ended. The guest speaks to it on a socket.
//!
//! When the guest is gone, so is the reason for the program: the supervisor kills it and ends.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream as BlockingStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use rustix::io::FdFlags;
use rustix::process::{Pid, WaitOptions, WaitStatus};
use tokio::net::UnixStream;
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};

use super::tree;
use super::wire::{self, End, Exit, FRAME_BYTES_MAX, FromJob, Input, Launch, ToJob};
use crate::frames::{self, FrameError, Frames};
use crate::user::User;

/// Descriptors that a program inherits have this number or a higher one: scripts use the low ones as they like.
const INHERITED_FD_MIN: i32 = 40;

/// Why a supervisor gave up. Nobody reads it but a log.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// The guest did not speak as it should.
    #[error("the guest did not say what to start")]
    Guest(#[from] FrameError),
    /// A call to the kernel failed.
    #[error("could not prepare to supervise")]
    Prepare(#[from] io::Error),
}

/// Runs the one program that the guest names on `channel`, and supervises it to its end.
pub(super) fn run(
    channel: OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
    null: &OwnedFd,
) -> Result<ExitCode, SupervisorError> {
    let control = BlockingStream::from(channel);
    rustix::stdio::dup2_stdout(&stdout).map_err(io::Error::from)?;
    rustix::stdio::dup2_stderr(&stderr).map_err(io::Error::from)?;
    drop((stdout, stderr));
    let _ = rustix::process::setsid();
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(io::Error::from)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        // Listening before the program starts: its end cannot be missed.
        let child_ended = signal(SignalKind::child())?;
        // Everything is prepared; now the guest may let it wait for as long as it likes. Nothing else needs this
        // thread.
        let (first, fds) = frames::read_first::<ToJob>(control.as_fd(), FRAME_BYTES_MAX)?;
        let ToJob::Start(launch) = first else {
            return Err(FrameError::Cut.into());
        };
        control.set_nonblocking(true)?;
        Supervisor {
            guest: Frames::new(UnixStream::from_std(control)?, FRAME_BYTES_MAX),
            own_pid: rustix::process::getpid().as_raw_nonzero().get(),
            program: None,
            exit: None,
        }
        .supervise(launch, fds, null, child_ended)
        .await
    })
}

struct Supervisor {
    guest: Frames,
    own_pid: i32,
    program: Option<Pid>,
    exit: Option<Exit>,
}

impl Supervisor {
    async fn supervise(
        mut self,
        launch: Launch,
        fds: Vec<OwnedFd>,
        null: &OwnedFd,
        mut child_ended: Signals,
    ) -> Result<ExitCode, SupervisorError> {
        match start(launch, fds, null) {
            Ok(pid) => self.program = Pid::from_raw(pid),
            Err(message) => {
                self.guest.send(&FromJob::Failed { message }).await?;
                return Ok(ExitCode::SUCCESS);
            }
        }
        let pid = self.program.map_or(0, |pid| pid.as_raw_nonzero().get());
        self.guest.send(&FromJob::Started { pid }).await?;
        let mut told = false;
        loop {
            self.reap();
            if let (Some(exit), false) = (self.exit, told) {
                let left = tree::has_children(self.own_pid);
                self.guest.send(&FromJob::Exited { exit, left }).await?;
                told = true;
            }
            if told && !tree::has_children(self.own_pid) {
                return Ok(ExitCode::SUCCESS);
            }
            tokio::select! {
                _ = child_ended.recv() => {}
                message = self.guest.next::<ToJob>() => {
                    let Ok(Some(ToJob::End(end))) = message else {
                        self.end(&End::default());
                        return Ok(ExitCode::SUCCESS);
                    };
                    let outcome = self.end(&end);
                    let ended = FromJob::Ended { killed: outcome.killed, stuck: outcome.stuck };
                    self.guest.send(&ended).await?;
                }
            }
        }
    }

    fn end(&mut self, end: &End) -> tree::Outcome {
        tree::end(end, self.own_pid, || reap(self.program, &mut self.exit))
    }

    fn reap(&mut self) {
        reap(self.program, &mut self.exit);
    }
}

/// Takes over every child that has ended; notes how the program did.
fn reap(program: Option<Pid>, exit: &mut Option<Exit>) {
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if Some(pid) == program {
            *exit = Some(exit_of(status));
        }
    }
}

/// How a reaped process ended.
pub(crate) fn exit_of(status: WaitStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        // Stopped or continued is not reported without asking for it.
        (None, None) => Exit::Code(0),
    }
}

/// A copy of `fd` that programs started from now on have as well.
fn inheritable(fd: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    let copy = rustix::io::fcntl_dupfd_cloexec(fd, INHERITED_FD_MIN)?;
    rustix::io::fcntl_setfd(&copy, FdFlags::empty())?;
    Ok(copy)
}

/// Starts the program with the account's rights and returns its process id.
fn start(launch: Launch, mut fds: Vec<OwnedFd>, null: &OwnedFd) -> Result<i32, String> {
    let account = launch.user;
    let user = User {
        name: String::new(),
        uid: account.uid,
        gid: account.gid,
        groups: account.groups,
        home: String::new(),
    };
    let (program, arguments) = launch.command.split_first().ok_or("the command is empty")?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(launch.environment)
        .stdin(Stdio::null());
    if launch.input != Input::Terminal {
        command.process_group(0);
    }
    // Kept open until the program has its own copies.
    let mut channel = Vec::new();
    match launch.input {
        Input::Nothing => {}
        Input::Stdin => {
            command.stdin(Stdio::from(fds.pop().ok_or("no standard input came along")?));
        }
        Input::Terminal => {
            let terminal = fds.pop().ok_or("no terminal came along")?;
            let again = || {
                terminal
                    .try_clone()
                    .map_err(|error| format!("could not pass on its terminal: {error}"))
            };
            command.stdin(again()?).stdout(again()?).stderr(again()?);
        }
        Input::Channel => {
            for (name, fd) in [wire::REQUESTS, wire::REPLIES].into_iter().zip(fds) {
                let inherited =
                    inheritable(&fd).map_err(|error| format!("could not pass on its channel: {error}"))?;
                command.env(name, inherited.as_raw_fd().to_string());
                channel.push(inherited);
            }
        }
    }
    // A child gets the rights of the thread that makes it. This thread takes the account's rights and ends; the
    // supervisor around it stays root. No code runs between fork and exec, so none of it has to be unsafe. The directory
    // is entered here and left again, because a command with a directory would be forked and not spawned, which is slower.
    let started = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                user.become_in_this_thread()?;
                rustix::process::chdir(&launch.directory)?;
                command.spawn()
            })
            .join()
    });
    drop((channel, command));
    rustix::process::chdir("/").map_err(|error| format!("could not leave its directory: {error}"))?;
    // The write ends of the program's output belong to the program alone, or they would never be at their end.
    for replace in [
        rustix::stdio::dup2_stdin,
        rustix::stdio::dup2_stdout,
        rustix::stdio::dup2_stderr,
    ] {
        replace(null).map_err(|error| format!("could not let go of the output: {error}"))?;
    }
    match started {
        // Reaped by process id, not through this handle.
        Ok(Ok(child)) => i32::try_from(child.id()).map_err(|_| "the process id is out of range".into()),
        Ok(Err(error)) => Err(format!(
            "could not start `{program}` in `{}`: {error}",
            launch.directory
        )),
        Err(_) => Err(format!("could not start `{program}`: the starting thread failed")),
    }
}
