//! `shell`: one command in a fresh shell. In: command, timeout, directory, variables. Out: what it wrote and its exit
//! code.
//!
//! The call ends when the command itself has ended; what it left running in the background goes on. A command that
//! runs past its timeout is killed with everything it started.

use std::collections::BTreeMap;
use std::time::Duration;

use berth_guest_api::ToolResult;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep_until, timeout};

use super::text::Text;
use super::{Spec, Tool, ToolError};
use crate::files::{self, FileError};
use crate::guest::Guest;
use crate::job::wire::{End, Input};
use crate::job::{Ended, Job, JobError, Output};
use crate::output::{Captured, discard, read_now, read_some};

/// Bytes of each of the two outputs that an answer holds; the middle of more is left out.
const OUTPUT_BYTES_MAX: usize = 4 << 20;

/// The kernel takes no longer single argument (`MAX_ARG_STRLEN`, with its final zero byte).
const COMMAND_BYTES_MAX: usize = (128 << 10) - 1;

/// What `timeout(1)` exits with.
const TIMED_OUT_CODE: i32 = 124;

/// A process left in the background may hold the output open without writing. What the command's last children have
/// still to say in this time is heard.
const LAST_WORDS: Duration = Duration::from_millis(20);

/// For calls that name none; the official clients always do.
const TIMEOUT_MS: u64 = 60_000;

/// Longest timeout; a session does not live longer by default.
const TIMEOUT_MS_MAX: u64 = 24 * 3600 * 1000;

pub(super) struct Shell;

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Args {
    /// The command line, run by bash.
    command: Text,
    /// Milliseconds after which the command is killed with everything it started; 60000 if absent.
    #[schemars(range(min = 1, max = 86_400_000))]
    timeout_ms: Option<u64>,
    /// Working directory, an absolute path; the home directory if absent.
    cwd: Option<Text>,
    /// Additional environment variables.
    envs: Option<BTreeMap<String, Text>>,
}

impl Tool for Shell {
    const SPEC: Spec = Spec {
        name: "shell",
        server: "wuying_shell",
        description: "Runs a command in a shell and returns its standard output, standard error and exit code. Every \
                      call is a fresh shell: only files persist. Processes started with & keep running.",
    };
    type Args = Args;

    async fn run(args: Args, guest: Guest) -> Result<ToolResult, ToolError> {
        let timeout_ms = args.timeout_ms.unwrap_or(TIMEOUT_MS);
        let command = bash(&args.command.0)?;
        if !(1..=TIMEOUT_MS_MAX).contains(&timeout_ms) {
            let allowed = "1 to 86400000 (milliseconds)";
            return Err(field("timeout_ms", timeout_ms.to_string(), allowed));
        }
        let variables = variables(args.envs)?;
        let directory = directory(args.cwd.as_ref(), &guest).await?;
        let (job, output) = guest
            .jobs
            .start(command, &directory, &variables, Input::Nothing, Vec::new())
            .await?;
        let finished = attend(job, output, Duration::from_millis(timeout_ms)).await?;
        answer(finished, timeout_ms)
    }
}

fn field(field: &'static str, got: String, allowed: &'static str) -> ToolError {
    ToolError::Field { field, got, allowed }
}

/// The program that runs `command`, if it is one that can be run.
pub(super) fn bash(command: &str) -> Result<Vec<String>, ToolError> {
    if command.trim().is_empty() {
        return Err(field("command", "empty".into(), "a command line"));
    }
    if command.len() > COMMAND_BYTES_MAX {
        let allowed = "at most 131071 bytes; write a longer script to a file and run that";
        return Err(field("command", format!("{} bytes long", command.len()), allowed));
    }
    if command.contains('\0') {
        let got = "text with a NUL character".into();
        return Err(field("command", got, "text without one"));
    }
    let shell = if std::path::Path::new("/bin/bash").exists() {
        "/bin/bash"
    } else {
        "/bin/sh"
    };
    Ok(vec![shell.into(), "-c".into(), command.to_owned()])
}

/// Variables that a process can have.
pub(super) fn variables(envs: Option<BTreeMap<String, Text>>) -> Result<Vec<(String, String)>, ToolError> {
    let envs = envs.unwrap_or_default().into_iter();
    envs.map(|(name, Text(value))| {
        if name.is_empty() || name.contains(['=', '\0']) {
            let allowed = "names that are not empty and hold neither `=` nor NUL";
            return Err(field(
                "envs",
                format!("an object with the name `{name}`"),
                allowed,
            ));
        }
        if value.contains('\0') {
            let got = format!("an object whose `{name}` holds a NUL");
            return Err(field("envs", got, "text without NUL"));
        }
        Ok((name, value))
    })
    .collect()
}

