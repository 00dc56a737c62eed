//! Records the screens of sessions, when the operator wants that: one file for each session whose desktop is in use.
//!
//! A recording begins with the first live view or after the first call of a desktop tool, since these start the desktop,
//! and a recorder must not. It ends with the desktop, and goes on when there is one again. It is a viewer like any other to the
//! guest, but quiet: no use of the session. Whatever fails here is a line in the log and nothing else.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use berth_agb_api::own::RecordingStatus;
use berth_control::Session;
use berth_recording::{End, Event, Recording, RecordingError, ToolCall, film};
use futures_util::FutureExt;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use self::shelf::Shelf;
use self::view::{Runs, ViewError, open};
use crate::{App, audit};

mod shelf;
mod view;

/// Calls that wait to be written. More than that at once are left out.
const EVENTS_MAX: usize = 256;

/// The group of the tools that start the desktop.
const DESKTOP_TOOLS: &str = "wuying_computer";

/// Those of them that do their work without it.
const WITHOUT_DESKTOP: [&str; 4] = [
    "get_installed_apps",
    "stop_app_by_pid",
    "stop_app_by_pname",
    "stop_app_by_cmd",
];

/// How sessions are recorded.
#[derive(Debug, Clone)]
pub struct RecordConfig {
    /// Where the files go.
    pub folder: PathBuf,
    /// Bytes that a session's file may have.
    pub bytes_max: u64,
    /// Files that are older are removed.
    pub keep: Option<Duration>,
    /// When all files together have more, the oldest are removed.
    pub total_bytes: Option<u64>,
}

/// The recordings that are under way.
#[derive(Debug)]
pub(crate) struct Recorders {
    config: Option<RecordConfig>,
    shelf: Option<Shelf>,
    /// By session; held while it lasts, and until the session's end when its file is full or failed.
    live: Mutex<HashMap<String, Live>>,
}

/// A recording that is under way, or over before its session.
#[derive(Debug)]
struct Live {
    events: mpsc::Sender<Event>,
    status: RecordingStatus,
}

/// Why a recording did not come about.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    View(#[from] ViewError),
    #[error(transparent)]
    Recording(#[from] RecordingError),
}

impl Recorders {
    pub(crate) fn new(config: Option<RecordConfig>) -> Self {
        Self {
            shelf: config.as_ref().map(Shelf::of),
            config,
            live: Mutex::default(),
        }
    }

    /// How the recording of a session goes; none when it has none.
    pub(crate) fn status(&self, session_id: &str) -> Option<RecordingStatus> {
        self.live().get(session_id).map(|live| live.status)
    }

    /// Removes files that are not to be kept, when it is time to look.
    pub(crate) async fn keep_small(&self) {
        if let Some(shelf) = self.shelf.as_ref().filter(|shelf| shelf.is_due()) {
            let live = self.live().keys().cloned().collect();
            shelf.sweep(live).await;
        }
    }

    /// A live view opens: the desktop runs, or is about to.
    pub(crate) fn begin(app: &App, session: &Arc<Session>) {
        let this = &app.recorders;
        let Some(config) = &this.config else { return };
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        {
            let mut live = this.live();
            if live.contains_key(&session.id) {
                return;
            }
            let live_one = Live {
                events: sender,
                status: RecordingStatus::Recording,
            };
            live.insert(session.id.clone(), live_one);
        }
        let (app, session, config) = (app.clone(), Arc::clone(session), config.clone());
        app.connections.clone().spawn(async move {
            let over = match record(&app, &session, &config, Runs::default(), events).await {
                Ok(full) => full.then_some(RecordingStatus::Full),
                // It ended meanwhile.
                Err(Failed::View(_)) if session.ended().now_or_never().is_some() => None,
                Err(error) => {
                    let is_view = matches!(error, Failed::View(_));
                    let error = &error as &dyn std::error::Error;
                    warn!(error, "session {} is not recorded", session.id);
                    (!is_view).then_some(RecordingStatus::Failed)
                }
            };
            if let Some(status) = over {
                if let Some(live) = app.recorders.live().get_mut(&session.id) {
                    live.status = status;
                }
                // Each further attempt would end as this one.
                tokio::select! {
                    _ = session.ended() => {}
                    () = app.stop.cancelled() => {}
                }
            }
            app.recorders.live().remove(&session.id);
        });
    }

    /// A tool call is over. Its answer is cut and not read.
    pub(crate) fn called(
        app: &App,
        session: &Arc<Session>,
        tool: &str,
        (arguments, answer): (&[u8], &[u8]),
        failed: bool,
        started: Instant,
    ) {
        if app.recorders.config.is_none() {
            return;
        }
        if !failed && starts_desktop(app, tool) {
            Self::begin(app, session);
        }
        let live = app.recorders.live();
        let Some(Live { events, .. }) = live.get(&session.id) else {
            return;
        };
        let mut who = String::new();
        audit::note(|note| who = note.key_name.clone().unwrap_or_default());
        let call = ToolCall {
            who,
            failed,
            // Calls have time limits.
            duration: started.elapsed().as_millis() as u64,
            ..ToolCall::new(tool, arguments, answer)
        };
        if events.try_send(Event::Tool(call)).is_err() {
            debug!("a call of session {} is not in its recording", session.id);
        }
    }

    fn live(&self) -> MutexGuard<'_, HashMap<String, Live>> {
        // No change in here stops half-way.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the desktop runs after this tool has done what it was asked for.
fn starts_desktop(app: &App, tool: &str) -> bool {
    let mut known = app.control.session_tools().iter();
    known.any(|spec| spec.name == tool && spec.server == DESKTOP_TOOLS) && !WITHOUT_DESKTOP.contains(&tool)
}

/// Records until the session, the server or the desktop ends. True: the file is full.
async fn record(
    app: &App,
    session: &Session,
    config: &RecordConfig,
    runs: Runs,
    mut events: mpsc::Receiver<Event>,
) -> Result<bool, Failed> {
    // An id of ours: letters, digits and dashes.
    let path = config.folder.join(format!("{}.berthrec", session.id));
    let view = open(session, &runs).await?;
    let mut file = Recording::resume(&path, &session.id, config.bytes_max).await?;
    if file.is_full() {
        return Ok(true);
    }
    let stop = async {
        tokio::select! {
            _ = session.ended() => {}
            () = app.stop.cancelled() => {}
        }
    };
    let end = film(
        &mut file,
        view,
        || open(session, &runs),
        &mut events,
        stop,
        |_| {},
    )
    .await;
    let is_empty = !file.has_pictures();
    file.finish().await?;
    if is_empty {
        // No desktop came about, as in an image that has none.
        let _ = tokio::fs::remove_file(&path).await;
    }
    match end? {
        End::Full => {
            warn!(
                "the recording of session {} is full; what follows is not recorded",
                session.id
            );
            Ok(true)
        }
        End::Stopped => Ok(false),
        End::Broken(error) => {
            debug!(
                error = &error as &dyn std::error::Error,
                "the view of session {} ended", session.id
            );
            Ok(false)
        }
    }
}
