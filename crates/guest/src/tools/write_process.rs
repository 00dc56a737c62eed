//! `write_process`: input for a process, or keys at its terminal.

use berth_guest_api::ToolResult;
use schemars::JsonSchema;
use serde::Deserialize;

use super::text::Text;
use super::{Spec, Tool, ToolError, done};
use crate::guest::Guest;

pub(super) struct WriteProcess;

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Args {
    /// The process, as `start_process` named it.
    process_id: Text,
    /// What to write. A line ends with `\n`; at a terminal, Ctrl-C is `\u0003`.
    #[serde(default)]
    text: Text,
    /// Ends the input after it.
    close: Option<bool>,
}

impl Tool for WriteProcess {
    const SPEC: Spec = Spec {
        name: "write_process",
        server: "wuying_shell",
        description: "Writes text to the standard input or the terminal of a program that start_process started.",
    };
    type Args = Args;

    async fn run(args: Args, guest: Guest) -> Result<ToolResult, ToolError> {
        let process = guest.processes.get(&args.process_id.0)?;
        if !args.text.0.is_empty() {
            process.write(args.text.0.as_bytes()).await?;
        }
        if args.close == Some(true) {
            process.close_input().await?;
        }
        Ok(done())
    }
}
