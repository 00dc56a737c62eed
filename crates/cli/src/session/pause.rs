//! `berth session pause` and `berth session resume`: freeze and thaw a session's processes.

use std::process::ExitCode;

use berth_client::Agb;

use super::info;
use super::list::status;
use crate::remote::{Failure, Remote, print};

/// Which of the two.
#[derive(Debug, Clone, Copy)]
pub(super) enum Direction {
    Pause,
    Resume,
}

pub(super) async fn run(
    remote: &Remote,
    agb: Agb,
    id: &str,
    direction: Direction,
) -> Result<ExitCode, Failure> {
    let detail = match direction {
        Direction::Pause => agb.pause(id).await?,
        Direction::Resume => agb.resume(id).await?,
    };
    match remote.json {
        true => info::show(remote, &detail, None)?,
        false => print(&format!("{}\n", status(detail.summary.status)))?,
    }
    Ok(ExitCode::SUCCESS)
}
