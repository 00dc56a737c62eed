//! The session's desktop: an X server and a desktop session, started when they are first needed.
//!
//! Both run as the session's user under supervisors, like any program of the session. One that has died is started
//! again at the next need.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::job::wire::Input;
use crate::job::{Job, JobError, Jobs, Output};
use crate::output::{discard, read_some};
use crate::settings::ScreenSize;

/// The X server.
const SERVER: &str = "/usr/bin/Xvfb";

/// What an image with a desktop starts in it; an image without one shows an empty screen.
const SESSION: &str = "/usr/lib/berth/desktop-session";

/// The largest size that a viewer can give the screen: a desk's monitor. Each pixel takes four bytes of the session's memory.
const LARGEST: ScreenSize = ScreenSize {
    width: 2560,
    height: 1600,
};

/// Where X servers put their sockets.
const SOCKETS: &str = "/tmp/.X11-unix";

/// An X server is up in a quarter of a second; on a busy machine it may take some.
const START_TIME_MAX: Duration = Duration::from_secs(20);

/// How long the news of an end may take.
const END_TIME_MAX: Duration = Duration::from_secs(1);

/// How long a session may take to say that it has painted; normally a tenth of a second.
const FIRST_PICTURE_MAX: Duration = Duration::from_millis(800);

/// Why there is no desktop.
#[derive(Debug, thiserror::Error)]
pub enum DesktopError {
    /// The image has no X server.
    #[error("this image has no desktop: `{SERVER}` is missing; choose an image with a desktop")]
    Missing,
    /// A process could not be started.
    #[error("could not start the desktop: {0}")]
    Job(#[from] JobError),
    /// The X server ended or was too slow.
    #[error("the X server on display {display} did not start: {why}")]
    Server {
        /// Where it was to be.
        display: String,
        /// Its last words.
        why: String,
    },
    /// It refused its size.
    #[error("the X server on display {display} did not take its size: {why}")]
    Size {
        /// Where it is.
        display: String,
        /// What it said.
        why: String,
    },
    /// The folder for its socket.
    #[error("could not prepare `{SOCKETS}`: {0}")]
    Sockets(#[source] io::Error),
}

/// Starts the desktop and keeps it.
#[derive(Debug)]
pub struct Desktop {
    jobs: Jobs,
    display: String,
    size: ScreenSize,
    home: String,
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    server: Option<Job>,
    session: Option<Job>,
    /// Counts the X servers: a connection to an earlier one is of no use.
    generation: u64,
}

impl Desktop {
    /// A desktop of `size` on `display`, not started yet.
    pub fn new(jobs: Jobs, display: String, size: ScreenSize, home: String) -> Self {
        Self {
            jobs,
            display,
            size,
            home,
            running: Mutex::new(Running::default()),
        }
    }

    /// Sees to it that the desktop runs. Returns the number of its X server, which rises with each new one.
    pub async fn ensure(&self) -> Result<u64, DesktopError> {
        let mut running = self.running.lock().await;
        if running.server.as_ref().is_none_or(Job::has_ended) {
            running.server = Some(self.start_server().await?);
            running.generation += 1;
            // Its programs have died with their server.
            running.session = None;
        }
        if running.session.as_ref().is_none_or(Job::has_ended) && Path::new(SESSION).exists() {
            let (job, output) = self
                .jobs
                .start(vec![SESSION.into()], &self.home, &[], Input::Nothing, Vec::new())
                .await?;
            wait_for_picture(output).await;
            running.session = Some(job);
        }
        Ok(running.generation)
    }

    /// Whether X server number `generation` has ended, or ends within a second.
    pub async fn has_ended(&self, generation: u64) -> bool {
        let mut running = self.running.lock().await;
        if running.generation != generation {
            return true;
        }
        match &mut running.server {
            Some(server) => timeout(END_TIME_MAX, server.ended()).await.is_ok(),
            None => true,
        }
    }

    /// The display, as X clients name it.
    pub fn display(&self) -> &str {
        &self.display
    }

    fn no_server(&self, why: String) -> DesktopError {
        DesktopError::Server {
            display: self.display.clone(),
            why,
        }
    }

    async fn start_server(&self) -> Result<Job, DesktopError> {
        if !Path::new(SERVER).exists() {
            return Err(DesktopError::Missing);
        }
        // Made by root with the sticky bit, or the X server complains and anyone could replace the socket.
        match DirBuilder::new().mode(0o1777).create(SOCKETS) {
            Ok(()) => fs_err::set_permissions(SOCKETS, std::fs::Permissions::from_mode(0o1777))
                .map_err(DesktopError::Sockets)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(DesktopError::Sockets(error)),
        }
        // It can be smaller later, and not larger.
        let (width, height) = (self.size.width, self.size.height);
        let screen = format!("{}x{}x24", width.max(LARGEST.width), height.max(LARGEST.height));
        // The server writes its display's number to descriptor 1 when clients can connect.
        let command = [
            SERVER,
            &self.display,
            "-screen",
            "0",
            &screen,
            "-nolisten",
            "tcp",
            "-ac",
            // It would forget its size when its first client leaves.
            "-noreset",
            "-displayfd",
            "1",
        ];
        let command = command.map(str::to_owned).to_vec();
        let (job, Output { mut stdout, stderr }) = self
            .jobs
            .start(command, &self.home, &[], Input::Nothing, Vec::new())
            .await?;
        match timeout(START_TIME_MAX, read_some(&mut stdout)).await {
            Ok(Some(_)) => {
                discard(stdout);
                discard(stderr);
                self.resize().await?;
                Ok(job)
            }
            Ok(None) => Err(self.no_server(last_line(stderr).await)),
            Err(_) => {
                job.end(crate::job::wire::End::default()).await;
                Err(self.no_server(format!("no answer within {START_TIME_MAX:?}")))
            }
        }
    }
}

impl Desktop {
    async fn resize(&self) -> Result<(), DesktopError> {
        let (display, size) = (self.display.clone(), self.size);
        let refused = |why: String| DesktopError::Size {
            display: self.display.clone(),
            why,
        };
        tokio::task::spawn_blocking(move || berth_screen::resize(&display, size.width, size.height))
            .await
            .map_err(|error| refused(error.to_string()))?
            .map_err(|error| refused(error.to_string()))
    }
}

/// Waits until the session says that it has painted, so that nobody's first picture is an empty screen. One that says
/// nothing is shown as it is.
async fn wait_for_picture(Output { mut stdout, stderr }: Output) {
    let _ = timeout(FIRST_PICTURE_MAX, read_some(&mut stdout)).await;
    discard(stdout);
    discard(stderr);
}

async fn last_line(mut stderr: tokio::net::unix::pipe::Receiver) -> String {
    let mut text = crate::output::Captured::new(4000);
    let all = async {
        while let Some(bytes) = read_some(&mut stderr).await {
            text.push(&bytes);
        }
    };
    let _ = timeout(Duration::from_secs(1), all).await;
    let text = text.into_text();
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    last.map_or_else(|| "it said nothing".into(), |line| line.trim().to_owned())
}
