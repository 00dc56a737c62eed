//! `berth session rm`: ends sessions.

use std::process::ExitCode;

use berth_client::Agb;
use serde_json::json;

use super::list;
use crate::remote::{Failure, Remote, print};

/// Which sessions.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The sessions.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<String>,
    /// All live sessions of this key.
    #[arg(long)]
    all: bool,
}

/// Ends one after the other. What fails is told and does not keep the others; the exit code is that of the first failure.
pub(super) async fn run(remote: &Remote, agb: Agb, args: &Args) -> Result<ExitCode, Failure> {
    let ids = match args.all {
        false => args.ids.clone(),
        true => {
            let (sessions, _) = list::find(&agb, &[], true).await?;
            sessions.into_iter().map(|session| session.session_id).collect()
        }
    };
    let mut removed = Vec::new();
    let mut code = None;
    for id in ids {
        let progress = remote.progress(&format!("ending {id}"));
        let ended = async { agb.session(&id)?.delete().await }.await;
        drop(progress);
        match ended {
            Ok(()) if remote.json => removed.push(id),
            Ok(()) => print(&format!("{id}\n"))?,
            Err(error) => {
                let failure = Failure::from(error);
                remote.tell(&failure);
                code = code.or(Some(failure.exit_code()));
            }
        }
    }
    if remote.json {
        remote.answer(&json!({ "removed": removed }), String::new)?;
    }
    Ok(code.unwrap_or(ExitCode::SUCCESS))
}
