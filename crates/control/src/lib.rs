//! The control plane: sessions, the warm pool, their ends, keys and tickets. Knows nothing of HTTP or of the API's forms.
//!
//! In: who calls ([`Control::authenticate`]) and what they want. Out: a live [`Session`], whose guest the caller may talk
//! to, or a [`ControlError`] that says why not.
//!
//! What must survive a restart is in the store before a caller is told of it. Reconcilers (the pool, the reaper, the
//! rundown) take no input: they compare what is with what should be, so a restart needs no path of its own beyond
//! [`adopt`].
//!
//! Start reading at [`Control`], then [`life`] for how a session may move.

mod adopt;
mod census;
mod config;
mod create;
mod detail;
mod error;
mod images;
pub mod life;
mod pause;
mod pool;
pub mod prepare;
mod quota;
mod reaper;
mod rundown;
mod sandboxes;
mod secret;
mod session;
mod tickets;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use berth_guest_api::ToolSpec;
use berth_store::{ListCursor, SessionEnding, SessionFilter, SessionPage, SessionRow, Store, StoreError};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use berth_store::{
    Database, KeyLimits, KeyRow, NewKey, Options as StoreOptions, SessionState, SessionSummary,
};
pub use census::{Census, PoolDepth};
pub use config::{Change, Config, IdleAction, Observer, WarmImage};
pub use create::NewSession;
pub use detail::Detail;
pub use error::{ControlError, StartError};
pub use life::{End, EndReason};
pub use quota::QuotaLimit;
pub use secret::write_private;
pub use session::{Call, Held, Session, View};
pub use tickets::{Grant, NewShare, Share, TicketState};

/// A place in a session list, for the caller to keep.
pub type Cursor = ListCursor;

/// Target of the spans that are exported as traces. The log leaves them out; without a collector they are never made.
pub const TRACE_TARGET: &str = "berth::trace";

/// The control plane of one server.
pub struct Control {
    config: Config,
    store: Store,
    /// This server among those that share the store.
    node: String,
    maker: Arc<sandboxes::Maker>,
    images: Arc<images::Images>,
    pool: Arc<pool::Pool>,
    secret: secret::Secret,
    tools: Vec<ToolSpec>,
    /// Sessions that take calls. A session leaves it in the moment that its end is decided.
    live: RwLock<HashMap<String, Arc<Session>>>,
    quotas: Arc<quota::Quotas>,
    rundown: Notify,
    /// Nudges the reaper: a key may have been revoked.
    keys: Notify,
    stop: CancellationToken,
    /// Held while the server runs: one server per data folder.
    _lock: fs_err::File,
}

impl Control {
    /// The key that `text` is, valid or not ([`KeyRow::is_valid`]); nothing if it was never one.
    pub async fn authenticate(&self, text: &str) -> Result<Option<KeyRow>, ControlError> {
        Ok(self.store.authenticate(text).await?)
    }

    /// The store, for what works on it beside the control plane: the sender of webhooks.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Looks at once whether keys were revoked, and ends their sessions.
    pub fn look_at_keys(&self) {
        self.keys.notify_one();
    }

    /// The tools that sessions of this image have.
    pub async fn tools(&self, image: &str) -> Result<&[ToolSpec], ControlError> {
        self.images.get(image).await?;
        Ok(&self.tools)
    }

    /// The tools that every session has by now.
    pub fn session_tools(&self) -> &[ToolSpec] {
        &self.tools
    }

    /// The live session of this id, if it belongs to this key.
    pub async fn session(&self, key_id: &str, id: &str) -> Result<Arc<Session>, ControlError> {
        match self.live(id) {
            Some(session) if session.key_id == key_id => {
                note_session(&session);
                Ok(session)
            }
            Some(_) => Err(unknown(id)),
            None => Err(self.absent(Some(key_id), id).await?),
        }
    }

    /// The live session of this id, if `token` is its token.
    pub async fn session_by_token(&self, id: &str, token: &str) -> Result<Arc<Session>, ControlError> {
        if !self.secret.is_token(id, token) {
            return Err(ControlError::WrongToken { id: shown(id) });
        }
        match self.live(id) {
            Some(session) => {
                note_session(&session);
                Ok(session)
            }
            None => Err(self.absent(None, id).await?),
        }
    }

    /// The credential of a session's link and stream.
    pub fn token(&self, session: &Session) -> String {
        self.secret.token(&session.id)
    }

