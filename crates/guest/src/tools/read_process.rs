//! `read_process`: what a process wrote. In: its id, a position. Out: text, and the position to go on from.

use std::time::Duration;

use berth_guest_api::ToolResult;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;

use super::text::Text;
use super::{Spec, Tool, ToolError};
use crate::guest::Guest;
use crate::process::replay::{BYTES_MAX, Channel};

/// Longest wait for something to read.
const WAIT_MS_MAX: u64 = 60_000;

pub(super) struct ReadProcess;

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Args {
    /// The process, as `start_process` named it.
    process_id: Text,
    /// Where to begin: `position` of the call before, which then only gets what is new; 0 if absent.
    position: Option<u64>,
    /// Milliseconds to wait until there is something to read or the process has ended; 0 if absent.
    #[schemars(range(min = 0, max = 60_000))]
    wait_ms: Option<u64>,
}

impl Tool for ReadProcess {
    const SPEC: Spec = Spec {
        name: "read_process",
        server: "wuying_shell",
        description: "Reads what a program that start_process started has written since a position, up to the last MiB, \
                      and tells whether it still runs. wait_ms waits for more.",
    };
    type Args = Args;

    async fn run(args: Args, guest: Guest) -> Result<ToolResult, ToolError> {
        let wait_ms = args.wait_ms.unwrap_or(0);
        if wait_ms > WAIT_MS_MAX {
            return Err(ToolError::Field {
                field: "wait_ms",
                got: wait_ms.to_string(),
                allowed: "0 to 60000 (milliseconds)",
            });
        }
        let process = guest.processes.get(&args.process_id.0)?;
        let position = args.position.unwrap_or(0);
        let _ = timeout(Duration::from_millis(wait_ms), async {
            tokio::select! {
                () = process.replay.after(position) => {}
                () = process.ended() => {}
            }
        })
        .await;
        // Asked before reading: what it wrote before its end is then in the answer.
        let about = process.about();
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let (mut missing, mut next) = (0, position.min(about.output_bytes));
        for piece in process.replay.from(position, BYTES_MAX) {
            missing += piece.position.saturating_sub(next);
            next = piece.position + piece.bytes.len() as u64;
            match piece.channel {
                Channel::Stdout => stdout.extend_from_slice(&piece.bytes),
                Channel::Stderr => stderr.extend_from_slice(&piece.bytes),
            }
        }
        let text = json!({
            "stdout": String::from_utf8_lossy(&stdout),
            "stderr": String::from_utf8_lossy(&stderr),
            "position": next,
            "missing_bytes": missing,
            "running": about.running,
            "exit_code": about.exit_code,
        });
        Ok(ToolResult::text(text.to_string()))
    }
}
