//! Records the screens of sessions, when the operator wants that: one file for each session whose desktop is in use.
//!
//! A recording begins with the first live view or after the first call of a desktop tool, since these start the desktop,
//! and a recorder must not. It ends with the desktop, and goes on when there is one again. It is a viewer like any other to the
//! guest, but quiet: no use of the session. Whatever fails here is a line in the log and nothing else.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use berth_control::Session;
use berth_guest_api::{VIEW, ViewRights};
use berth_guest_client::{GuestError, Upgraded};
use berth_recording::{End, Event, Recording, RecordingError, ToolCall, View, film};
use bytes::Bytes;
use futures_util::{FutureExt, SinkExt, StreamExt};
use http::header::{
    CONNECTION, HOST, HeaderMap, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};
use tracing::{debug, warn};

use crate::{App, audit, tunnel};

/// Calls that wait to be written. More than that at once are left out.
const EVENTS_MAX: usize = 256;

/// Longest message of a guest: the engine keeps far below, and each recording may hold some of them in memory.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// The group of the tools that start the desktop.
const DESKTOP_TOOLS: &str = "wuying_computer";

/// Those of them that do their work without it.
const WITHOUT_DESKTOP: [&str; 4] = [
    "get_installed_apps",
    "stop_app_by_pid",
    "stop_app_by_pname",
    "stop_app_by_cmd",
];

/// What other viewers see.
const NAME: &str = "recorder";

/// How sessions are recorded.
#[derive(Debug, Clone)]
pub struct RecordConfig {
    /// Where the files go.
    pub folder: PathBuf,
    /// Bytes that a session's file may have.
    pub bytes_max: u64,
}

/// The recordings that are under way.
#[derive(Debug)]
pub(crate) struct Recorders {
    config: Option<RecordConfig>,
    /// By session; held while it lasts, and until the session's end when its file is full.
    live: Mutex<HashMap<String, mpsc::Sender<Event>>>,
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
            config,
            live: Mutex::default(),
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
            live.insert(session.id.clone(), sender);
        }
        let (app, session, config) = (app.clone(), Arc::clone(session), config.clone());
        app.connections.clone().spawn(async move {
            let over = match record(&app, &session, &config, events).await {
                Ok(full) => full,
                Err(Failed::View(_)) if session.ended().now_or_never().is_some() => true,
                Err(error) => {
                    let is_view = matches!(error, Failed::View(_));
                    let error = &error as &dyn std::error::Error;
                    warn!(error, "session {} is not recorded", session.id);
                    !is_view
                }
            };
            if over {
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
        let Some(events) = live.get(&session.id) else {
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

    fn live(&self) -> MutexGuard<'_, HashMap<String, mpsc::Sender<Event>>> {
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
    mut events: mpsc::Receiver<Event>,
) -> Result<bool, Failed> {
    // An id of ours: letters, digits and dashes.
    let path = config.folder.join(format!("{}.berthrec", session.id));
    let view = open(session).await?;
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
    let end = film(&mut file, view, || open(session), &mut events, stop, |_| {}).await;
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

/// A view of the guest's.
struct GuestView(WebSocketStream<Upgraded>);

/// Opens a view that can only look, and is no use of the session.
async fn open(session: &Session) -> Result<GuestView, ViewError> {
    let mut headers: HeaderMap = tunnel::handed_over(ViewRights::VIEW, Some(NAME), None, true).collect();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(HOST, HeaderValue::from_static("guest"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    if let Ok(key) = HeaderValue::try_from(generate_key()) {
        headers.insert(SEC_WEBSOCKET_KEY, key);
    }
    let tunnel = session.guest.open_tunnel(VIEW, headers).await?;
    let limits = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let socket = WebSocketStream::from_raw_socket(tunnel.io, Role::Client, Some(limits)).await;
    Ok(GuestView(socket))
}

/// Why a view broke.
#[derive(Debug, thiserror::Error)]
enum ViewError {
    #[error("no view could be opened")]
    Guest(#[from] GuestError),
    #[error("the view's socket broke")]
    Socket(#[from] tungstenite::Error),
}

impl View for GuestView {
    type Error = ViewError;

    async fn next(&mut self) -> Result<Bytes, ViewError> {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Binary(bytes))) => return Ok(bytes),
                Some(Ok(Message::Close(_))) | None => return Err(tungstenite::Error::ConnectionClosed.into()),
                Some(Ok(Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(error)) => return Err(error.into()),
            }
        }
    }

    async fn send(&mut self, message: Bytes) -> Result<(), ViewError> {
        Ok(self.0.send(Message::Binary(message)).await?)
    }
}
