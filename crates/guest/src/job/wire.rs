//! What the guest and a job's supervisor say to each other, one frame each.

use serde::{Deserialize, Serialize};

/// Largest frame of either side: the arguments and variables of a program, with room for escapes.
pub const FRAME_BYTES_MAX: usize = 16 << 20;

/// From the guest to the supervisor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToJob {
    /// The first frame, once, with the descriptors that the launch says.
    Start(Launch),
    /// Kill processes of the job.
    End(End),
}

/// A program to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Its whole environment.
    pub environment: Vec<(String, String)>,
    /// Its working directory.
    pub directory: String,
    /// Whose rights it gets.
    pub user: Account,
    /// What the descriptors on the frame are for.
    pub input: Input,
}

/// What a program can read besides files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// Nothing; there is no descriptor.
    Nothing,
    /// The descriptor, as its standard input.
    Stdin,
    /// The descriptor of a terminal, as its standard input, output and error. The program begins in no process group of
    /// its own, so that it may begin a session.
    Terminal,
    /// Two descriptors beside an empty standard input. [`REQUESTS`] and [`REPLIES`] tell it their numbers.
    Channel,
}

/// Names the descriptor that a driver reads frames from.
pub const REQUESTS: &str = "BERTH_REQUESTS";

/// Names the descriptor that a driver writes frames to.
pub const REPLIES: &str = "BERTH_REPLIES";

/// An account by its numbers: the supervisor looks nothing up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// All groups.
    pub groups: Vec<u32>,
}

/// Which processes of a job to kill. Everything below `root` goes, except what is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Start of the walk; the supervisor itself when absent. It is killed too, unless it is the supervisor.
    pub root: Option<i32>,
    /// Processes that live on; what they started is looked at all the same.
    pub keep: Vec<i32>,
    /// Spare what started before this time, in clock ticks since the machine started.
    pub since_ticks: Option<u64>,
}

/// From the supervisor to the guest.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromJob {
    /// The program runs.
    Started {
        /// Its process id.
        pid: i32,
    },
    /// The program could not be started; the supervisor ends.
    Failed {
        /// Why, for a person.
        message: String,
    },
    /// The program has ended.
    Exited {
        /// How.
        exit: Exit,
        /// Processes that it started still run.
        left: bool,
    },
    /// Answer to [`ToJob::End`].
    Ended {
        /// Processes that were killed.
        killed: usize,
        /// Processes that would not die in time, which only the kernel can explain.
        stuck: usize,
    },
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Exit {
    /// As a shell reports it.
    pub fn shell_code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }

    /// From the number that `wait(2)` gives.
    pub fn from_wait_status(status: i32) -> Self {
        match status & 0x7f {
            0 => Self::Code((status >> 8) & 0xff),
            signal => Self::Signal(signal),
        }
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(4) => f.write_str("signal 4, SIGILL: illegal instruction"),
            Self::Signal(6) => f.write_str("signal 6, SIGABRT: abort"),
            Self::Signal(7) => f.write_str("signal 7, SIGBUS: bad memory access"),
            Self::Signal(9) => f.write_str("signal 9, SIGKILL"),
            Self::Signal(11) => f.write_str("signal 11, SIGSEGV: bad memory access"),
            Self::Signal(15) => f.write_str("signal 15, SIGTERM"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_status_is_a_code_or_a_signal() {
        assert_eq!(Exit::from_wait_status(0), Exit::Code(0));
        assert_eq!(Exit::from_wait_status(7 << 8), Exit::Code(7));
        assert_eq!(Exit::from_wait_status(9), Exit::Signal(9));
        // Bit 7 says that a core was written.
        assert_eq!(Exit::from_wait_status(0x80 | 11), Exit::Signal(11));
        assert_eq!(Exit::Signal(9).shell_code(), 137);
    }
}
