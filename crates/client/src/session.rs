//! One session: where it is reached, what is known of it, its end.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use berth_agb_api::responses::{self, LabelText, Link, Resource, Status, ToolRef};
use serde::de::DeserializeOwned;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite;

use crate::agb::{labels_text, session_ref};
use crate::http::Call;
use crate::{Agb, Code, Command, Error, FileSystem};

/// How long the end of a session is waited for, as in the official SDKs.
const END_TIMEOUT: Duration = Duration::from_secs(300);

/// Between two questions whether it is over.
const END_PAUSE: Duration = Duration::from_secs(1);

/// A session's end may show on a socket a little before it is written down.
const REASON_PAUSE: Duration = Duration::from_millis(500);

/// One session. Cloning is cheap; dropping it does not end the session.
///
/// ```no_run
/// # async fn example(agb: berth_client::Agb) -> Result<(), berth_client::Error> {
/// let session = agb.get("s-0123").await?;
/// session.set_labels([("stage", "second")]).await?;
/// session.file().write("/home/user/a.txt", "hello\n").await?;
/// println!("watch it at {}", session.info().await?.resource_url);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Session {
    pub(crate) agb: Agb,
    session_id: String,
    image_id: Option<String>,
    resource_url: String,
    resource_id: String,
    app_instance_id: String,
    link_url: String,
    ws_url: String,
    token: String,
    tools: Vec<ToolRef<String>>,
}

/// What [`Session::info`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    /// The session.
    pub session_id: String,
    /// The live view, with a ticket that was made for this answer.
    pub resource_url: String,
    /// What it runs in.
    pub resource_id: String,
}

impl Session {
    pub(crate) fn made(agb: Agb, data: responses::Session<String>, image_id: Option<String>) -> Self {
        Self {
            agb,
            session_id: data.session_id,
            image_id,
            resource_url: data.resource_url,
            resource_id: data.resource_id,
            app_instance_id: data.app_instance_id,
            link_url: data.link_url.trim_end_matches('/').to_owned(),
            ws_url: data.ws_url,
            token: data.token,
            // Without a list every tool takes the API route.
            tools: serde_json::from_str(&data.tool_list).unwrap_or_default(),
        }
    }

    pub(crate) fn named(agb: Agb, session_id: &str) -> Self {
        let data = responses::Session {
            session_id: session_id.trim().to_owned(),
            app_instance_id: String::new(),
            resource_id: String::new(),
            resource_url: String::new(),
            link_url: String::new(),
            ws_url: String::new(),
            token: String::new(),
            tool_list: String::new(),
            status: None,
        };
        Self::made(agb, data, None)
    }

    /// The id by which everything else knows it.
    pub fn session_id(&self) -> &str {
        &self.session_id
    }

    /// The image, if it was made by this client.
    pub fn image_id(&self) -> Option<&str> {
        self.image_id.as_deref()
    }

    /// The live view's page. Its ticket expires; [`info`](Self::info) has a fresh one.
    pub fn resource_url(&self) -> &str {
        &self.resource_url
    }

    /// What it runs in.
    pub fn resource_id(&self) -> &str {
        &self.resource_id
    }

    /// Another name of what it runs in.
    pub fn app_instance_id(&self) -> &str {
        &self.app_instance_id
    }

    /// Base of the link route, on which tools are called.
    pub fn link_url(&self) -> &str {
        &self.link_url
    }

    /// The stream route, on which code runs with live output.
    pub fn ws_url(&self) -> &str {
        &self.ws_url
    }

