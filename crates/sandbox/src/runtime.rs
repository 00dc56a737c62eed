//! The OCI runtime: a program that makes a container from a bundle. Any that takes the command line of runc.

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use crate::{SandboxId, StepError, program, sys::child};

/// A runtime that does not answer for so long hangs; its work takes some tens of milliseconds.
const LIMIT: Duration = Duration::from_secs(10);

/// What is read of a runtime's log.
const MAX_LOG: u64 = 64 * 1024;

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
        let error_output = creation
            .output
            .try_clone()
            .map_err(StepError::system("copy a descriptor"))?;
        command
            .stdin(std::process::Stdio::null())
            .stdout(creation.output)
            .stderr(error_output);
        run(command, "create", creation.log)?;
        let pid = fs_err::read_to_string(creation.pid_file)
            .map_err(StepError::path("read the process number from", creation.pid_file))?;
        pid.trim().parse().map_err(|_| StepError::Unexpected {
            what: "the process number that the runtime wrote",
            got: format!("{pid:?}"),
            expected: "it must be a number",
        })
    }

    /// Lets the first process run.
    pub(crate) fn start(&self, id: &SandboxId, log: &Path) -> Result<(), StepError> {
        let mut command = self.command(log);
        command.arg("start").arg(id.as_str());
        program::without_streams(&mut command);
        run(command, "start", log)
    }

    /// Kills what is left of a container and removes it, its cgroups included. Also when it does not exist.
    pub(crate) fn delete(&self, id: &SandboxId, log: &Path) -> Result<(), StepError> {
        let mut command = self.command(log);
        command.args(["delete", "--force"]).arg(id.as_str());
        program::without_streams(&mut command);
        run(command, "delete", log)
    }

    fn command(&self, log: &Path) -> std::process::Command {
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

fn run(mut command: std::process::Command, operation: &str, log: &Path) -> Result<(), StepError> {
    let status = program::spawn_and_wait(&mut command, operation, LIMIT)?;
    if status.success() {
        return Ok(());
    }
    let detail = errors_in(log).unwrap_or_default();
    Err(program::failed(&command, operation, status, detail))
}

/// The messages of the errors in a runtime's log.
fn errors_in(log: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(log)?.take(MAX_LOG).read_to_string(&mut text)?;
    Ok(messages(&text))
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
