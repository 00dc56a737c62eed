//! The desktop as an agent uses it: mouse, keyboard, pixels, windows.
//!
//! What it does goes the same way as what a person does in a live view, so that the two do not get in each other's way.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use berth_screen::{Agent, AgentError, Control, Looker, Screen, ScreenError, WindowChange};
use tokio::sync::{Mutex, watch};

use crate::guest::Guest;
use crate::job::wire::Exit;
use crate::view::ViewError;

/// The image's own part of focus mode; called with `on` or `off`.
const FOCUS_MODE: &str = "/usr/lib/berth/focus-mode";

/// How long that may take.
const FOCUS_TIME_MAX: Duration = Duration::from_secs(10);

/// The agent's connections to the desktop, kept while its X server lives.
#[derive(Debug, Default)]
pub struct Computer {
    open: Mutex<Option<Open>>,
}

#[derive(Debug, Clone)]
struct Open {
    screen: Screen,
    agent: Arc<Agent>,
    looker: Arc<Looker>,
    /// The window that focus mode keeps in front.
    kept: Arc<Mutex<Option<u32>>>,
}

/// Why a tool of the desktop failed.
#[derive(Debug, thiserror::Error)]
pub enum ComputerError {
    /// There is no desktop.
    #[error(transparent)]
    View(#[from] ViewError),
    /// The X server refused.
    #[error("{0}")]
    Screen(#[from] ScreenError),
    /// Mouse or keyboard.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// No window has this number.
    #[error("window {0} does not exist; `list_root_windows` tells which there are")]
    NoWindow(i64),
    /// No window has the keyboard.
    #[error("no window is active")]
    NoActiveWindow,
    /// The desktop's own part of focus mode failed.
    #[error("the desktop could not switch its focus mode: {0}")]
    Focus(String),
    /// Nobody told where pictures are seen.
    #[error("this call came without an address for pictures; `screenshot` answers with the picture itself")]
    NoAddress,
    /// What was to stop an application did not.
    #[error("`{command}` stopped nothing: {why}")]
    NotStopped {
        /// What was run.
        command: String,
        /// What it said.
        why: String,
    },
    /// The picture could not be written down.
    #[error("could not encode the picture: {0}")]
    Picture(String),
    /// The thread that asked is gone.
    #[error("the question to the desktop was lost")]
    Lost,
}

impl Open {
    async fn look<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Looker) -> Result<T, ScreenError> + Send + 'static,
    ) -> Result<T, ComputerError> {
        let looker = Arc::clone(&self.looker);
        let asked = tokio::task::spawn_blocking(move || ask(&looker)).await;
        Ok(asked.map_err(|_| ComputerError::Lost)??)
    }
}

impl Computer {
    async fn open(&self, guest: &Guest) -> Result<Open, ComputerError> {
        let mut known = self.open.lock().await;
        let screen = guest.views.open(guest).await?;
        if let Some(open) = &*known
            && !open.screen.is_closed()
        {
            return Ok(open.clone());
        }
        let display = guest.desktop.display().to_owned();
        let looker = tokio::task::spawn_blocking(move || Looker::open(&display))
            .await
            .map_err(|_| ComputerError::Lost)??;
        let open = Open {
            agent: Arc::new(screen.agent()),
            looker: Arc::new(looker),
            kept: Arc::default(),
            screen,
        };
        *known = Some(open.clone());
        Ok(open)
    }

    /// The agent's mouse and keyboard.
    pub async fn agent(&self, guest: &Guest) -> Result<Arc<Agent>, ComputerError> {
        Ok(self.open(guest).await?.agent)
    }

    /// Who looks and who has control, now and as it changes.
    pub async fn control(&self, guest: &Guest) -> Result<watch::Receiver<Control>, ComputerError> {
        Ok(self.open(guest).await?.screen.control())
    }

    /// Asks the desktop something.
    pub async fn look<T: Send + 'static>(
        &self,
        guest: &Guest,
        ask: impl FnOnce(&Looker) -> Result<T, ScreenError> + Send + 'static,
    ) -> Result<T, ComputerError> {
        self.open(guest).await?.look(ask).await
    }

    /// Focus mode: keeps the active window in front of all others, and the keyboard with it when windows open. Only the
    /// window manager can do the latter without a gap, so the image has a program for it; without one, a window that opens
    /// takes the keyboard, behind the one that is kept.
    pub async fn focus(&self, guest: &Guest, on: bool) -> Result<(), ComputerError> {
        let open = self.open(guest).await?;
        let mut kept = open.kept.lock().await;
        let before = *kept;
        let now = match on {
            true => Some(
                open.look(Looker::active_window)
                    .await?
                    .ok_or(ComputerError::NoActiveWindow)?
                    .id,
            ),
            false => None,
        };
        open.look(move |looker| {
            // The one before may be closed.
            if let Some(before) = before.filter(|before| Some(*before) != now) {
                looker.change_window(before, WindowChange::KeepInFront(false))?;
            }
            now.map_or(Ok(false), |now| {
                looker.change_window(now, WindowChange::KeepInFront(true))
            })
        })
        .await?;
        *kept = now;
        if !Path::new(FOCUS_MODE).exists() {
            return Ok(());
        }
        let command = [FOCUS_MODE, if on { "on" } else { "off" }].map(str::to_owned);
        match guest.jobs.complete(command.to_vec(), "/", FOCUS_TIME_MAX).await {
            Ok(done) if done.exit == Some(Exit::Code(0)) => Ok(()),
            Ok(done) => Err(ComputerError::Focus(done.complaint)),
            Err(error) => Err(ComputerError::Focus(error.to_string())),
        }
    }
}
