//! The OCI runtime: a program that makes a container from a bundle. Any that takes the command line of runc.

use std::{
    fs::File,
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use serde::Deserialize;

use crate::{SandboxId, StepError, guest_log, program, sys::child};

/// A runtime that does not answer for so long hangs; its work takes some tens of milliseconds.
const LIMIT: Duration = Duration::from_secs(10);

/// What it would remove can be removed without it.
const DELETE_LIMIT: Duration = Duration::from_secs(5);

/// A runtime and the folder where it keeps its state.
#[derive(Debug)]
pub(crate) struct Runtime {
    /// Name or path of the program.
    pub(crate) program: String,
    /// Its state folder, which belongs to this server alone.
    pub(crate) state: PathBuf,
}

/// What `create` needs.
pub(crate) struct Creation<'a> {
    /// The folder with `config.json`.
    pub(crate) bundle: &'a Path,
    /// Where the runtime writes the number of the first process.
    pub(crate) pid_file: &'a Path,
    /// The runtime's own messages.
    pub(crate) log: &'a Path,
    /// The guest's listening socket: descriptor 3 inside.
    pub(crate) listener: OwnedFd,
    /// The guest's standard output and error.
    pub(crate) output: File,
}

impl Runtime {
    /// Makes the container; its first process waits for [`Runtime::start`]. Returns its number.
    pub(crate) fn create(&self, id: &SandboxId, creation: Creation<'_>) -> Result<i32, StepError> {
        let mut command = self.command(creation.log);
        command
            .arg("create")
            .args(["--preserve-fds", "1", "--bundle"])
            .arg(creation.bundle);
        command.arg("--pid-file").arg(creation.pid_file).arg(id.as_str());
        child::pass_as_fd_3(&mut command, creation.listener);
        let output = creation.output;
        set_output(&mut command, &output).map_err(StepError::system("copy a descriptor"))?;
        run(command, "create", LIMIT, creation.log, || {
            guest_log::unread(&output)
        })?;
        guest_log::unblock(&output).map_err(StepError::system("set up the output of the guest"))?;
        let pid = match fs_err::read_to_string(creation.pid_file) {
            Ok(pid) => pid,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(wrong_number("missing".into()));
            }
            Err(error) => {
                return Err(StepError::path("read the process number from", creation.pid_file)(error));
            }
        };
        let shown = || format!("{:?}", pid.chars().take(40).collect::<String>());
        pid.trim().parse().map_err(|_| wrong_number(shown()))
    }

    /// Lets the first process run.
    pub(crate) fn start(&self, id: &SandboxId, log: &Path) -> Result<(), StepError> {
        let mut command = self.command(log);
        command.arg("start").arg(id.as_str());
        run_alone(command, "start", LIMIT, log)
    }

    /// Kills what is left of a container and removes it, its cgroups included. Also when it does not exist.
    pub(crate) fn delete(&self, id: &SandboxId, log: &Path) -> Result<(), StepError> {
        let mut command = self.command(log);
        command.args(["delete", "--force"]).arg(id.as_str());
        run_alone(command, "delete", DELETE_LIMIT, log)
    }

    fn command(&self, log: &Path) -> Command {
        let mut command = program::command(&self.program);
        command
            .arg("--root")
            .arg(&self.state)
            .arg("--log")
            .arg(log)
            .args(["--log-format", "json"]);
        command
    }
}

/// The error of a runtime that says it made a container and gives a number that cannot be.
pub(crate) fn wrong_number(got: String) -> StepError {
    StepError::Unexpected {
        what: "the process number that the runtime wrote",
        got,
        expected: "it must be the number of a process in the sandbox's cgroup, since the runtime ended as if it had made one",
    }
}

fn set_output(command: &mut Command, output: &File) -> io::Result<()> {
    command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?);
    Ok(())
}

/// Runs an operation whose output no guest inherits.
fn run_alone(mut command: Command, operation: &str, limit: Duration, log: &Path) -> Result<(), StepError> {
    let output = program::scratch(b"").map_err(StepError::system("make a temporary file"))?;
    set_output(&mut command, &output).map_err(StepError::system("copy a descriptor"))?;
    let said = || program::last_words(&program::tail(&output).unwrap_or_default());
    run(command, operation, limit, log, said)
}

/// Runs an operation. A failure is told in the words of the runtime's log, or else in those of its output.
fn run(
    mut command: Command,
    operation: &str,
    limit: Duration,
    log: &Path,
    said: impl FnOnce() -> String,
) -> Result<(), StepError> {
    program::finish(&mut command, operation, limit, || {
        let logged = File::open(log).and_then(|log| program::tail(&log));
        let logged = messages(&String::from_utf8_lossy(&logged.unwrap_or_default()));
        if logged.is_empty() { said() } else { logged }
    })
}

/// The last errors of a log in JSON lines.
fn messages(log: &str) -> String {
    #[derive(Deserialize)]
    struct Line {
        level: String,
        msg: String,
    }

    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Line>(line).ok());
    let errors: Vec<String> = lines
        .filter(|line| matches!(line.level.as_str(), "error" | "fatal"))
        .map(|line| line.msg)
        .collect();
    let last = &errors[errors.len().saturating_sub(4)..];
    last.join("; ")
        .chars()
        .filter(|c| !c.is_control())
        .take(2000)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_are_taken_from_a_log() {
        let log = concat!(
            r#"{"level":"warning","msg":"cgroup is odd","time":"2024-01-01T00:00:00Z"}"#,
            "\n",
            r#"{"level":"error","msg":"runc create failed: no\nsuch file","time":"2024-01-01T00:00:00Z"}"#,
            "\nnot json\n",
        );
        assert_eq!(messages(log), "runc create failed: nosuch file");
        assert_eq!(messages(""), "");
    }
}
