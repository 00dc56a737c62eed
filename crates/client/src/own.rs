//! Berth's own routes: sessions with all that is known of them, pausing, logs, live views that are shared. Some also for
//! sessions that are over.

use std::time::Duration;

use berth_agb_api::own::{NewTicket, SessionDetail, SessionLog, SessionSummary, SharedView, Ticket, Viewers};

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

/// How a live view is shared. The default is only to look, for as long as every live view URL of the server is valid.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShareParams {
    /// What the holder of the URL may do: `view`, which is always among them, `control`, `clipboard-in`, `clipboard-out`,
    /// `files`.
    pub rights: Vec<String>,
    /// What the holder is called, for people to see.
    pub name: Option<String>,
    /// How long the URL is valid, whole seconds, at most a day.
    pub ttl: Option<Duration>,
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

    /// Makes a live view URL to give away. Counts as use.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] when a right, the name or the time is not allowed; [`Error::SessionEnded`] when it is over.
    pub async fn share(&self, session_id: &str, params: ShareParams) -> Result<SharedView, Error> {
        session_ref(session_id)?;
        let body = NewTicket {
            rights: Some(params.rights),
            name: params.name,
            ttl_seconds: params
                .ttl
                .map(|ttl| i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX)),
        };
        let path = ["api", "v1", "sessions", session_id, "tickets"];
        let call = Call::post(&path).body(&body)?.about(session_id);
        Ok(self.http.call(call).await?.data)
    }

    /// What was shared and is still good, without the URLs. Does not count as use.
    ///
    /// # Errors
    ///
    /// [`Error::SessionEnded`] when it is over.
    pub async fn tickets(&self, session_id: &str) -> Result<Vec<Ticket>, Error> {
        session_ref(session_id)?;
        let path = ["api", "v1", "sessions", session_id, "tickets"];
        Ok(self.http.call(Call::get(&path).about(session_id)).await?.data)
    }

    /// Revokes what was shared under this id, or every live view URL of the session, those in
    /// [`Session::resource_url`](crate::Session::resource_url) included. What is open with them ends.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] when there is no such ticket; [`Error::SessionEnded`] when the session is over.
    pub async fn unshare(&self, session_id: &str, ticket_id: Option<&str>) -> Result<(), Error> {
        session_ref(session_id)?;
        let mut path = vec!["api", "v1", "sessions", session_id, "tickets"];
        match ticket_id.map(str::trim) {
            None => {}
            // Would mean another route, and there everything.
            Some("" | "." | "..") => {
                return Err(Error::invalid("ticket_id", "empty or dots", "the id of a ticket"));
            }
            Some(id) => path.push(id),
        }
        self.http.order(Call::delete(&path).about(session_id)).await
    }

    /// Who is looking at the session. It comes from inside the session: show it, do not trust it. Does not count as use.
    ///
    /// # Errors
    ///
    /// [`Error::SessionEnded`] when it is over.
    pub async fn viewers(&self, session_id: &str) -> Result<Viewers, Error> {
        session_ref(session_id)?;
        let path = ["api", "v1", "sessions", session_id, "viewers"];
        Ok(self.http.call(Call::get(&path).about(session_id)).await?.data)
    }

    async fn order(&self, session_id: &str, what: &str) -> Result<SessionDetail, Error> {
        session_ref(session_id)?;
        let path = ["api", "v1", "sessions", session_id, what];
        Ok(self.http.call(Call::post(&path).about(session_id)).await?.data)
    }
}