/// The working directory that a call wants, or where work starts.
pub(super) async fn directory(wanted: Option<&Text>, guest: &Guest) -> Result<String, ToolError> {
    let Some(wanted) = wanted.filter(|wanted| !wanted.0.is_empty()) else {
        return Ok(guest.home());
    };
    let path = files::absolute(&wanted.0).map_err(|error| match error {
        FileError::NotAbsolute(got) => ToolError::Field {
            field: "cwd",
            got: format!("`{got}`"),
            allowed: "an absolute path of a directory, such as `/home/user`",
        },
        other => other.into(),
    })?;
    guest
        .files
        .run(move || {
            let shown = path.display().to_string();
            let about = std::fs::metadata(&path).map_err(|error| files::failed("use", &path, error))?;
            if about.is_dir() {
                Ok(shown)
            } else {
                Err(FileError::Kind {
                    path: shown,
                    kind: "a file",
                    wanted: "a directory for `cwd`",
                })
            }
        })
        .await
        .map_err(ToolError::from)
}

struct Finished {
    /// `None` when it was killed for its timeout.
    ended: Option<Ended>,
    stdout: String,
    stderr: String,
}

/// Collects the output until the command has ended or its time is over.
async fn attend(job: Job, output: Output, limit: Duration) -> Result<Finished, JobError> {
    let mut captured = Both {
        pipes: output,
        stdout: Captured::new(OUTPUT_BYTES_MAX),
        stderr: Captured::new(OUTPUT_BYTES_MAX),
        stdout_open: true,
        stderr_open: true,
    };
    let deadline = Instant::now() + limit;
    let ended = loop {
        tokio::select! {
            () = captured.more(), if captured.is_open() => {}
            ended = job.ended() => break Some(ended?),
            () = sleep_until(deadline) => break None,
        }
    };
    if ended.is_none() {
        job.end(End::default()).await;
    }
    captured.take_rest(ended.is_some_and(|ended| ended.left)).await;
    Ok(captured.finish(ended))
}

struct Both {
    pipes: Output,
    stdout: Captured,
    stderr: Captured,
    stdout_open: bool,
    stderr_open: bool,
}

impl Both {
    fn is_open(&self) -> bool {
        self.stdout_open || self.stderr_open
    }

    /// Waits for some output on either pipe and keeps it.
    async fn more(&mut self) {
        tokio::select! {
            bytes = read_some(&mut self.pipes.stdout), if self.stdout_open => match bytes {
                Some(bytes) => self.stdout.push(&bytes),
                None => self.stdout_open = false,
            },
            bytes = read_some(&mut self.pipes.stderr), if self.stderr_open => match bytes {
                Some(bytes) => self.stderr.push(&bytes),
                None => self.stderr_open = false,
            },
            else => {}
        }
    }

    /// Everything that was written before the end is in the pipes now. Only processes in the background can add to
    /// it.
    async fn take_rest(&mut self, background: bool) {
        read_now(&self.pipes.stdout, |bytes| self.stdout.push(bytes));
        read_now(&self.pipes.stderr, |bytes| self.stderr.push(bytes));
        let to_the_end = async {
            while self.is_open() {
                self.more().await;
            }
        };
        let patience = if background {
            LAST_WORDS
        } else {
            Duration::from_secs(1)
        };
        // Without background processes nobody holds the pipes, and the end is there at once.
        let _ = timeout(patience, to_the_end).await;
    }

    fn finish(self, ended: Option<Ended>) -> Finished {
        if self.stdout_open {
            discard(self.pipes.stdout);
        }
        if self.stderr_open {
            discard(self.pipes.stderr);
        }
        Finished {
            ended,
            stdout: self.stdout.into_text(),
            stderr: self.stderr.into_text(),
        }
    }
}

/// The answer in the form that clients read in both cases; only a non-zero code makes it an error.
fn answer(finished: Finished, timeout_ms: u64) -> Result<ToolResult, ToolError> {
    let Finished {
        ended,
        stdout,
        mut stderr,
    } = finished;
    let code = match ended {
        Some(ended) => ended.exit.shell_code(),
        None => {
            if !stderr.is_empty() && !stderr.ends_with('\n') {
                stderr.push('\n');
            }
            stderr += &format!(
                "command timed out after {timeout_ms} ms and was killed with everything it started; \
                 raise `timeout_ms` or run it in the background\n"
            );
            TIMED_OUT_CODE
        }
    };
    let text = serde_json::to_string(&json!({
        "stdout": stdout, "stderr": stderr, "exit_code": code, "traceId": "",
    }))?;
    Ok(if code == 0 {
        ToolResult::text(text)
    } else {
        ToolResult::error(text)
    })
}
