//! `berth run`: code in a session, heard while it runs. Without a session it makes one, and ends it whatever happens.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use berth_client::{Agb, RunEvent, RunStream, Session};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::Outcome;
use crate::pictures::Pictures;
use crate::remote::{Failure, Remote, print, print_aside};
use crate::session::{DEFAULT_IMAGE, Wanted};

/// The longest code that a session takes.
const CODE_BYTES_MAX: u64 = 8 << 20;

/// Longer than any exception's text.
const TAIL_BYTES_MAX: usize = 256 << 10;

/// Run code in a session and show its output while it runs.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    remote: Remote,
    /// The language.
    #[arg(short, long, value_name = "NAME", default_value = "python")]
    language: String,
    /// The code; `-` reads it from standard input.
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    code: Option<String>,
    /// A file of this machine with the code.
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Run it in this session, where it finds the variables of former runs [default: a new one, ended afterwards].
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// The image of the new session.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_IMAGE, conflicts_with = "session")]
    image: String,
    /// Interrupt it after so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86400))]
    timeout: u64,
    /// Save the pictures that it shows in this folder.
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    args.remote.run(async |agb| {
        let code = code(args)?;
        let pictures = Pictures::into(args.save.as_deref())?;
        // Heard from here on: a session that is being made when somebody stops the command is ended too.
        let mut stop = Stop::listen()?;
        match &args.session {
            Some(id) => {
                let session = agb.get(id).await?;
                tokio::select! {
                    outcome = perform(args, &session, code, pictures) => outcome,
                    code = stop.asked() => {
                        print_aside("the code goes on in its session until it ends or its timeout strikes\n")?;
                        Ok(code)
                    }
                }
            }
            None => {
                let session = fresh(args, &agb).await?;
                let outcome = tokio::select! {
                    outcome = perform(args, &session, code, pictures) => outcome,
                    code = stop.asked() => Ok(code),
                };
                let ended = end(args, &session).await;
                // What came of the code is the news; a session that is over by itself needs no end.
                outcome.and_then(|code| ended.map(|()| code))
            }
        }
    })
}

async fn fresh(args: &Args, agb: &Agb) -> Result<Session, Failure> {
    let wanted = Wanted {
        image: args.image.clone(),
        labels: Vec::new(),
        idle_timeout: None,
    };
    wanted.make(&args.remote, agb).await
}

async fn end(args: &Args, session: &Session) -> Result<(), Failure> {
    let _progress = args.remote.progress("ending the session");
    Ok(session.delete().await?)
}

async fn perform(
    args: &Args,
    session: &Session,
    code: String,
    pictures: Pictures,
) -> Result<ExitCode, Failure> {
    let run = session
        .code()
        .run(code, &args.language)
        .timeout(Duration::from_secs(args.timeout))
        .stream()
        .await?;
    let success = match args.remote.json {
        true => collect(args, session, run, pictures).await?,
        false => show(run, pictures).await?,
    };
    Ok(if success {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Passes on what happens, as it happens.
async fn show(mut run: RunStream, mut pictures: Pictures) -> Result<bool, Failure> {
    let mut success = true;
    let mut heard = Tail::default();
    while let Some(event) = run.next().await? {
        match event {
            RunEvent::Stdout(text) => print(&text)?,
            RunEvent::Stderr(text) => {
                print_aside(&text)?;
                heard.push(&text);
            }
            RunEvent::Result(result) => {
                if let Some(text) = result.text() {
                    print(&format!("{text}\n"))?;
                }
                for picture in pictures.take(&result)? {
                    print_aside(&format!("[{picture}]\n"))?;
                }
            }
            RunEvent::Error(error) => {
                success = false;
                let traceback = error.traceback.trim_end();
                if traceback.is_empty() {
                    print_aside(&format!("{error}\n"))?;
                } else if !heard.ends_with(traceback) {
                    print_aside(&format!("{traceback}\n"))?;
                }
            }
            _ => {}
        }
    }
    Ok(success)
}

/// The end of what was written to standard error. Interpreters write an exception there too, unless the code took standard
/// error away from them, and nobody wants to read it twice.
#[derive(Default)]
struct Tail(String);

impl Tail {
    fn push(&mut self, text: &str) {
        self.0 += text;
        let surplus = self.0.len().saturating_sub(TAIL_BYTES_MAX);
        self.0.drain(..self.0.ceil_char_boundary(surplus));
    }

    fn ends_with(&self, text: &str) -> bool {
        self.0.trim_end().ends_with(text)
    }
}

/// Answers with all of it as one document.
async fn collect(
    args: &Args,
    session: &Session,
    run: RunStream,
    mut pictures: Pictures,
) -> Result<bool, Failure> {
    let run = run.finish().await?;
    for result in &run.results {
        pictures.take(result)?;
    }
    let document = json!({
        "sessionId": session.session_id(),
        "results": run.results,
        "stdout": run.logs.stdout.concat(),
        "stderr": run.logs.stderr.concat(),
        "error": run.error,
        "executionCount": run.execution_count,
        "executionTime": run.execution_time,
        "saved": pictures.saved(),
    });
    args.remote.answer(&document, String::new)?;
    Ok(run.success())
}

/// The code: given, from a file, or from standard input.
fn code(args: &Args) -> Result<String, Failure> {
    match (&args.code, &args.file) {
        (Some(code), _) if code != "-" => Ok(code.clone()),
        (_, Some(path)) => read(fs_err::File::open(path).map_err(Failure::File)?, path),
        _ => read(std::io::stdin().lock(), Path::new("standard input")),
    }
}

fn read(source: impl Read, name: &Path) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    source
        .take(CODE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(Failure::File)?;
    let refused = |what: String| Failure::Usage(format!("the code in `{}` {what}", name.display()));
    if bytes.len() as u64 > CODE_BYTES_MAX {
        return Err(refused(format!(
            "is longer than {CODE_BYTES_MAX} bytes; allowed: at most so many"
        )));
    }
    String::from_utf8(bytes).map_err(|error| refused(format!("is not UTF-8 ({error}); allowed: UTF-8")))
}

/// Somebody wants the command to stop.
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    /// From now on a signal only asks.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(Failure::File);
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Waits for it. The exit code is the one that shells give to the signal.
    pub(crate) async fn asked(&mut self) -> ExitCode {
        tokio::select! {
            _ = self.interrupt.recv() => ExitCode::from(130),
            _ = self.terminate.recv() => ExitCode::from(143),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_what_was_heard_is_kept_in_bounds() {
        let mut heard = Tail::default();
        assert!(!heard.ends_with("x"));
        for _ in 0..3 {
            heard.push(&"ä".repeat(TAIL_BYTES_MAX / 2 - 1));
            heard.push("error: x\n");
        }
        assert!(heard.0.len() <= TAIL_BYTES_MAX);
        assert!(heard.ends_with("error: x"));
    }

    #[test]
    fn code_is_bounded_text() {
        assert_eq!(read("print(1)".as_bytes(), Path::new("f")).unwrap(), "print(1)");
        let long = read(std::io::repeat(b'#'), Path::new("f")).unwrap_err();
        assert!(long.to_string().contains("longer than 8388608 bytes"), "{long}");
        let binary = read(&b"\xff"[..], Path::new("f")).unwrap_err();
        assert!(
            binary.to_string().starts_with("the code in `f` is not UTF-8"),
            "{binary}"
        );
    }
}
