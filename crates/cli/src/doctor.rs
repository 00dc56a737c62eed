//! `berth doctor`: one line for each thing that a machine needs.

use std::process::ExitCode;

use crate::Outcome;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_: Args) -> Outcome {
    Ok(ExitCode::SUCCESS)
}
