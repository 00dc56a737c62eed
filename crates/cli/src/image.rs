//! `berth image`: builds, lists and removes images.

use std::path::PathBuf;
use std::process::ExitCode;

use berth_images::{DEFAULT_STORE, ImageCommand};

use crate::Outcome;

/// Build, list and remove images.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: ImageCommand,

    /// The image store.
    #[arg(long, global = true, value_name = "DIR", env = "BERTH_IMAGES", default_value = DEFAULT_STORE)]
    images: PathBuf,
}

pub(crate) fn run(args: Args) -> Outcome {
    args.command.run(&args.images, &mut std::io::stdout())?;
    Ok(ExitCode::SUCCESS)
}
