//! Why a sandbox could not be made, adopted or ended. [`SandboxError`] says whose sandbox, [`StepError`] says which step.

use std::{error::Error as _, fmt, io, path::PathBuf, time::Duration};

use crate::SandboxId;

/// Why a call on [`crate::Sandboxes`] failed.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The id is taken: the sandbox runs, or something of an earlier one is left.
    #[error("sandbox `{0}` exists already; destroy it first")]
    Exists(SandboxId),
    /// The spec asks for something impossible.
    #[error("`{field}` is {got}; allowed: {allowed}")]
    InvalidSpec {
        /// Which member of the spec.
        field: &'static str,
        /// What was asked for.
        got: String,
        /// What would have been right.
        allowed: &'static str,
    },
    /// A step of making the sandbox failed; what had been made is removed again.
    #[error("could not make sandbox `{id}`")]
    Create {
        /// Which sandbox.
        id: SandboxId,
        /// Which step.
        source: StepError,
    },
    /// The sandbox may run, but could not be taken up.
    #[error("could not adopt sandbox `{id}`")]
    Adopt {
        /// Which sandbox.
        id: SandboxId,
        /// Which step.
        source: StepError,
    },
    /// Something of the sandbox is left. Every step was tried.
    #[error("could not remove all of sandbox `{id}`: {failures}")]
    Destroy {
        /// Which sandbox.
        id: SandboxId,
        /// All steps that failed.
        failures: Failures,
    },
    /// A running sandbox could not be frozen, thawed or measured.
    #[error("could not reach the processes of sandbox `{id}`")]
    Processes {
        /// Which sandbox.
        id: SandboxId,
        /// Which step.
        source: StepError,
    },
    /// The sandboxes of this server could not be listed.
    #[error("could not list the sandboxes")]
    List(#[source] StepError),
    /// The sandbox layer could not be set up on this machine.
    #[error("could not prepare this machine for sandboxes; `berth doctor` says what is missing")]
    Start(#[source] StepError),
}

/// One step that failed: what was done, to what, and what the kernel or program said.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// A system call on a path.
    #[error("could not {step} `{path}`")]
    Path {
        /// The step as a verb phrase.
        step: &'static str,
        /// What it worked on.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A system call without a path.
    #[error("could not {step}")]
    System {
        /// The step as a verb phrase.
        step: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused to make a file system, and may have said why.
    #[error("could not mount the {kind} at `{path}`{said}")]
    Mount {
        /// Kind of file system.
        kind: &'static str,
        /// Where it was to be.
        path: PathBuf,
        /// The kernel's own words, in parentheses, or nothing.
        said: String,
        /// Its error number.
        source: io::Error,
    },
    /// A program could not be started.
    #[error("could not run `{program}`")]
    Spawn {
        /// The program and its operation.
        program: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A program ran and failed.
    #[error("`{program}` failed ({status}): {detail}")]
    Failed {
        /// The program and its operation.
        program: String,
        /// How it ended.
        status: String,
        /// What it said, shortened.
        detail: String,
    },
    /// A program did not end in time and was killed.
    #[error("`{program}` did not end within {} s and was killed: {detail}", .limit.as_secs())]
    TimedOut {
        /// The program and its operation.
        program: String,
        /// How long it was given.
        limit: Duration,
        /// What it had said until then, shortened.
        detail: String,
    },
    /// A netlink request was refused.
    #[error("could not {step} of `{interface}`")]
    Netlink {
        /// The step as a verb phrase.
        step: &'static str,
        /// The network interface.
        interface: String,
        /// What the kernel said.
        source: rtnetlink::Error,
    },
    /// All numbers for sandboxes are taken.
    #[error("all {0} sandbox numbers of this machine are in use")]
    NoSlot(u32),
    /// The processes of a sandbox did not go away.
    #[error("processes in cgroup `{path}` did not end within {} s after they were killed", .limit.as_secs())]
    StillRunning {
        /// The cgroup.
        path: PathBuf,
        /// How long was waited.
        limit: Duration,
    },
    /// The processes of a sandbox did not stop, as those that wait for a device do.
    #[error("its processes did not freeze within {} s", .0.as_secs())]
    StillThawed(Duration),
    /// Another server runs with the same directory.
    #[error("`{0}` is in use by another running server; give each server a data directory of its own")]
    InUse(PathBuf),
    /// Something that was read or configured makes no sense.
    #[error("{what} is {got}; {expected}")]
    Unexpected {
        /// What was looked at.
        what: &'static str,
        /// What was found.
        got: String,
        /// What should be there.
        expected: &'static str,
    },
    /// A thread of this server ended before it answered.
    #[error("the thread for `{0}` ended without an answer")]
    Lost(&'static str),
}

impl StepError {
    /// For `map_err` on a system call that worked on `path`.
    pub(crate) fn path<E: Into<io::Error>>(
        step: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(E) -> Self {
        let path = path.into();
        move |source| Self::Path {
            step,
            path,
            source: source.into(),
        }
    }

    /// For `map_err` on a system call without a path.
    pub(crate) fn system<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::System {
            step,
            source: source.into(),
        }
    }
}

/// All that went wrong in a removal, which goes on after a failure.
#[derive(Debug, Default)]
pub struct Failures(Vec<StepError>);

impl Failures {
    /// Keeps the error of a step, if it had one.
    pub(crate) fn note(&mut self, result: Result<(), StepError>) {
        self.0.extend(result.err());
    }

    /// Nothing went wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, failure) in self.0.iter().enumerate() {
            write!(f, "{}{failure}", if index == 0 { "" } else { "; " })?;
            // A list has no single source, so each entry carries its causes with it.
            let mut cause = failure.source();
            while let Some(source) = cause {
                write!(f, ": {source}")?;
                cause = source.source();
            }
        }
        Ok(())
    }
}
