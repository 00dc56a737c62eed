//! `berth logs`: the last lines that a session's guest wrote, also of a session that has ended.

use std::process::ExitCode;

use crate::Outcome;
use crate::remote::Remote;
use crate::show::clean;

/// Show the last lines of a session's log, also of one that has ended.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    remote: Remote,
    /// The session.
    id: String,
}

pub(crate) fn run(args: &Args) -> Outcome {
    args.remote.run(async |agb| {
        let log = agb.log(&args.id).await?;
        let text = || log.lines.iter().map(|line| clean(line) + "\n").collect();
        args.remote.answer(&log, text)?;
        Ok(ExitCode::SUCCESS)
    })
}