    /// The name of the link to a port of a session; without a port, to the first one there is.
    pub fn port_link(&self, session: &Session, port: Option<i64>) -> Result<String, ControlError> {
        let allowed = &self.config.ports;
        let port = match port {
            None | Some(0) => *allowed.start(),
            Some(port) => u16::try_from(port)
                .ok()
                .filter(|port| allowed.contains(port))
                .ok_or_else(|| ControlError::Invalid {
                    field: "port",
                    got: port.to_string(),
                    allowed: format!(
                        "{} to {}; without a port the link is to {}",
                        allowed.start(),
                        allowed.end(),
                        allowed.start()
                    ),
                })?,
        };
        Ok(self.secret.port_link(&session.id, port))
    }

    /// The live session and the port that a link leads to.
    pub async fn session_by_port_link(&self, link: &str) -> Result<(Arc<Session>, u16), ControlError> {
        let (id, port) = self
            .secret
            .read_port_link(link)
            .filter(|(_, port)| self.config.ports.contains(port))
            .ok_or(ControlError::UnknownLink)?;
        Ok((self.linked(id, ControlError::UnknownLink).await?, port))
    }

    /// The name of the link to a session's pictures.
    pub fn pictures_link(&self, session: &Session) -> String {
        self.secret.pictures_link(&session.id)
    }

    /// The live session whose pictures a link leads to.
    pub async fn session_by_pictures_link(&self, link: &str) -> Result<Arc<Session>, ControlError> {
        let id = self
            .secret
            .read_pictures_link(link)
            .ok_or(ControlError::UnknownPicture)?;
        self.linked(id, ControlError::UnknownPicture).await
    }

    /// The live session of a link that this server made; `unknown` if it has forgotten it.
    async fn linked(&self, id: &str, unknown: ControlError) -> Result<Arc<Session>, ControlError> {
        match self.live(id) {
            Some(session) => {
                note_session(&session);
                Ok(session)
            }
            None => Err(match self.absent(None, id).await? {
                ControlError::UnknownSession { .. } => unknown,
                ended => ended,
            }),
        }
    }

