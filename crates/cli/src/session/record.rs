//! `berth session record`: records a session's screen until it ends, or somebody stops it.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use berth_client::{Agb, Error, LiveView, ShareParams, SharedView};
use berth_recording::{End, Progress, Recording, RecordingError, Told, View, film};
use bytes::Bytes;
use jiff::SignedDuration;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::remote::{Failure, Remote};
use crate::run::Stop;
use crate::show;

/// Longest that a live view URL is valid.
const TICKET_TIME_MAX: Duration = Duration::from_secs(24 * 3600);

/// Between two attempts to reach a server that is gone, and how long they go on.
const PAUSE: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(60);

/// A terabyte: who records by hand looks after the disk.
const BYTES_MAX: u64 = 1 << 40;

/// What to record, and where to.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The session.
    id: String,
    /// The file, which must not be there yet [default: the session's id and `.berthrec`].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Stop after so long, such as `10m` [default: when the session ends, or at Ctrl-C].
    #[arg(long = "for", value_name = "TIME", value_parser = super::share::ttl)]
    span: Option<Duration>,
}

struct Recorder(LiveView);

impl View for Recorder {
    type Error = Error;

    async fn next(&mut self) -> Result<Told, Error> {
        self.0.next().await.map(Told::Message)
    }

    async fn send(&mut self, message: Bytes) -> Result<(), Error> {
        self.0.send(message).await
    }
}

impl From<RecordingError> for Failure {
    fn from(error: RecordingError) -> Self {
        Failure::File(io::Error::other(error))
    }
}

pub(super) async fn run(remote: &Remote, agb: Agb, args: &Args) -> Result<ExitCode, Failure> {
    let name: String = args
        .id
        .trim()
        .chars()
        .filter(|c| !matches!(c, '/' | '\0'))
        .collect();
    let path = args
        .output
        .clone()
        .unwrap_or_else(|| format!("{name}.berthrec").into());
    let mut shared = ticket(&agb, args).await?;
    // Before the file: what cannot be looked at leaves none behind.
    let mut view = Some(agb.open_view(&args.id, &shared.url).await?);
    let mut file = Recording::create(&path, &args.id, BYTES_MAX).await?;
    let stop = stop(args.span, Stop::listen()?);
    tokio::pin!(stop);
    let shown = !remote.json && io::stderr().is_terminal();
    // There are no tool calls here: those the server sees.
    let (_quiet, mut events) = mpsc::channel(1);
    let mut lost = Instant::now();
    let outcome: Result<(), Failure> = loop {
        let opened = match view.take() {
            Some(view) => Ok(view),
            None => agb.open_view(&args.id, &shared.url).await,
        };
        let (failed, refused) = match opened {
            Ok(view) => {
                let open = async || agb.open_view(&args.id, &shared.url).await.map(Recorder);
                let filmed = film(
                    &mut file,
                    Recorder(view),
                    open,
                    &mut events,
                    &mut stop,
                    |progress| {
                        tell(shown, progress);
                    },
                );
                match filmed.await {
                    Ok(End::Broken(error)) => {
                        lost = Instant::now();
                        (error, false)
                    }
                    Ok(End::Full | End::Stopped) => break Ok(()),
                    Err(error) => break Err(error.into()),
                }
            }
            Err(error) => (error, true),
        };
        match agb.session(&args.id)?.get_status().await {
            Ok(state) if state == "PAUSED" => lost = Instant::now(),
            Ok(_) if !refused => {}
            // The ticket is over, and the session is not.
            Ok(_) => match ticket(&agb, args).await {
                Ok(new) => shared = new,
                Err(error) if lost.elapsed() > PATIENCE => break Err(error.into()),
                Err(_) => {}
            },
            Err(Error::SessionEnded { .. }) => break Ok(()),
            Err(_) if lost.elapsed() > PATIENCE => break Err(failed.into()),
            Err(_) => {}
        }
        tokio::select! {
            () = &mut stop => break Ok(()),
            () = tokio::time::sleep(PAUSE) => {}
        }
    };
    let progress = file.finish().await?;
    // The session, and the ticket with it, may be gone.
    let _ = agb.unshare(&args.id, Some(&shared.ticket.ticket_id)).await;
    tell(shown, progress);
    if shown {
        let _ = writeln!(io::stderr());
    }
    outcome?;
    let document = json!({
        "sessionId": args.id, "file": path, "bytes": progress.bytes, "milliseconds": progress.time,
    });
    remote.answer(&document, || format!("{}\n", path.display()))?;
    Ok(ExitCode::SUCCESS)
}

async fn ticket(agb: &Agb, args: &Args) -> Result<SharedView, Error> {
    let params = ShareParams {
        rights: vec!["view".into()],
        name: Some("recorder".into()),
        ttl: Some(
            args.span
                .map_or(TICKET_TIME_MAX, |span| (span + PATIENCE).min(TICKET_TIME_MAX)),
        ),
    };
    agb.share(&args.id, params).await
}

/// Completes when it is to stop.
async fn stop(span: Option<Duration>, mut asked: Stop) {
    let over = async {
        match span {
            Some(span) => tokio::time::sleep(span).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = over => {}
        _ = asked.asked() => {}
    }
}

fn tell(shown: bool, progress: Progress) {
    if shown {
        let span = SignedDuration::from_secs(i64::try_from(progress.time / 1000).unwrap_or_default());
        let size = show::size(progress.bytes);
        // Whether anybody sees it decides nothing.
        let _ = write!(io::stderr(), "\r\x1b[Krecording: {span:#}, {size}");
    }
}
