//! Interpreters that are programs: a driver in the language itself, started as a process of its own.
//!
//! The driver reads frames from the descriptor that `BERTH_REQUESTS` names and writes frames to the one that
//! `BERTH_REPLIES` names, both pipes: what every language can read and write.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Gid, Uid};
use tokio::net::unix::pipe;
use tokio::time::timeout;

use super::RunError;
use super::interpreter::Interpreter;
use super::keeper::Keeper;
use super::language::Kind;
use super::wire::{FRAME_BYTES_MAX, FromProgram};
use crate::frames::Frames;
use crate::job::wire::{End, Input};
use crate::job::{Jobs, Output, input_pipe, output_pipe};
use crate::output::read_some;

/// A cold disk and a busy machine included.
const START_TIME_MAX: Duration = Duration::from_secs(60);

/// What is kept of a driver's own complaints, for the error that says why it did not start.
const COMPLAINT_BYTES_MAX: usize = 2000;

/// How to start an interpreter.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) kind: Kind,
    /// The program and its arguments.
    pub(super) command: Vec<String>,
    /// Variables besides the session's.
    pub(super) variables: Vec<(String, String)>,
    /// Files without which the image does not have this language.
    pub(super) needs: Vec<PathBuf>,
}

impl Program {
    /// Starts one and waits until it is ready.
    pub(super) async fn start(&self, jobs: &Jobs, directory: &str) -> Result<Interpreter, RunError> {
        let kind = self.kind;
        if !self.needs.iter().all(|path| path.exists()) {
            return Err(RunError::Absent(kind));
        }
        let start = |error: std::io::Error| RunError::Start(kind, error.to_string());
        let (requests_from, requests) = input_pipe().map_err(start)?;
        let (replies, replies_to) = output_pipe().map_err(start)?;
        // A driver may open them by name, which the kernel checks like a file.
        let user = jobs.user();
        for fd in [&requests_from, &replies_to] {
            let owner = (Some(Uid::from_raw(user.uid)), Some(Gid::from_raw(user.gid)));
            rustix::fs::fchown(fd, owner.0, owner.1).map_err(|error| start(error.into()))?;
        }
        let (command, fds) = (self.command.clone(), vec![requests_from, replies_to]);
        let (job, output) = jobs
            .start(command, directory, &self.variables, Input::Channel, fds)
            .await
            .map_err(|error| RunError::Job(kind, error))?;
        let Output { stdout, mut stderr } = output;
        let mut frames = Frames::over_pipes(replies, requests, FRAME_BYTES_MAX);
        match timeout(START_TIME_MAX, frames.next::<FromProgram>()).await {
            Ok(Ok(Some(FromProgram::Ready { version }))) => {
                tracing::info!(%kind, version, "an interpreter is ready")
            }
            Ok(_) => {
                job.end(End::default()).await;
                let complaint = last_complaint(&mut stderr).await;
                return Err(RunError::Start(
                    kind,
                    format!("it ended while it was starting: {complaint}"),
                ));
            }
            Err(_) => {
                job.end(End::default()).await;
                return Err(RunError::Start(
                    kind,
                    format!("it was not ready within {START_TIME_MAX:?}"),
                ));
            }
        }
        let (pid, keeper) = (job.pid, Keeper::Supervisor(Arc::new(job)));
        Interpreter::new(kind, pid, frames, Output { stdout, stderr }, keeper).map_err(start)
    }
}

/// The last line that a process wrote before it ended.
pub(super) async fn last_complaint(stderr: &mut pipe::Receiver) -> String {
    let mut text = Vec::new();
    let all = async {
        while let Some(bytes) = read_some(stderr).await {
            text.extend_from_slice(&bytes);
            let too_many = text.len().saturating_sub(COMPLAINT_BYTES_MAX);
            text.drain(..too_many);
        }
    };
    let _ = timeout(Duration::from_secs(1), all).await;
    let text = String::from_utf8_lossy(&text);
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    last.map_or_else(|| "it said nothing".into(), |line| line.trim().to_owned())
}

/// The programs of every kind but Python, whose drivers are in `drivers`.
pub(super) fn program(kind: Kind, drivers: &Path, python: Option<&Path>) -> Program {
    let file = |name: &str| drivers.join(name).display().to_string();
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let (command, variables, needs): (Vec<String>, &[(&str, &str)], &[&str]) = match kind {
        Kind::JavaScript => (
            words(&[
                "/usr/bin/node",
                "--expose-internals",
                "--disable-warning=ExperimentalWarning",
                &file("berth_driver.js"),
            ]),
            &[],
            &["/usr/bin/node"],
        ),
        Kind::Java => (
            words(&["/usr/lib/berth/java/start"]),
            &[],
            &["/usr/lib/berth/java/start"],
        ),
        // The program itself: what is usually called `R` is a shell script that finds these out each time.
        Kind::R => (
            words(&[
                "/usr/lib/R/bin/exec/R",
                "--no-echo",
                "--no-restore",
                "--no-save",
                &format!("--file={}", file("berth_driver.R")),
            ]),
            &[
                ("R_HOME", "/usr/lib/R"),
                ("R_SHARE_DIR", "/usr/share/R/share"),
                ("R_INCLUDE_DIR", "/usr/share/R/include"),
                ("R_DOC_DIR", "/usr/share/R/doc"),
                ("LD_LIBRARY_PATH", "/usr/lib/R/lib"),
                // The driver turns it on for the code that it runs.
                ("R_ENABLE_JIT", "0"),
            ],
            &["/usr/lib/R/bin/exec/R"],
        ),
        Kind::Bash | Kind::Python => (
            words(&[
                &python
                    .unwrap_or(Path::new("/usr/bin/python3"))
                    .display()
                    .to_string(),
                "-I",
                "-S",
                &file("berth_bash.py"),
            ]),
            &[],
            &["/bin/bash"],
        ),
    };
    Program {
        kind,
        command,
        variables: variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        needs: needs.iter().map(PathBuf::from).collect(),
    }
}
