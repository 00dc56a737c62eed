//! Runs one program of a build: its output is read as it comes, and it ends when the build is asked to stop.
//!
//! A program ends with the build however the build ends: `setpriv --pdeathsig` asks the kernel for that, and
//! [`Program::isolated`] puts it into mount and pid namespaces of its own, so that its children and its mounts go too.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{self, PipeReader, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitStatus, Stdio};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, Signal};

use crate::error::{Error, Result};
use crate::interrupt::Interrupt;

/// How many lines of output an error shows.
const TAIL_LINES: usize = 30;

/// What is beyond this in one line is not kept.
const MAX_LINE_BYTES: usize = 4 << 10;

/// A program about to run.
pub(super) struct Program {
    name: String,
    command: Command,
}

impl Program {
    /// `name` from the path, ended by the kernel when the build ends.
    pub fn new(name: &str) -> Self {
        Self::launched(name, &["--pdeathsig", "KILL", "--"])
    }

    /// The same as the first process of new mount and pid namespaces, with a `/proc` that fits.
    pub fn isolated(name: &str) -> Self {
        let unshare = [
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child=KILL",
            "--mount-proc",
            "--",
        ];
        Self::launched(name, &[&["--pdeathsig", "KILL", "--"][..], &unshare].concat())
    }

    fn launched(name: &str, launcher: &[&str]) -> Self {
        let mut command = Command::new("setpriv");
        // Its own group, so that Ctrl-C at a terminal reaches only the build, which then decides.
        command
            .args(launcher)
            .arg(name)
            .process_group(0)
            .stdin(Stdio::null());
        Self {
            name: name.to_owned(),
            command,
        }
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs it to its end. `on_line` gets each line of its output; what it says is being done goes into the error.
    pub fn run(
        mut self,
        recipe: &str,
        interrupt: &Interrupt,
        mut on_line: impl FnMut(&str) -> Line,
    ) -> Result<()> {
        let mut step = format!("running `{}`", self.name);
        let mut tail: VecDeque<String> = VecDeque::new();
        let outcome = self.run_inner(interrupt, &mut |line| match on_line(line) {
            Line::Output => {
                if tail.len() == TAIL_LINES {
                    tail.pop_front();
                }
                tail.push_back(line.to_owned());
            }
            Line::Step(now) => step = now,
            Line::Progress => {}
        });
        let status = match outcome {
            Ok(Some(status)) => status,
            Ok(None) => return Err(Error::Interrupted),
            Err(source) => {
                return Err(Error::Run {
                    recipe: recipe.to_owned(),
                    program: self.name,
                    source,
                });
            }
        };
        if status.success() {
            return Ok(());
        }
        let status = match (status.code(), status.signal()) {
            (Some(code), _) => format!("`{}` ended with exit code {code}", self.name),
            (None, signal) => format!(
                "`{}` was ended by signal {}",
                self.name,
                signal.unwrap_or_default()
            ),
        };
        let output = Vec::from(tail).join("\n");
        Err(Error::Step {
            recipe: recipe.to_owned(),
            step,
            status,
            output,
        })
    }

    /// `None` if it was interrupted.
    fn run_inner(
        &mut self,
        interrupt: &Interrupt,
        on_line: &mut dyn FnMut(&str),
    ) -> io::Result<Option<ExitStatus>> {
        if interrupt.has_come() {
            return Ok(None);
        }
        let (mut reader, writer) = io::pipe()?;
        self.command.stdout(writer.try_clone()?).stderr(writer);
        let mut child = self.command.spawn()?;
        // The command keeps its ends of the pipe; without them the end of the output can be seen.
        self.command.stdout(Stdio::null()).stderr(Stdio::null());

        match watch(&mut reader, interrupt, on_line) {
            Ok(false) => child.wait().map(Some),
            stopped => {
                // Not waited for yet, so the id is still the child's.
                let group = Pid::from_child(&child);
                let _ = rustix::process::kill_process_group(group, Signal::KILL);
                child.wait()?;
                stopped.map(|_| None)
            }
        }
    }
}

/// Reads lines until the output ends or the interrupt comes; says whether it came.
fn watch(reader: &mut PipeReader, interrupt: &Interrupt, on_line: &mut dyn FnMut(&str)) -> io::Result<bool> {
    let mut lines = Lines::default();
    let mut buffer = [0; 16 << 10];
    loop {
        let mut descriptors = [
            PollFd::from_borrowed_fd(reader.as_fd(), PollFlags::IN),
            PollFd::new(interrupt, PollFlags::IN),
        ];
        match rustix::event::poll(&mut descriptors, None) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        if !descriptors[1].revents().is_empty() {
            return Ok(true);
        }
        match reader.read(&mut buffer) {
            Ok(0) => {
                lines.finish(on_line);
                return Ok(false);
            }
            Ok(length) => lines.feed(&buffer[..length], on_line),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// What a line of output is.
pub(super) enum Line {
    /// Worth showing if the program fails.
    Output,
    /// The program now does something else.
    Step(String),
    /// Only tells how far it is.
    Progress,
}

/// Cuts a byte stream into lines of bounded length.
#[derive(Default)]
struct Lines {
    pending: Vec<u8>,
}

impl Lines {
    fn feed(&mut self, mut bytes: &[u8], on_line: &mut dyn FnMut(&str)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n' || *byte == b'\r') {
            self.keep(&bytes[..end]);
            self.finish(on_line);
            bytes = &bytes[end + 1..];
        }
        self.keep(bytes);
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = MAX_LINE_BYTES.saturating_sub(self.pending.len());
        self.pending.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn finish(&mut self, on_line: &mut dyn FnMut(&str)) {
        let line = String::from_utf8_lossy(&self.pending);
        let line = line.trim_end();
        if !line.is_empty() {
            on_line(line);
        }
        self.pending.clear();
    }
}

#[cfg(test)]
#[path = "program_tests.rs"]
mod tests;
