//! `signal_process`: a signal for a process and what it started.

use berth_guest_api::ToolResult;
use rustix::process::Signal;
use schemars::JsonSchema;
use serde::Deserialize;

use super::text::Text;
use super::{Spec, Tool, ToolError, done};
use crate::guest::Guest;

const SIGNALS: [(&str, Signal); 10] = [
    ("TERM", Signal::TERM),
    ("KILL", Signal::KILL),
    ("INT", Signal::INT),
    ("HUP", Signal::HUP),
    ("QUIT", Signal::QUIT),
    ("STOP", Signal::STOP),
    ("CONT", Signal::CONT),
    ("TSTP", Signal::TSTP),
    ("USR1", Signal::USR1),
    ("USR2", Signal::USR2),
];

pub(super) struct SignalProcess;

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Args {
    /// The process, as `start_process` named it.
    process_id: Text,
    /// The signal by name, with or without `SIG`; `TERM` if absent. `KILL` reaches everything the process started.
    signal: Option<Text>,
}

impl Tool for SignalProcess {
    const SPEC: Spec = Spec {
        name: "signal_process",
        server: "wuying_shell",
        description: "Sends a signal (TERM, KILL, INT, ...) to a program that start_process started.",
    };
    type Args = Args;

    async fn run(args: Args, guest: Guest) -> Result<ToolResult, ToolError> {
        let signal = signal_named(args.signal.as_ref().map_or("TERM", |name| &name.0))?;
        guest.processes.get(&args.process_id.0)?.signal(signal).await?;
        Ok(done())
    }
}

/// The signal with this name.
pub fn signal_named(name: &str) -> Result<Signal, ToolError> {
    let upper = name.trim().to_ascii_uppercase();
    let short = upper.strip_prefix("SIG").unwrap_or(&upper);
    let found = SIGNALS.iter().find(|(known, _)| *known == short);
    found.map(|(_, signal)| *signal).ok_or_else(|| ToolError::Field {
        field: "signal",
        got: format!("`{}`", name.chars().take(40).collect::<String>()),
        allowed: "`TERM`, `KILL`, `INT`, `HUP`, `QUIT`, `STOP`, `CONT`, `TSTP`, `USR1`, `USR2`",
    })
}