    /// Releases a session. Succeeds again for one that has ended; what is left of it is removed in the background.
    pub async fn release(self: &Arc<Self>, key: &KeyRow, id: &str) -> Result<(), ControlError> {
        match self.session(&key.id, id).await {
            Ok(session) => {
                let control = Arc::clone(self);
                let end = End {
                    reason: EndReason::Released,
                    detail: Some(format!("key `{}`", key.name).into()),
                };
                // A task of its own: a caller that goes away must not leave a session that is half ended.
                whole(tokio::spawn(async move { control.end(&session, end).await })).await
            }
            Err(ControlError::EndedSession { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A page of a key's live sessions, newest first. All labels must match.
    pub async fn list(
        &self,
        key_id: &str,
        labels: &BTreeMap<String, String>,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<SessionPage, ControlError> {
        Ok(self
            .store
            .list_sessions(&SessionFilter {
                key_id,
                labels,
                after,
                limit,
            })
            .await?)
    }

    /// Replaces the labels of a session.
    pub async fn set_labels(
        &self,
        session: &Session,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), ControlError> {
        Ok(self.store.set_labels(&session.id, labels).await?)
    }

    /// The labels of a session.
    pub async fn labels(&self, session: &Session) -> Result<BTreeMap<String, String>, ControlError> {
        Ok(self.store.labels(&session.id).await?)
    }

    /// Whether the server works: its database answers.
    pub async fn health(&self) -> Result<Health, ControlError> {
        self.store.ping().await?;
        let (pool_ready, pool_size) = self.pool.depth();
        let sessions = self.live.read().unwrap_or_else(PoisonError::into_inner).len();
        Ok(Health {
            sessions,
            pool_ready,
            pool_size,
        })
    }

    /// Stops the reconcilers. Sessions go on; the next start adopts them.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        if let Err(error) = self.maker.sandboxes.stop().await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the sandbox layer did not stop in order"
            );
        }
        self.store.close().await;
    }

    /// Ends a session: from now on it takes no calls, whoever asks is told why, and the rundown removes it.
    pub(crate) async fn end(&self, session: &Arc<Session>, end: End) -> Result<(), ControlError> {
        let log = detail::log_text(&session.sandbox.log_tail());
        let ending = SessionEnding {
            reason: end.reason.word(),
            detail: end.detail.as_deref(),
            memory_peak_bytes: session.sandbox.memory_peak().await.ok(),
            log_tail: Some(&log),
        };
        let moved = self
            .advance(&session.id, life::Event::End(end.reason), Some(&ending))
            .await?;
        if let Some((_, true)) = moved {
            let reason = end.reason.word();
            tracing::info!(session.id = %session.id, reason, "session {} ends: {end}", session.id);
        }
        self.live
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&session.id);
        session.announce_end(end);
        self.rundown.notify_one();
        Ok(())
    }

    /// Moves a session's row by an event, looking again whenever someone else moved it first. The row as it is then, and
    /// whether this moved it; nothing if there is no row.
    async fn advance(
        &self,
        id: &str,
        event: life::Event,
        ending: Option<&SessionEnding<'_>>,
    ) -> Result<Option<(SessionRow, bool)>, ControlError> {
        loop {
            let Some(row) = self.store.session(id).await? else {
                return Ok(None);
            };
            let state = state_of(&row).after(event);
            if state == state_of(&row) {
                return Ok(Some((row, false)));
            }
            let (next, change) = match state {
                life::State::Running => (SessionState::Running, Change::Resumed),
                life::State::Paused => (SessionState::Paused, Change::Paused),
                life::State::Ending(why) => (SessionState::Ending, Change::Ended(why)),
                life::State::Ended(why) => (SessionState::Ended, Change::Ended(why)),
            };
            match self.store.advance_session(&row, next, ending).await {
                Ok(row) => {
                    self.tell(&row, change);
                    return Ok(Some((row, true)));
                }
                Err(StoreError::Moved { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Tells the observer, and the metrics, of a change that is in the store.
    fn tell(&self, row: &SessionRow, change: Change) {
        if let Change::Ended(why) = change {
            metrics::counter!("berth_sessions_ended_total", "reason" => why.word()).increment(1);
        }
        if let Some(observer) = &self.config.observer {
            observer.session_changed(&row.id, &row.key_id, change);
        }
    }

    fn live(&self, id: &str) -> Option<Arc<Session>> {
        self.live
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .cloned()
    }

    fn live_sessions(&self) -> Vec<Arc<Session>> {
        self.live
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    /// Why there is no live session of this id. `key_id` is the caller's, when one is known.
    async fn absent(&self, key_id: Option<&str>, id: &str) -> Result<ControlError, ControlError> {
        let row = self.store.session(id).await?;
        Ok(
            match row.filter(|row| key_id.is_none_or(|key_id| key_id == row.key_id)) {
                None => unknown(id),
                Some(row) if state_of(&row).end_reason().is_none() && row.node != self.node => {
                    ControlError::Elsewhere {
                        id: row.id,
                        node: row.node,
                    }
                }
                Some(row) => ended(row),
            },
        )
    }
}

/// How the server does.
#[derive(Debug)]
pub struct Health {
    /// Sessions that take calls.
    pub sessions: usize,
    /// Sandboxes that are ready for a session.
    pub pool_ready: usize,
    /// How many of them there should be.
    pub pool_size: usize,
}

/// The result of a task that was started so that it runs to its end whoever waits for it.
pub async fn whole<T>(task: JoinHandle<T>) -> T {
    match task.await {
        Ok(result) => result,
        // Nothing cancels such a task, so it has panicked, and the panic goes on here.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Says in the trace of a request which session it is for.
fn note_session(session: &Session) {
    tracing::Span::current().record("session.id", session.id.as_str());
}

fn unknown(id: &str) -> ControlError {
    ControlError::UnknownSession { id: shown(id) }
}

/// The refusal of a call on the session of this row.
fn ended(row: SessionRow) -> ControlError {
    ControlError::EndedSession {
        // A running row without a live session is one whose end is being written at this moment.
        end: end_of(&row).unwrap_or(EndReason::Crashed.into()),
        id: row.id,
        at: row.ended,
    }
}

/// Why the session of this row ends or ended.
fn end_of(row: &SessionRow) -> Option<End> {
    state_of(row).end_reason().map(|reason| End {
        reason,
        detail: row.end_detail.as_deref().map(Into::into),
    })
}

/// An id as it may stand in a message: callers can send anything.
fn shown(id: &str) -> String {
    id.chars().take(100).collect()
}

/// The state that a row describes.
fn state_of(row: &SessionRow) -> life::State {
    // A word that this version does not know was written by a newer one; the row says at least that it ended.
    let why = || {
        row.end_reason
            .as_deref()
            .and_then(EndReason::from_word)
            .unwrap_or(EndReason::Crashed)
    };
    match row.state {
        SessionState::Running => life::State::Running,
        SessionState::Paused => life::State::Paused,
        SessionState::Ending => life::State::Ending(why()),
        SessionState::Ended => life::State::Ended(why()),
    }
}
