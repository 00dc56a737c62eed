//! `berth stop`: stops the server of a data folder, and on request ends what it ran.

use std::process::ExitCode;

use berth_control::prepare;

use crate::key::Server;
use crate::{Outcome, block_on};

/// Stop the server that uses a data folder.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    server: Server,
    /// End all sessions too. Without it they go on, and the next start takes them over.
    #[arg(long)]
    end_sessions: bool,
}

#[expect(clippy::print_stdout, reason = "the command's output")]
pub(crate) fn run(args: Args) -> Outcome {
    let mut settings = args.server.settings()?;
    block_on(async {
        match prepare::stop_server(&settings.control.data).await? {
            Some(pid) => println!("stopped the server (process {pid})"),
            None => println!("no server is using {}", settings.control.data.display()),
        }
        if args.end_sessions {
            settings.start_audit()?;
            let config = berth_control::Config {
                pool_size: 0,
                ..settings.control
            };
            let ended = berth_control::Control::end_all(config).await?;
            println!("ended {ended} sessions, removed all sandboxes");
        }
        Ok(ExitCode::SUCCESS)
    })?
}
