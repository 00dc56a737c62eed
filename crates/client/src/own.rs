//! Berth's own routes: sessions with all that is known of them, pausing, logs. Also for sessions that are over.

use berth_agb_api::own::{SessionDetail, SessionLog, SessionSummary};

use crate::agb::session_ref;
use crate::http::Call;
use crate::{Agb, Error, ListParams};

/// One page of sessions, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionPage {
    /// The sessions.
    pub sessions: Vec<SessionSummary>,
    /// For the page after this one; `None` on the last.
    pub next_token: Option<String>,
    /// All that match, on all pages.
    pub total_count: u64,
}

impl Agb {
    /// One page of live sessions with image, state, labels and age. Counts as use of none.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] when the limit, a label or the token is not allowed.
    pub async fn sessions(&self, params: &ListParams) -> Result<SessionPage, Error> {
        let text = params.text()?;
        let call = params.ask(&["api", "v1", "sessions"], "limit", &text);
        let page = self.http.call::<Vec<SessionSummary>>(call).await?;
        Ok(SessionPage {
            sessions: page.data,
            next_token: Some(page.next_token).filter(|token| !token.is_empty()),
            total_count: page.count,
        })
    }

    /// All that is known of a session, also of one that is over. Does not count as use.
    ///
    /// # Errors
    ///
    /// [`Error::SessionEnded`] when its id is not known, or no longer.
    pub async fn detail(&self, session_id: &str) -> Result<SessionDetail, Error> {
        session_ref(session_id)?;
        let path = ["api", "v1", "sessions", session_id];
        Ok(self.http.call(Call::get(&path).about(session_id)).await?.data)
    }

    /// Freezes the session's processes. The next call thaws them by itself.
    ///
    /// # Errors
    ///
    /// [`Error::SessionEnded`] when it is over.
    pub async fn pause(&self, session_id: &str) -> Result<SessionDetail, Error> {
        self.order(session_id, "pause").await
    }

    /// Thaws the session's processes.
    ///
    /// # Errors
    ///
    /// [`Error::SessionEnded`] when it is over.
    pub async fn resume(&self, session_id: &str) -> Result<SessionDetail, Error> {
        self.order(session_id, "resume").await
    }

    /// The last lines that the session's guest wrote, also of a session that is over. They come from inside the session:
    /// show them, do not trust them.
    ///
    /// # Errors
    ///
    /// [`Error::SessionEnded`] when its id is not known, or no longer.
    pub async fn log(&self, session_id: &str) -> Result<SessionLog, Error> {
        session_ref(session_id)?;
        let path = ["api", "v1", "sessions", session_id, "log"];
        Ok(self.http.call(Call::get(&path).about(session_id)).await?.data)
    }

    async fn order(&self, session_id: &str, what: &str) -> Result<SessionDetail, Error> {
        session_ref(session_id)?;
        let path = ["api", "v1", "sessions", session_id, what];
        Ok(self.http.call(Call::post(&path).about(session_id)).await?.data)
    }
}
