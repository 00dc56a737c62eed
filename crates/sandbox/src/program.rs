//! Runs the programs of the system that this crate needs, each with a deadline and with what it said in the error.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, waitid},
};

use crate::{StepError, sys::child};

/// Where Debian keeps the programs of the administrator; not in every caller's `PATH`.
const SYSTEM_FOLDERS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// What is kept of a program's output, and what is read of it.
const MAX_DETAIL: usize = 2000;
const MAX_TAIL: u64 = 64 * 1024;

/// How long a killed program may take to end.
const KILL_LIMIT: Duration = Duration::from_secs(2);

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
    let mut command = Command::new(find(name).unwrap_or_else(|| name.into()));
    // The server's settings may hold secrets. The service manager's socket is for the server alone: a runtime that finds
    // it waits for a word of the guest's.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("BERTH_") || text == "NOTIFY_SOCKET" {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a program to its end and returns what it printed, shortened. `operation` is for the error.
pub(crate) fn run(
    command: Command,
    operation: &str,
    input: Option<&str>,
    limit: Duration,
) -> Result<String, StepError> {
    let mut command = command;
    let said = scratch(b"").and_then(|said| {
        command
            .stdin(scratch(input.unwrap_or_default().as_bytes())?)
            .stdout(said.try_clone()?)
            .stderr(said.try_clone()?);
        Ok(said)
    });
    let said = said.map_err(StepError::system("make a temporary file"))?;
    let words = || tail(&said).map(|bytes| last_words(&bytes)).unwrap_or_default();
    finish(&mut command, operation, limit, words)?;
    Ok(words())
}

/// A file that has no name. Files and not pipes: a program that prints much cannot block, and nothing has to be read while
/// it runs.
pub(crate) fn scratch(content: &[u8]) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(content)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

/// Runs a command until it succeeds. If it fails or takes too long, it is killed with all that it started in its process
/// group, and the error has the words that `said` finds. It also ends with the calling thread.
pub(crate) fn finish(
    command: &mut Command,
    operation: &str,
    limit: Duration,
    said: impl FnOnce() -> String,
) -> Result<(), StepError> {
    child::end_with_this_thread(command);
    command.process_group(0);
    let program = described(command.get_program(), operation);
    let process = match command.spawn() {
        Ok(process) => process,
        Err(source) => return Err(StepError::Spawn { program, source }),
    };
    let status = wait(process, limit).map_err(StepError::system("wait for a program"))?;
    if status.is_some_and(|status| status.success()) {
        return Ok(());
    }
    let detail = Some(said()).filter(|said| !said.is_empty());
    let detail = detail.unwrap_or_else(|| "it said nothing".into());
    Err(match status {
        Some(status) => StepError::Failed {
            program,
            status: status.to_string(),
            detail,
        },
        None => StepError::TimedOut {
            program,
            limit,
            detail,
        },
    })
}

fn described(program: &OsStr, operation: &str) -> String {
    let name = Path::new(program)
        .file_name()
        .unwrap_or(program)
        .to_string_lossy();
    format!("{name} {operation}").trim_end().to_owned()
}

/// How a program ended; `None` when it did not in time. Unless it succeeded, nothing of its group runs afterwards.
fn wait(mut process: Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let pid = Pid::from_child(&process);
    let ended = pidfd_open(pid, PidfdFlags::empty()).map_err(io::Error::from);
    let ended = ended.and_then(|pidfd| {
        if readable_within(pidfd.as_fd(), PollFlags::IN, limit)? && has_succeeded(pidfd.as_fd()) {
            return Ok(Some(true));
        }
        // It has not been collected yet, so the number is still that of its own group.
        let ended = readable_within(pidfd.as_fd(), PollFlags::IN, Duration::ZERO)?;
        let _ = kill_process_group(pid, Signal::KILL);
        Ok(readable_within(pidfd.as_fd(), PollFlags::IN, KILL_LIMIT)?.then_some(ended))
    });
    match ended {
        Ok(Some(ended)) => Ok(Some(process.wait()?).filter(|_| ended)),
        // It hangs in the kernel, where nothing can end it; whoever waits for it must not hang as well.
        Ok(None) => {
            thread::spawn(move || process.wait());
            Ok(None)
        }
        Err(error) => {
            let _ = kill_process_group(pid, Signal::KILL);
            process.wait()?;
            Err(error)
        }
    }
}

/// Whether an ended program succeeded, without collecting it.
fn has_succeeded(pidfd: BorrowedFd<'_>) -> bool {
    waitid(
        WaitId::PidFd(pidfd),
        WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
    )
    .is_ok_and(|status| status.is_some_and(|status| status.exit_status() == Some(0)))
}

/// Waits until one of `events` happens on a descriptor; false when the time is over.
pub(crate) fn readable_within(fd: BorrowedFd<'_>, events: PollFlags, limit: Duration) -> io::Result<bool> {
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

/// The last bytes of a file.
pub(crate) fn tail(mut file: &File) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(MAX_TAIL)))?;
    let mut bytes = Vec::new();
    file.take(MAX_TAIL).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The end of what a program printed as one line of text.
pub(crate) fn last_words(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(MAX_DETAIL)..]);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines.join("; ").chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);
    const SHORT: Duration = Duration::from_secs(1);

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
        let error = run(shell("echo busy; exec sleep 1000"), "-c", None, SHORT).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`sh -c` did not end within 1 s and was killed: busy"
        );
    }

    /// A shell script as a runtime: what it started must not go on.
    #[test]
    fn what_a_failed_program_started_is_killed_with_it() {
        for end in ["wait", "exit 3", "kill -9 $$"] {
            let mut file = scratch(b"").unwrap();
            let mut script = shell(&format!("sleep 1000 & echo $! >&3; {end}"));
            child::pass_as_fd_3(&mut script, file.try_clone().unwrap().into());
            run(script, "-c", None, SHORT).unwrap_err();
            let mut pid = String::new();
            file.seek(SeekFrom::Start(0)).unwrap();
            file.read_to_string(&mut pid).unwrap();
            let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
            // Gone, or about to be collected by the machine's first process.
            if let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) {
                assert!(
                    readable_within(pidfd.as_fd(), PollFlags::IN, LIMIT).unwrap(),
                    "{end}"
                );
            }
        }
    }

    #[test]
    fn what_a_program_that_succeeded_started_goes_on() {
        let said = run(shell("sleep 1000 >&- 2>&- & echo $!"), "-c", None, LIMIT).unwrap();
        let pid = Pid::from_raw(said.parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
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
