//! `berth session`: makes, finds, shows and ends sessions. What a subcommand does is in the file of its name.

mod create;
mod info;
mod keepalive;
mod list;
mod open;
mod pause;
mod record;
mod rm;
mod share;

use crate::Outcome;
use crate::remote::{EXIT_CODES, Remote};

pub(crate) use create::{DEFAULT_IMAGE, Wanted};

/// Make, find, show and end sessions.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a session and print its id; its live view's URL is told on standard error.
    #[command(after_help = EXIT_CODES)]
    Create(Wanted),
    /// List live sessions, newest first.
    #[command(after_help = EXIT_CODES)]
    List(list::Args),
    /// Show all that is known of a session, also of one that has ended.
    #[command(after_help = EXIT_CODES)]
    Info(Id),
    /// Print a fresh URL of the live view, and open it in a browser if there is a display.
    #[command(after_help = EXIT_CODES)]
    Open(open::Args),
    /// Print a live view URL to give away, with rights of its own.
    #[command(after_help = EXIT_CODES)]
    Share(share::Args),
    /// Revoke a URL that was given away, or every live view URL of a session: what is open with it ends.
    #[command(after_help = EXIT_CODES)]
    Unshare(share::RevokeArgs),
    /// List who is looking at a session.
    #[command(after_help = EXIT_CODES)]
    Viewers(Id),
    /// Record a session's screen into a file, until it ends or Ctrl-C.
    #[command(after_help = EXIT_CODES)]
    Record(record::Args),
    /// End sessions. One that was ended before counts as ended.
    #[command(after_help = EXIT_CODES)]
    Rm(rm::Args),
    /// Count as use of a session, so that it is not released.
    #[command(after_help = EXIT_CODES)]
    Keepalive(Id),
    /// Freeze a session's processes. The next call thaws them by itself.
    #[command(after_help = EXIT_CODES)]
    Pause(Id),
    /// Thaw a session's processes.
    #[command(after_help = EXIT_CODES)]
    Resume(Id),
}

/// Which session.
#[derive(Debug, clap::Args)]
struct Id {
    /// The session.
    id: String,
}

/// A label as it is written on the command line.
fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("allowed: KEY=VALUE, neither of them empty".to_owned()),
    }
}

pub(crate) fn run(args: &Args) -> Outcome {
    let remote = &args.remote;
    remote.run(async |agb| match &args.command {
        Command::Create(wanted) => create::run(remote, agb, wanted).await,
        Command::List(args) => list::run(remote, agb, args).await,
        Command::Info(Id { id }) => info::run(remote, agb, id).await,
        Command::Open(args) => open::run(remote, agb, args).await,
        Command::Share(args) => share::run(remote, agb, args).await,
        Command::Unshare(args) => share::revoke(remote, agb, args).await,
        Command::Viewers(Id { id }) => share::viewers(remote, agb, id).await,
        Command::Record(args) => record::run(remote, agb, args).await,
        Command::Rm(args) => rm::run(remote, agb, args).await,
        Command::Keepalive(Id { id }) => keepalive::run(remote, agb, id).await,
        Command::Pause(Id { id }) => pause::run(remote, agb, id, pause::Direction::Pause).await,
        Command::Resume(Id { id }) => pause::run(remote, agb, id, pause::Direction::Resume).await,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_has_a_key_and_a_value() {
        assert_eq!(label("a=b=c").unwrap(), ("a".to_owned(), "b=c".to_owned()));
        for bad in ["", "a", "a=", "=b"] {
            assert!(label(bad).unwrap_err().contains("KEY=VALUE"), "{bad}");
        }
    }
}
