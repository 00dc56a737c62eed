//! The frames of the drivers. What a driver says is code of the session: every field is checked by its type,
//! every frame by its length.

use serde::{Deserialize, Serialize};

use super::{Failure, Shown};

/// Largest frame; the driver drops what would make a larger one.
pub(super) const FRAME_BYTES_MAX: usize = 24 << 20;

/// From the guest to the warm process.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ToZygote {
    /// Fork an interpreter. Three descriptors ride along: its channel, standard output, standard error.
    Fork {
        /// Threads for linear algebra.
        cpus: u64,
    },
}

/// From the warm process to the guest.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FromZygote {
    /// Once, when forks are possible.
    Ready {
        /// Version of Python.
        python: String,
        /// Threads of the warm process; more than one would make forking unsafe.
        threads: u32,
    },
    /// Answer to a fork.
    Forked(i32),
    /// An interpreter has ended.
    Exited {
        /// Its process id.
        pid: i32,
        /// As `wait(2)` gives it.
        status: i32,
    },
}

/// From the guest to an interpreter.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ToInterpreter<'a> {
    /// Run this.
    Run {
        /// Comes back with everything that belongs to the run.
        id: u64,
        /// For a driver that knows more than one.
        language: &'a str,
        /// When an interrupt will come. For a driver that cannot hear one while code runs.
        timeout_ms: u64,
        /// The code.
        code: &'a str,
    },
    /// The result with this number was passed on; the code may go on.
    Shown(u64),
}

/// From a program that is an interpreter, once, before anything else.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FromProgram {
    /// Runs may come.
    Ready {
        /// Version of the language.
        version: String,
    },
}

/// From an interpreter to the guest.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FromInterpreter {
    /// Something was shown.
    Result(ShownBy),
    /// The run is over.
    End(EndOf),
}

/// A result and its run. Not flattened: raw JSON does not survive that.
#[derive(Debug, Deserialize)]
pub(super) struct ShownBy {
    pub(super) id: u64,
    pub(super) number: u64,
    pub(super) main: bool,
    pub(super) mime: std::collections::BTreeMap<String, Box<serde_json::value::RawValue>>,
}

/// The end of a run.
#[derive(Debug, Deserialize)]
pub(super) struct EndOf {
    pub(super) id: u64,
    pub(super) execution_count: u64,
    pub(super) seconds: f64,
    pub(super) error: Option<Failure>,
}

impl From<ShownBy> for Shown {
    fn from(shown: ShownBy) -> Self {
        Self {
            is_main: shown.main,
            mime: shown.mime,
        }
    }
}
