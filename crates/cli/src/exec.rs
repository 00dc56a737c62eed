//! `berth exec`: a command in a session, with its output and its exit code.

use std::process::ExitCode;
use std::time::Duration;

use crate::Outcome;
use crate::remote::{Failure, Remote, print, print_aside};

/// Run a command in a session; its output and its exit code are passed on when it has ended.
///
/// Ctrl-C leaves the command running until it ends or its timeout strikes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    remote: Remote,
    /// Kill it after so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86400))]
    timeout: u64,
    /// Where to run it, an absolute path [default: the home directory].
    #[arg(long, value_name = "PATH")]
    cwd: Option<String>,
    /// The session.
    id: String,
    /// The command. One word is a line for the shell; several are a program and its arguments, taken as they are.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    args.remote.run(async |agb| {
        let line = line(&args.command)?;
        let session = agb.get(&args.id).await?;
        let mut command = session
            .command()
            .execute(line)
            .timeout(Duration::from_secs(args.timeout));
        if let Some(cwd) = &args.cwd {
            command = command.cwd(cwd);
        }
        let progress = args.remote.progress("running");
        let done = command.await?;
        drop(progress);
        if args.remote.json {
            let document = serde_json::json!({
                "exitCode": done.exit_code, "stdout": done.stdout, "stderr": done.stderr,
            });
            args.remote.answer(&document, String::new)?;
        } else {
            print(&done.stdout)?;
            print_aside(&done.stderr)?;
        }
        // A shell has no code beyond a byte.
        Ok(ExitCode::from(u8::try_from(done.exit_code).unwrap_or(1)))
    })
}

/// The line for the session's shell.
pub(crate) fn line(words: &[String]) -> Result<String, Failure> {
    match words {
        [line] => Ok(line.clone()),
        words => shlex::try_join(words.iter().map(String::as_str))
            .map_err(|error| Failure::Usage(format!("the command cannot be passed on: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_word_is_a_line_and_several_are_arguments() {
        assert_eq!(line(&["echo $HOME | wc".to_owned()]).unwrap(), "echo $HOME | wc");
        assert_eq!(
            line(&["ls".to_owned(), "a b".to_owned(), "$x".to_owned()]).unwrap(),
            "ls 'a b' '$x'"
        );
        assert!(matches!(
            line(&["a".to_owned(), "\0".to_owned()]),
            Err(Failure::Usage(_))
        ));
    }

    proptest! {
        #[test]
        fn arguments_arrive_as_they_are(words in prop::collection::vec("[^\0]{0,20}", 2..5)) {
            let line = line(&words).unwrap();
            let echo = std::process::Command::new("/bin/sh")
                .args(["-c", &format!("printf '%s\\0' {line}")])
                .output()
                .unwrap();
            let expected: String = words.iter().map(|word| format!("{word}\0")).collect();
            prop_assert_eq!(String::from_utf8(echo.stdout).unwrap(), expected);
        }
    }
}
