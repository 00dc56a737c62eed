//! The `berth` command: runs the server, makes keys and images, says what a machine lacks; and uses a server.
//!
//! In: flags, environment, `berth.toml`. Out: exit code 0, or 1 with the error and its causes on standard error; commands
//! that use a server know more codes, which stand in their help. What a command does is in the file of its name.

mod completions;
mod doctor;
mod exec;
mod image;
mod key;
mod logs;
mod pictures;
mod recording;
mod remote;
mod run;
mod serve;
mod session;
mod settings;
mod shell;
mod show;
mod stop;
mod telemetry;
mod webhook;

use std::error::Error;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

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
    Session(session::Args),
    #[command(subcommand)]
    Recording(recording::Command),
    #[command(after_help = remote::EXIT_CODES_OF_A_COMMAND)]
    Exec(exec::Args),
    #[command(after_help = remote::EXIT_CODES_OF_A_COMMAND)]
    Shell(shell::Args),
    #[command(after_help = remote::EXIT_CODES)]
    Run(run::Args),
    #[command(after_help = remote::EXIT_CODES)]
    Logs(logs::Args),
    Completions(completions::Args),
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
        Command::Session(args) => session::run(&args),
        Command::Recording(command) => recording::run(command),
        Command::Exec(args) => exec::run(&args),
        Command::Shell(args) => shell::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Logs(args) => logs::run(&args),
        Command::Completions(args) => completions::run(&args, Cli::command()),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        let cli = Cli::try_parse_from(line.split(' ')).map_err(|error| error.to_string());
        cli.map(|cli| cli.command)
    }

    #[test]
    fn the_commands_are_put_together_rightly() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_is_allowed_together_is_parsed() {
        for line in [
            "berth session list --json --label a=b --all",
            "berth session --endpoint http://h --json create --image i --label a=b --label c=d --idle-timeout 60",
            "berth session record s-1 -o f --for 10m",
            "berth recording play f --port 8000",
            "berth recording export f --fps 60",
            "berth recording rm f g",
            "berth session rm s-1 s-2",
            "berth session rm --all",
            "berth exec --timeout 5 s-1 -- ls --json -l",
            "berth exec s-1 --cwd /tmp --json -- ls",
            "berth run -l python print(1) --session s-1 --save d",
            "berth run -",
            "berth run --file f --image i",
            "berth logs s-1 --json",
            "berth completions zsh",
        ] {
            assert!(parsed(line).is_ok(), "{line}: {:?}", parsed(line));
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "berth session create --label a",
            "berth session create --idle-timeout 0",
            "berth session rm",
            "berth session record s-1 --for 0s",
            "berth recording export f --fps 0",
            "berth recording rm",
            "berth session rm --all s-1",
            "berth exec s-1",
            "berth exec s-1 ls",
            "berth exec --timeout 0 s-1 -- ls",
            "berth run",
            "berth run code --file f",
            "berth run code --session s --image i",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
