//! A session that is made for an MCP client, and released when the client is gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use berth_control::{KeyRow, NewSession, Session};
use tracing::{Instrument, Span, info};

use crate::audit::Part;
use crate::error::ApiError;
use crate::{App, audit};

/// The session that a client will get.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Who pays for it.
    pub(crate) key: KeyRow,
    /// The image's name, if the client gave one.
    pub(crate) image: Option<String>,
    /// Idle release in seconds.
    pub(crate) idle_timeout_s: Option<i64>,
}

/// Such a session. Dropping it releases the session, unless the client was told how to come back to it.
pub(crate) struct Tenancy {
    app: App,
    key: KeyRow,
    pub(super) session: Arc<Session>,
    part: Option<Part>,
    kept: AtomicBool,
}

impl Tenancy {
    /// Makes the session.
    pub(super) async fn begin(app: &App, wanted: &Wanted, part: Option<Part>) -> Result<Self, ApiError> {
        let create = async {
            let image = wanted
                .image
                .as_deref()
                .map(str::trim)
                .filter(|image| !image.is_empty())
                .ok_or_else(|| ApiError::missing("IMAGEID", "the name of an image, in the query"))?;
            audit::note(|note| note.image = Some(audit::shown(image)));
            let new = NewSession {
                image,
                labels: BTreeMap::new(),
                idle_timeout_s: wanted.idle_timeout_s,
                policy: None,
                contexts: 0,
            };
            let (session, _ticket) = app.control.create(&wanted.key, new).await?;
            audit::uses(&session);
            Ok(session)
        };
        let session = audit::tell(part.clone(), "session.create", create).await?;
        Ok(Self {
            app: app.clone(),
            key: wanted.key.clone(),
            session,
            part,
            kept: AtomicBool::new(false),
        })
    }

    /// From now on the client answers for its session.
    pub(super) fn keep(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }
}

impl Drop for Tenancy {
    fn drop(&mut self) {
        // A stop of the server ends no session; this one is released when it has been idle.
        if self.kept.load(Ordering::Relaxed) || self.app.stop.is_cancelled() {
            return;
        }
        let (control, key) = (Arc::clone(&self.app.control), self.key.clone());
        let (session, part) = (Arc::clone(&self.session), self.part.clone());
        let release = async move {
            let id = session.id.clone();
            let release = async {
                audit::uses(&session);
                Ok(control.release(&key, &id).await?)
            };
            if let Err(error) = audit::tell(part, "session.release", release).await {
                info!(
                    "could not release session {id}, which its idle limit will end: {}",
                    error.message
                );
            }
        };
        self.app.connections.spawn(release.instrument(Span::current()));
    }
}
