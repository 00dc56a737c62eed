//! `get_metrics`: processor, memory, disk and network of the session, as numbers.

use berth_guest_api::ToolResult;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Spec, Tool, ToolError};
use crate::guest::Guest;

pub(super) struct GetMetrics;

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Args {}

impl Tool for GetMetrics {
    const SPEC: Spec = Spec {
        name: "get_metrics",
        server: "wuying_system",
        description: "Reports processor, memory, disk and network use of the session.",
    };
    type Args = Args;

    async fn run(Args {}: Args, guest: Guest) -> Result<ToolResult, ToolError> {
        Ok(ToolResult::text(serde_json::to_string(&guest.meter.measure())?))
    }
}
