//! The desktop as an agent uses it: mouse, keyboard, pixels, windows.
//!
//! What it does goes the same way as what a person does in a live view, so that the two do not get in each other's way.

use std::sync::Arc;

use berth_screen::{Agent, AgentError, Control, Looker, Screen, ScreenError};
use tokio::sync::{Mutex, watch};

use crate::guest::Guest;
use crate::view::ViewError;

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
        let looker = self.open(guest).await?.looker;
        let asked = tokio::task::spawn_blocking(move || ask(&looker)).await;
        Ok(asked.map_err(|_| ComputerError::Lost)??)
    }
}
