//! The `berth` command: runs the server, makes keys and images, says what a machine lacks.
//!
//! In: flags, environment, `berth.toml`. Out: exit code 0, or 1 with the error and its causes on standard error. What a
//! command does is in the file of its name.

mod doctor;
mod image;
mod key;
mod serve;
mod settings;
mod stop;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A self-hosted cloud environment for AI agents.
#[derive(Debug, Parser)]
#[command(name = "berth", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    Serve(serve::Args),
    /// Stop the server that uses a data folder.
    Stop(stop::Args),
    /// Make, list and revoke API keys.
    #[command(subcommand)]
    Key(key::Command),
    /// Build, list and remove images.
    Image(image::Args),
    /// Say what this machine has and lacks, with the command that fixes it.
    Doctor(doctor::Args),
}

/// What a command ends with.
type Outcome = Result<ExitCode, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(args) => serve::run(args),
        Command::Stop(args) => stop::run(args),
        Command::Key(command) => key::run(command),
        Command::Image(args) => image::run(args),
        Command::Doctor(args) => doctor::run(args),
    };
    outcome.unwrap_or_else(|error| {
        report(error.as_ref());
        ExitCode::FAILURE
    })
}

/// Prints an error with its causes, each once.
#[expect(clippy::print_stderr, reason = "the command's own error output")]
fn report(error: &dyn Error) {
    eprintln!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("  caused by: {error}");
        cause = error.source();
    }
}

/// Runs asynchronous work on a runtime of its own.
fn block_on<T>(work: impl Future<Output = T>) -> Result<T, std::io::Error> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(work))
}
