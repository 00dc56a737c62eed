//! Runs the programs of the system that this crate needs, each with a deadline and with what it said in the error.

use std::{
    ffi::OsStr,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};

use crate::{StepError, sys::child};

/// Where Debian keeps the programs of the administrator; not in every caller's `PATH`.
const SYSTEM_FOLDERS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// What is kept of a program's output.
const MAX_DETAIL: usize = 2000;

/// Finds a program by name in `PATH` and the administrator's folders, or takes a path as it is.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.is_file());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM_FOLDERS.into_iter().map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}

/// A command for a program of the system. If it is missing, starting the command says so.
pub(crate) fn command(name: &str) -> Command {
    Command::new(find(name).unwrap_or_else(|| name.into()))
}

/// Runs a program to its end and returns what it printed, shortened. `operation` is for the error.
pub(crate) fn run(
    command: Command,
    operation: &str,
    input: Option<&str>,
    limit: Duration,
) -> Result<String, StepError> {
    let mut command = command;
    // Files and not pipes: a program that prints much cannot block, and nothing has to be read while it runs.
    let scratch = StepError::system("make a temporary file");
    let output = (|| {
        let mut given = tempfile::tempfile()?;
        given.write_all(input.unwrap_or_default().as_bytes())?;
        given.seek(SeekFrom::Start(0))?;
        let said = tempfile::tempfile()?;
        command
            .stdin(given)
            .stdout(said.try_clone()?)
            .stderr(said.try_clone()?);
        Ok::<_, io::Error>(said)
    })()
    .map_err(scratch)?;
    let status = spawn_and_wait(&mut command, operation, limit)?;
    let detail = tail(output).unwrap_or_default();
    if status.success() {
        Ok(detail)
    } else {
        Err(failed(&command, operation, status, detail))
    }
}

/// Starts a command, waits for its end, and kills it when it takes too long. It also ends with the calling thread.
pub(crate) fn spawn_and_wait(
    command: &mut Command,
    operation: &str,
    limit: Duration,
) -> Result<ExitStatus, StepError> {
    child::end_with_this_thread(command);
    let program = described(command.get_program(), operation);
    let mut process = match command.spawn() {
        Ok(process) => process,
        Err(source) => return Err(StepError::Spawn { program, source }),
    };
    match wait(&mut process, limit) {
        Ok(Some(status)) => Ok(status),
        Ok(None) => {
            let _ = process.kill();
            let _ = process.wait();
            Err(StepError::TimedOut { program, limit })
        }
        Err(source) => {
            let _ = process.kill();
            let _ = process.wait();
            Err(StepError::System {
                step: "wait for a program",
                source,
            })
        }
    }
}

/// The error of a program that ended with a failure.
pub(crate) fn failed(command: &Command, operation: &str, status: ExitStatus, detail: String) -> StepError {
    StepError::Failed {
        program: described(command.get_program(), operation),
        status: status.to_string(),
        detail: if detail.is_empty() {
            "it said nothing".into()
        } else {
            detail
        },
    }
}

fn described(program: &OsStr, operation: &str) -> String {
    let name = Path::new(program)
        .file_name()
        .unwrap_or(program)
        .to_string_lossy();
    format!("{name} {operation}").trim_end().to_owned()
}

fn wait(process: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let pidfd = pidfd_open(Pid::from_child(process), PidfdFlags::empty())?;
    if readable_within(pidfd.as_fd(), PollFlags::IN, limit)? {
        process.wait().map(Some)
    } else {
        Ok(None)
    }
}

/// Waits until one of `events` happens on a descriptor; false when the time is over.
pub(crate) fn readable_within(
    fd: std::os::fd::BorrowedFd<'_>,
    events: PollFlags,
    limit: Duration,
) -> io::Result<bool> {
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        match poll(&mut [PollFd::from_borrowed_fd(fd, events)], Some(&timeout)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The end of a file as one line of text.
pub(crate) fn tail(mut file: std::fs::File) -> io::Result<String> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(MAX_DETAIL as u64)))?;
    let mut bytes = Vec::new();
    file.take(MAX_DETAIL as u64).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    Ok(lines.join("; ").chars().filter(|c| !c.is_control()).collect())
}

/// No standard streams: for programs whose messages come another way.
pub(crate) fn without_streams(command: &mut Command) -> &mut Command {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    fn shell(script: &str) -> Command {
        let mut command = command("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_program_gets_its_input_and_its_output_comes_back() {
        assert_eq!(
            run(shell("cat; echo two >&2"), "", Some("one\n"), LIMIT).unwrap(),
            "one; two"
        );
    }

    #[test]
    fn a_failure_says_what_the_program_said() {
        let error = run(shell("echo no such thing >&2; exit 3"), "-c", None, LIMIT).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`sh -c` failed (exit status: 3): no such thing"
        );
    }

    #[test]
    fn a_program_that_hangs_is_killed() {
        let error = run(shell("exec sleep 1000"), "-c", None, Duration::from_millis(50)).unwrap_err();
        assert!(matches!(error, StepError::TimedOut { .. }), "{error}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(command("no-such-program"), "go", None, LIMIT).unwrap_err();
        assert_eq!(error.to_string(), "could not run `no-such-program go`");
    }

    #[test]
    fn long_output_is_shortened() {
        let said = run(shell("yes | head -c 100000"), "", None, LIMIT).unwrap();
        assert!(said.len() <= 3 * MAX_DETAIL, "{}", said.len());
    }
}
