//! What all commands share that speak to a server: which server, the exit codes, how a failure is told.

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use berth_client::{Agb, AgbConfig};
use serde::Serialize;
use serde_json::json;

use crate::show::clean;
use crate::{Outcome, block_on};

/// For the help of each of these commands.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  it was done
  1  it failed
  2  what was asked for is not allowed
  3  there is no such session, or it has ended
  4  not authorised
  5  the server could not be reached";

/// As above, for commands whose own exit code is passed on.
pub(crate) const EXIT_CODES_OF_A_COMMAND: &str = "\
Exit codes:
  that of the command (124 if it was killed for its timeout); if it could not be run:
  1  it failed
  2  what was asked for is not allowed
  3  there is no such session, or it has ended
  4  not authorised
  5  the server could not be reached";

/// Which server, and how to answer.
#[derive(Debug, clap::Args)]
pub(crate) struct Remote {
    /// The server [default: AGB_ENDPOINT, then `.env`, then http://127.0.0.1:8080].
    #[arg(long, global = true, value_name = "URL")]
    endpoint: Option<String>,
    /// The API key [default: AGB_API_KEY, then `.env`]. Other users of this machine can see it here.
    #[arg(long, global = true, value_name = "KEY")]
    api_key: Option<String>,
    /// Answer with one JSON document; failures are JSON on standard error.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The server refused or failed, or is not there.
    #[error(transparent)]
    Client(#[from] berth_client::Error),
    /// What was asked for is not allowed.
    #[error("{0}")]
    Usage(String),
    /// A file of this machine; the error names it.
    #[error(transparent)]
    File(io::Error),
    /// Standard output is closed, or full.
    #[error("could not write the output")]
    Output(#[source] io::Error),
}

impl Failure {
    fn kind(&self) -> &'static str {
        match self {
            Failure::Client(error) => error.kind(),
            Failure::Usage(_) => "Usage",
            Failure::File(_) => "File",
            Failure::Output(_) => "Output",
        }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        use berth_client::Error as E;
        ExitCode::from(match self {
            Failure::Client(error) => match error {
                E::SessionEnded { .. } => 3,
                E::InvalidApiKey { .. } => 4,
                E::InvalidParameter { .. } => 2,
                E::Unreachable { .. } | E::Disconnected { .. } => 5,
                _ => 1,
            },
            Failure::Usage(_) => 2,
            // As a shell tells of a program whose reader went away.
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 141,
            Failure::File(_) | Failure::Output(_) => 1,
        })
    }
}

impl Remote {
    /// Runs a command and tells its failure.
    pub(crate) fn run<F>(&self, command: impl FnOnce(Agb) -> F) -> Outcome
    where
        F: Future<Output = Result<ExitCode, Failure>>,
    {
        let outcome = block_on(async {
            let config = AgbConfig::with(self.endpoint.clone(), self.api_key.clone())?;
            command(Agb::new(config)?).await
        })?;
        Ok(outcome.unwrap_or_else(|failure| {
            self.tell(&failure);
            failure.exit_code()
        }))
    }

    /// Tells a failure on standard error.
    #[expect(clippy::print_stderr, reason = "the command's own error output")]
    pub(crate) fn tell(&self, failure: &Failure) {
        if matches!(failure, Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe) {
            return;
        }
        let mut causes = Vec::new();
        let mut cause = failure.source();
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        if self.json {
            let error = json!({ "kind": failure.kind(), "message": failure.to_string(), "causes": causes });
            eprintln!("{}", json!({ "error": error }));
            return;
        }
        eprintln!("error: {}", clean(&failure.to_string()));
        for cause in causes {
            eprintln!("  caused by: {}", clean(&cause));
        }
    }

    /// Answers: with the document, or with the text for people.
    pub(crate) fn answer(
        &self,
        document: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        let answer = match self.json {
            true => json_line(document)?,
            false => text(),
        };
        print(&answer)
    }

    /// Says what is being done, for as long as it lives; only to a person.
    pub(crate) fn progress(&self, doing: &str) -> Progress {
        let shown = !self.json && io::stderr().is_terminal();
        if shown {
            // Whether anybody sees it decides nothing.
            let _ = write!(io::stderr(), "{doing} ...");
        }
        Progress { shown }
    }
}

/// A line that says what is being done.
#[must_use]
pub(crate) struct Progress {
    shown: bool,
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn json_line(document: &impl Serialize) -> Result<String, Failure> {
    let mut line = serde_json::to_string(document).map_err(|error| Failure::Output(error.into()))?;
    line.push('\n');
    Ok(line)
}

/// Writes to standard output, now.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
        .map_err(Failure::Output)
}

/// Writes to standard error, now.
pub(crate) fn print_aside(text: &str) -> Result<(), Failure> {
    io::stderr()
        .lock()
        .write_all(text.as_bytes())
        .map_err(Failure::Output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_the_exit_code_of_the_help() {
        let message = || "m".to_owned();
        let code = |error: berth_client::Error| format!("{:?}", Failure::from(error).exit_code());
        let is = |code: u8| format!("{:?}", ExitCode::from(code));
        use berth_client::Error as E;
        assert_eq!(
            code(E::SessionEnded {
                id: message(),
                message: message()
            }),
            is(3)
        );
        assert_eq!(code(E::InvalidApiKey { message: message() }), is(4));
        assert_eq!(code(E::InvalidParameter { message: message() }), is(2));
        let source = || io::Error::from(io::ErrorKind::ConnectionRefused).into();
        assert_eq!(
            code(E::Unreachable {
                endpoint: message(),
                source: source()
            }),
            is(5)
        );
        assert_eq!(code(E::NoCapacity { message: message() }), is(1));
        assert_eq!(code(E::Protocol(message())), is(1));
    }
}
