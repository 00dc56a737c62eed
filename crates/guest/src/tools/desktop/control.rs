//! `get_control`: whether a person has taken over.

use std::time::Duration;

use berth_guest_api::ToolResult;
use berth_screen::Control;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::super::{Spec, Tool, ToolError};
use super::SERVER;
use crate::guest::Guest;

/// Longest wait for a change.
const WAIT_MS_MAX: u64 = 50_000;

pub(in super::super) struct GetControl;

#[derive(Debug, Deserialize, JsonSchema)]
pub(in super::super) struct GetControlArgs {
    /// Milliseconds to wait for a change; 0 (default) to 50000.
    #[serde(default)]
    wait_ms: u64,
    /// The `version` of the last answer: the tool waits until there is another. Without it, it waits until nobody has
    /// taken over from the agent.
    version: Option<u64>,
}

impl Tool for GetControl {
    const SPEC: Spec = Spec {
        name: "get_control",
        server: SERVER,
        description: "Tells who looks at the desktop, who has control, and whether a person has taken over: then mouse \
                      and keyboard tools are refused until it is given back. Can wait for a change.",
    };
    type Args = GetControlArgs;

    async fn run(args: GetControlArgs, guest: Guest) -> Result<ToolResult, ToolError> {
        if args.wait_ms > WAIT_MS_MAX {
            return Err(ToolError::Field {
                field: "wait_ms",
                got: args.wait_ms.to_string(),
                allowed: "0 to 50000",
            });
        }
        let mut control = guest.computer.control(&guest).await?;
        let is_news = |control: &Control| match args.version {
            Some(known) => control.version != known,
            None => !control.taken_over,
        };
        let news = control.wait_for(is_news);
        // Over either way: the answer says what there is now.
        let _ = tokio::time::timeout(Duration::from_millis(args.wait_ms), news).await;
        let control = guest.computer.control(&guest).await?.borrow().clone();
        let name = |id| {
            control
                .viewers
                .iter()
                .find(|viewer| Some(viewer.id) == id)
                .map(|viewer| &viewer.name)
        };
        let answer = json!({
            "taken_over": control.taken_over,
            "holder": control.holder.map(|id| json!({ "id": id, "name": name(Some(id)) })),
            "viewers": control.viewers.len(),
            "version": control.version,
        });
        Ok(ToolResult::text(answer.to_string()))
    }
}