    /// The secret for both.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Runs commands.
    pub fn command(&self) -> Command<'_> {
        Command::of(self)
    }

    /// Runs code.
    pub fn code(&self) -> Code<'_> {
        Code::of(self)
    }

    /// Reads and writes files.
    pub fn file(&self) -> FileSystem<'_> {
        FileSystem::of(self)
    }

    /// A fresh live view URL. Counts as use.
    ///
    /// # Errors
    ///
    /// [`Error::SessionEnded`] when it is over.
    pub async fn info(&self) -> Result<SessionInfo, Error> {
        let data = self.ask::<Resource<String>>(&["mcp", "getMcpResource"]).await?;
        Ok(SessionInfo {
            session_id: data.session_id,
            resource_url: data.resource_url,
            resource_id: data.desktop_info.resource_id,
        })
    }

    /// `RUNNING`, `PAUSED`, or another word of a server's. Does not count as use.
    ///
    /// # Errors
    ///
    /// [`Error::SessionEnded`] when it is over.
    pub async fn get_status(&self) -> Result<String, Error> {
        Ok(self
            .ask::<Status<String>>(&["mcp", "getSessionInfo"])
            .await?
            .status)
    }

    /// Replaces all labels.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] names the label that is not allowed.
    pub async fn set_labels<K: Into<String>, V: Into<String>>(
        &self,
        labels: impl IntoIterator<Item = (K, V)>,
    ) -> Result<(), Error> {
        let labels: BTreeMap<String, String> = labels
            .into_iter()
            .map(|(key, value)| (key.into(), value.into()))
            .collect();
        let text = labels_text(&labels)?;
        let call = Call::post(&["sdk", "SetLabel"]).query("Labels", &text);
        self.agb.http.order(self.in_query(call)).await
    }

    /// All labels.
    ///
    /// # Errors
    ///
    /// [`Error::SessionEnded`] when it is over.
    pub async fn get_labels(&self) -> Result<BTreeMap<String, String>, Error> {
        let call = self.in_query(Call::get(&["sdk", "GetLabel"]));
        let text = self.agb.http.call::<LabelText>(call).await?.data.labels;
        serde_json::from_str(&text).map_err(|error| Error::Protocol(format!("`labels` is {text:?}: {error}")))
    }

    /// Counts as use, and does nothing else.
    ///
    /// # Errors
    ///
    /// [`Error::SessionEnded`] when it is over.
    pub async fn keep_alive(&self) -> Result<(), Error> {
        let call = Call::post(&["mcp", "refreshSessionIdleTime"]);
        self.agb.http.order(self.in_query(call)).await
    }

    /// A URL that leads to a port inside the session: `protocol` is what is spoken there (`http`, `https`, `ws`, `wss`).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] names the ports that are allowed.
    pub async fn get_link(&self, protocol: Option<&str>, port: Option<u16>) -> Result<String, Error> {
        let port = port.map(|port| port.to_string());
        let mut call = self.in_query(Call::get(&["internet", "getLink"]));
        if let Some(protocol) = protocol {
            call = call.query("protocolType", protocol);
        }
        if let Some(port) = &port {
            call = call.query("port", port);
        }
        Ok(self.agb.http.call::<Link>(call).await?.data.url)
    }

    /// Ends the session and waits until it is over. Succeeds again for one that was released before.
    ///
    /// # Errors
    ///
    /// [`Error::SessionEnded`] when this key never had it.
    pub async fn delete(&self) -> Result<(), Error> {
        let body = session_ref(&self.session_id)?;
        let call = Call::post(&["mcp", "releaseSessionAsync"]).body(&body)?;
        self.agb.http.order(call.about(&self.session_id)).await?;
        let over = async {
            loop {
                match self.get_status().await {
                    Err(Error::SessionEnded { .. }) => return Ok(()),
                    Ok(status) if status == "FINISH" => return Ok(()),
                    Ok(_) => tokio::time::sleep(END_PAUSE).await,
                    Err(error) => return Err(error),
                }
            }
        };
        tokio::time::timeout(END_TIMEOUT, over).await.unwrap_or_else(|_| {
            Err(Error::Timeout {
                what: format!("the end of session `{}`", self.session_id),
                limit: END_TIMEOUT,
            })
        })
    }

    /// The server name of a tool, if its link route is known.
    pub(crate) fn tool_server(&self, tool: &str) -> Option<&str> {
        let known = self.tools.iter().find(|known| known.name == tool)?;
        Some(known.server.as_str())
    }

    /// Why one of its WebSockets broke: the session's end, if it is over.
    pub(crate) async fn broken(&self, error: tungstenite::Error) -> Error {
        if let tungstenite::Error::Capacity(error) = error {
            return Error::Protocol(format!("a message on a WebSocket: {error}"));
        }
        for pause in [Some(REASON_PAUSE), None] {
            if let Err(ended @ Error::SessionEnded { .. }) = self.get_status().await {
                return ended;
            }
            if let Some(pause) = pause {
                sleep(pause).await;
            }
        }
        Error::Disconnected {
            endpoint: self.agb.http.endpoint(),
            source: error.into(),
        }
    }

    /// A question that names the session in its body.
    async fn ask<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, Error> {
        let call = Call::post(path).body(&session_ref(&self.session_id)?)?;
        Ok(self.agb.http.call(call.about(&self.session_id)).await?.data)
    }

    /// A request that names the session in its query.
    fn in_query<'a>(&'a self, call: Call<'a>) -> Call<'a> {
        call.query("sessionId", &self.session_id).about(&self.session_id)
    }
}

/// Without the secrets: the token, and the URL with the ticket.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("session_id", &self.session_id)
            .field("image_id", &self.image_id)
            .finish_non_exhaustive()
    }
}
