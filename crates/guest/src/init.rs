//! `berth-guest init`: process 1 of a session. Starts the daemon, buries what others leave, ends with the daemon.
//!
//! It keeps the listening socket open, does nothing else, and so has nothing to crash over.

use std::io;
use std::process::{Command, ExitCode};

use rustix::process::{Pid, Signal, WaitOptions, kill_process};
use tokio::signal::unix::{SignalKind, signal};

use crate::job::supervisor::exit_of;
use crate::job::wire::Exit;

/// Runs the daemon to its end and returns its exit code.
pub fn run() -> io::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(supervise())
}

async fn supervise() -> io::Result<ExitCode> {
    // Before the daemon starts, so that its end cannot be missed.
    let mut child_ended = signal(SignalKind::child())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let daemon = Command::new(std::env::current_exe()?).arg("serve").spawn()?;
    let daemon = i32::try_from(daemon.id()).ok().and_then(Pid::from_raw);
    loop {
        if let Some(exit) = bury(daemon) {
            return Ok(ExitCode::from(u8::try_from(exit.shell_code()).unwrap_or(1)));
        }
        tokio::select! {
            _ = child_ended.recv() => {}
            _ = terminate.recv() => forward(daemon),
            _ = interrupt.recv() => forward(daemon),
        }
    }
}

fn forward(daemon: Option<Pid>) {
    if let Some(daemon) = daemon {
        // It may have ended in this moment, which is what was wanted.
        let _ = kill_process(daemon, Signal::TERM);
    }
}

/// Takes over every child that has ended; tells how the daemon did.
fn bury(daemon: Option<Pid>) -> Option<Exit> {
    let mut exit = None;
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if Some(pid) == daemon {
            exit = Some(exit_of(status));
        }
    }
    exit
}
