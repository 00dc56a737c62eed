//! `list_processes`: what `start_process` started, running or ended.

use berth_guest_api::ToolResult;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Spec, Tool, ToolError};
use crate::guest::Guest;

pub(super) struct ListProcesses;

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Args {}

impl Tool for ListProcesses {
    const SPEC: Spec = Spec {
        name: "list_processes",
        server: "wuying_shell",
        description: "Lists the programs that start_process started, as a JSON array: running ones, and those that ended \
                      lately with their exit codes.",
    };
    type Args = Args;

    async fn run(_: Args, guest: Guest) -> Result<ToolResult, ToolError> {
        Ok(ToolResult::text(serde_json::to_string(&guest.processes.list())?))
    }
}
