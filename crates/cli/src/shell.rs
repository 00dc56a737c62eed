//! `berth shell`: a terminal in a session.

use std::io::{IsTerminal, Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use berth_client::{Error, ProcessEvent, ProcessStream, Session, StartProcess, TerminalSize};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::Outcome;
use crate::remote::{Failure, Remote};

/// Ctrl-], as in telnet: no program is likely to want it.
const DETACH: u8 = 0x1d;

/// How long a lost connection is tried again, and the pauses in between.
const RECONNECT_TIME_MAX: Duration = Duration::from_secs(60);
const RECONNECT_PAUSE: Duration = Duration::from_millis(300);

/// Open a terminal in a session.
///
/// Ctrl-] leaves it running; `berth shell --attach PROCESS` comes back to it. It survives a restart of the server.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    remote: Remote,
    /// Come back to a terminal that was left, by its process id.
    #[arg(long, value_name = "PROCESS", conflicts_with = "command")]
    attach: Option<String>,
    /// The session.
    id: String,
    /// What to run instead of a login shell.
    #[arg(last = true)]
    command: Vec<String>,
}

/// Why the terminal was left.
enum Left {
    Ended(i32),
    Detached,
}

pub(crate) fn run(args: &Args) -> Outcome {
    args.remote.run(async |agb| {
        let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
        if !stdin.is_terminal() || !stdout.is_terminal() {
            let message = "this needs a terminal on both sides; use `berth exec` for a command".into();
            return Err(Failure::Usage(message));
        }
        let session = agb.get(&args.id).await?;
        let id = match &args.attach {
            Some(id) => id.clone(),
            None => {
                let start = StartProcess {
                    command: command(&args.command)?,
                    terminal: Some(size()),
                    ..StartProcess::default()
                };
                session.start_process(&start).await?.process_id
            }
        };
        // Connected before the terminal is changed: a refusal is then printed as any other.
        let process = session.attach_process(&id, None).await?;
        let raw = Raw::enter().map_err(Failure::Output)?;
        let left = attend(&session, &id, process).await;
        drop(raw);
        match left? {
            Left::Ended(code) => Ok(ExitCode::from(u8::try_from(code).unwrap_or(1))),
            Left::Detached => {
                crate::remote::print_aside(&format!(
                    "\nleft running; berth shell {} --attach {id}\n",
                    args.id
                ))?;
                Ok(ExitCode::SUCCESS)
            }
        }
    })
}

fn command(words: &[String]) -> Result<Option<String>, Failure> {
    match words {
        [] => Ok(None),
        words => crate::exec::line(words).map(Some),
    }
}

/// Passes keys and output until the process ends or the person leaves.
async fn attend(session: &Session, id: &str, mut process: ProcessStream) -> Result<Left, Failure> {
    let mut keys = keys();
    let mut resized = signal(SignalKind::window_change()).map_err(Failure::Output)?;
    process.resize(size()).await?;
    loop {
        let lost = tokio::select! {
            event = process.next() => match event {
                Ok(Some(ProcessEvent::Output(bytes) | ProcessEvent::ErrorOutput(bytes))) => {
                    show(&bytes)?;
                    None
                }
                Ok(Some(ProcessEvent::Exited(code))) => return Ok(Left::Ended(code)),
                Ok(Some(_)) => None,
                Ok(None) => return Ok(Left::Ended(0)),
                Err(error) => Some(error),
            },
            typed = keys.recv() => match typed {
                None => return Ok(Left::Detached),
                Some(bytes) => match bytes.iter().position(|byte| *byte == DETACH) {
                    Some(end) => {
                        process.write(&bytes[..end]).await?;
                        return Ok(Left::Detached);
                    }
                    None => process.write(&bytes).await.err(),
                },
            },
            _ = resized.recv() => process.resize(size()).await.err(),
        };
        if let Some(error) = lost {
            process = again(session, id, process.position(), error).await?;
            process.resize(size()).await?;
        }
    }
}

/// Connects again where output was lost, as long as it is only the connection that is gone.
async fn again(
    session: &Session,
    id: &str,
    position: u64,
    mut error: Error,
) -> Result<ProcessStream, Failure> {
    let give_up = Instant::now() + RECONNECT_TIME_MAX;
    while matches!(
        error,
        Error::Disconnected { .. } | Error::Unreachable { .. } | Error::Timeout { .. }
    ) && Instant::now() < give_up
    {
        sleep(RECONNECT_PAUSE).await;
        match session.attach_process(id, Some(position)).await {
            Ok(process) => return Ok(process),
            Err(next) => error = next,
        }
    }
    Err(error.into())
}

/// What is typed, read on a thread of its own, which ends with the program.
fn keys() -> mpsc::Receiver<Vec<u8>> {
    let (typed, keys) = mpsc::channel(64);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = std::io::stdin().lock().read(&mut buffer) {
            if typed.blocking_send(buffer[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    keys
}

fn show(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .map_err(Failure::Output)
}

fn size() -> TerminalSize {
    let known = tcgetwinsize(std::io::stdout())
        .ok()
        .filter(|size| size.ws_col > 0 && size.ws_row > 0);
    known.map_or(
        TerminalSize {
            columns: 80,
            rows: 24,
        },
        |size| TerminalSize {
            columns: size.ws_col.min(1000),
            rows: size.ws_row.min(1000),
        },
    )
}

/// The terminal passes every key on and echoes nothing, until this is dropped.
struct Raw(Termios);

impl Raw {
    fn enter() -> std::io::Result<Self> {
        let before = tcgetattr(std::io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(std::io::stdin(), OptionalActions::Drain, &raw)?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // Nothing better could be done about it here.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Drain, &self.0);
    }
}
