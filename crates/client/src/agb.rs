//! Sessions as a whole: make, find, list, end.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use berth_agb_api::requests::{CreateSession, SessionRef};
use berth_agb_api::responses;

use crate::http::{Call, Http};
use crate::{AgbConfig, Error, Session};

/// A server, as one API key sees it. Cloning is cheap and shares the connections.
///
/// ```no_run
/// use berth_client::{Agb, AgbConfig, ListParams};
///
/// # async fn example() -> Result<(), berth_client::Error> {
/// let agb = Agb::new(AgbConfig::new("http://127.0.0.1:8080", "akm-0123"))?;
/// let page = agb.list(&ListParams::new().label("project", "demo")).await?;
/// for id in page.session_ids {
///     println!("{}", agb.get(&id).await?.resource_url());
/// }
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Agb {
    pub(crate) http: Arc<Http>,
}

/// What a session is made from.
///
/// ```no_run
/// use berth_client::CreateSessionParams;
///
/// let params = CreateSessionParams {
///     idle_release_timeout: Some(std::time::Duration::from_secs(60)),
///     ..CreateSessionParams::new("agb-code-space-1")
/// };
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreateSessionParams {
    /// The image; `berth image list` shows a server's.
    pub image_id: String,
    /// To find it again by.
    pub labels: BTreeMap<String, String>,
    /// Release it after so long without use, whole seconds; the server's default if absent.
    pub idle_release_timeout: Option<Duration>,
    /// Name of a policy.
    pub policy_id: Option<String>,
}

impl CreateSessionParams {
    /// A session of `image_id`, with nothing else said.
    pub fn new(image_id: impl Into<String>) -> Self {
        Self {
            image_id: image_id.into(),
            ..Self::default()
        }
    }
}

/// Which sessions to list. [`ListParams::new`] is the first ten of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListParams {
    /// All of these must match.
    pub labels: BTreeMap<String, String>,
    /// From the page before; `None` for the first.
    pub next_token: Option<String>,
    /// Length of a page: 1 to 100.
    pub limit: u32,
}

impl ListParams {
    /// The first ten.
    pub fn new() -> Self {
        Self {
            labels: BTreeMap::new(),
            next_token: None,
            limit: 10,
        }
    }

    /// Only those with this label too.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// The request for these on one of the two routes that list; `limit` is what the length of a page is called there.
    pub(crate) fn ask<'a>(&'a self, path: &'a [&'a str], limit: &'a str, text: &'a ListText) -> Call<'a> {
        let call = Call::get(path)
            .query(limit, &text.limit)
            .query("labels", &text.labels);
        match &self.next_token {
            Some(token) => call.query("nextToken", token),
            None => call,
        }
    }

    /// The values that are not text yet.
    pub(crate) fn text(&self) -> Result<ListText, Error> {
        Ok(ListText {
            limit: self.limit.to_string(),
            labels: labels_text(&self.labels)?,
        })
    }
}

impl Default for ListParams {
    fn default() -> Self {
        Self::new()
    }
}

pub(crate) struct ListText {
    limit: String,
    labels: String,
}

/// One page of session ids, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionListResult {
    /// The ids.
    pub session_ids: Vec<String>,
    /// For the page after this one; `None` on the last.
    pub next_token: Option<String>,
    /// The length that a page may have.
    pub max_results: u32,
    /// All that match, on all pages.
    pub total_count: u64,
}

impl Agb {
    /// A client for `config`. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] or [`Error::InvalidApiKey`] when the endpoint or the key cannot be used.
    pub fn new(config: AgbConfig) -> Result<Self, Error> {
        let http = Arc::new(Http::new(&config)?);
        Ok(Self { http })
    }

    /// Makes a session.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] names what is not allowed; [`Error::QuotaExceeded`] and [`Error::NoCapacity`] say which
    /// limit was reached.
    pub async fn create(&self, params: CreateSessionParams) -> Result<Session, Error> {
        let body = CreateSession {
            labels: match params.labels.is_empty() {
                true => None,
                false => Some(labels_text(&params.labels)?),
            },
            mcp_policy_id: params.policy_id,
            timeout: params
                .idle_release_timeout
                .map(|timeout| i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX)),
            persistence_data_list: None,
        };
        let call = Call::post(&["mcp", "createSession"])
            .query("imageId", &params.image_id)
            .body(&body)?;
        let data = self.http.call::<responses::Session<String>>(call).await?.data;
        Ok(Session::made(self.clone(), data, Some(params.image_id)))
    }

    /// Recovers a session by its id. Counts as use of it.
    ///
    /// # Errors
    ///
    /// [`Error::SessionEnded`] when it is over, with the reason, or never was this key's.
    pub async fn get(&self, session_id: &str) -> Result<Session, Error> {
        let body = session_ref(session_id)?;
        let call = Call::post(&["mcp", "getSession"]).body(&body)?.about(session_id);
        let data = self.http.call::<responses::Session<String>>(call).await?.data;
        Ok(Session::made(self.clone(), data, None))
    }

    /// The session of this id without asking the server: enough for everything but the stream of a code run.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] when the id is blank.
    pub fn session(&self, session_id: &str) -> Result<Session, Error> {
        session_ref(session_id)?;
        Ok(Session::named(self.clone(), session_id))
    }

    /// One page of live sessions, newest first.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] when the limit, a label or the token is not allowed.
    pub async fn list(&self, params: &ListParams) -> Result<SessionListResult, Error> {
        let text = params.text()?;
        let call = params.ask(&["sdk", "ListSession"], "maxResults", &text);
        let page = self
            .http
            .call::<Vec<responses::ListedSession<String>>>(call)
            .await?;
        Ok(SessionListResult {
            session_ids: page.data.into_iter().map(|row| row.session_id).collect(),
            next_token: Some(page.next_token).filter(|token| !token.is_empty()),
            max_results: page.max_results,
            total_count: page.count,
        })
    }

    /// Ends a session and waits until it is over. Succeeds again for one that was released before.
    ///
    /// # Errors
    ///
    /// [`Error::SessionEnded`] when this key never had it.
    pub async fn delete(&self, session: &Session) -> Result<(), Error> {
        session.delete().await
    }
}

/// Without the key.
impl fmt::Debug for Agb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Agb").field(&self.http).finish()
    }
}

/// A body that names a session. An id that is blank, or means a folder in a path, names none.
pub(crate) fn session_ref(id: &str) -> Result<SessionRef, Error> {
    match id.trim() {
        "" | "." | ".." => Err(Error::invalid(
            "session_id",
            format!("{id:?}"),
            "the id of a session",
        )),
        id => Ok(SessionRef {
            session_id: Some(id.to_owned()),
        }),
    }
}

/// Labels as they are sent: JSON text.
pub(crate) fn labels_text(labels: &BTreeMap<String, String>) -> Result<String, Error> {
    serde_json::to_string(labels).map_err(|error| Error::invalid("labels", error, "a map of text"))
}
