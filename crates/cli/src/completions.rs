//! `berth completions`: what a shell needs to complete the command's words.

use std::process::ExitCode;

use clap_complete::Shell;

use crate::Outcome;

/// Print the completions for a shell.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell. For bash: `berth completions bash > /etc/bash_completion.d/berth`.
    shell: Shell,
}

pub(crate) fn run(args: &Args, mut command: clap::Command) -> Outcome {
    clap_complete::generate(args.shell, &mut command, "berth", &mut std::io::stdout());
    Ok(ExitCode::SUCCESS)
}
