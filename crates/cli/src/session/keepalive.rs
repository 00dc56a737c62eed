//! `berth session keepalive`: counts as use of a session.

use std::process::ExitCode;

use berth_client::Agb;
use serde_json::json;

use crate::remote::{Failure, Remote};

pub(super) async fn run(remote: &Remote, agb: Agb, id: &str) -> Result<ExitCode, Failure> {
    agb.session(id)?.keep_alive().await?;
    remote.answer(&json!({ "sessionId": id }), String::new)?;
    Ok(ExitCode::SUCCESS)
}
