//! Tools by name, and which way a call takes.

use std::time::Duration;

use berth_agb_api::requests::{CallTool, LinkCall};
use berth_agb_api::responses::{LinkAnswer, ToolAnswer};
use serde::{Deserialize, Serialize};
use serde_json::value::to_raw_value;

use crate::http::{Call, json};
use crate::{Error, Session};

/// The longest that a tool without a limit of its own may take, as in the official SDKs.
const TOOL_TIMEOUT: Duration = Duration::from_secs(900);

/// What an answer may take on top of the tool's own limit: its run may have to wait for another.
pub(crate) const MARGIN: Duration = Duration::from_secs(60);

/// A tool, as its image offers it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct McpTool {
    /// What it is called by.
    pub name: String,
    /// What it does, for a model to read.
    #[serde(default)]
    pub description: String,
    /// JSON Schema of the arguments.
    #[serde(default)]
    pub input_schema: serde_json::Value,
    /// The group it belongs to.
    #[serde(default)]
    pub server: String,
}

/// What a session uses. Rates are means since the question before.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionMetrics {
    /// Processors that it may use.
    pub cpu_count: u64,
    /// Use of all of them together, 0 to 100.
    pub cpu_used_pct: f64,
    /// Bytes of memory that it may use.
    pub mem_total: u64,
    /// Bytes of memory that it uses.
    pub mem_used: u64,
    /// Bytes of its disk.
    pub disk_total: u64,
    /// Bytes of its disk that are used.
    pub disk_used: u64,
    /// KiB received in a second.
    pub rx_rate_kbyte_per_s: f64,
    /// KiB sent in a second.
    pub tx_rate_kbyte_per_s: f64,
    /// KiB received since it began.
    pub rx_used_kbyte: f64,
    /// KiB sent since it began.
    pub tx_used_kbyte: f64,
    /// When this was measured.
    pub timestamp: String,
}

impl Session {
    /// Calls a tool by its name; `args` becomes its JSON object of arguments. Returns the text of its answer.
    ///
    /// # Errors
    ///
    /// [`Error::Tool`] when the tool refuses or fails.
    ///
    /// ```no_run
    /// # async fn example(session: berth_client::Session) -> Result<(), berth_client::Error> {
    /// let args = std::collections::BTreeMap::from([("path", "/home/user")]);
    /// println!("{}", session.call_mcp_tool("list_directory", &args).await?);
    /// # Ok(()) }
    /// ```
    pub async fn call_mcp_tool(&self, name: &str, args: &impl Serialize) -> Result<String, Error> {
        self.call_tool(name, args, TOOL_TIMEOUT).await?.ok(name)
    }

    /// The tools of an image; of this session's if it was made by this client and `image_id` is `None`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] when there is no such image, or none is named.
    pub async fn list_mcp_tools(&self, image_id: Option<&str>) -> Result<Vec<McpTool>, Error> {
        let image = image_id.or(self.image_id()).ok_or_else(|| {
            Error::invalid(
                "image_id",
                "missing",
                "the name of an image, for a session that was not made here",
            )
        })?;
        let call = Call::post(&["mcp", "listTools"]).query("imageId", image);
        let text = self.agb.http.call::<String>(call).await?.data;
        serde_json::from_str(&text).map_err(|error| Error::Protocol(format!("the list of tools: {error}")))
    }

    /// What the session uses now.
    ///
    /// # Errors
    ///
    /// [`Error::SessionEnded`] when it is over.
    pub async fn get_metrics(&self) -> Result<SessionMetrics, Error> {
        let text = self.call_mcp_tool("get_metrics", &serde_json::json!({})).await?;
        serde_json::from_str(&text).map_err(|error| Error::Protocol(format!("the metrics: {error}")))
    }

    /// Calls a tool: on the link route if the session told it, else on the API route.
    pub(crate) async fn call_tool(
        &self,
        name: &str,
        args: &impl Serialize,
        limit: Duration,
    ) -> Result<Answered, Error> {
        let args = to_raw_value(args)
            .map_err(|error| Error::invalid("args", format!("not JSON ({error})"), "a JSON object"))?;
        let server = self.tool_server(name);
        let answer = match server.filter(|_| !self.link_url().is_empty() && !self.token().is_empty()) {
            Some(server) => {
                let body = LinkCall {
                    args: Some(&args),
                    tool: Some(name.to_owned()),
                    server: Some(server.to_owned()),
                    request_id: None,
                    token: None,
                };
                let url = format!("{}/callTool", self.link_url());
                let body = json(&body)?;
                let http = &self.agb.http;
                let answer = http
                    .post_with_token(&url, self.token(), self.session_id(), body, limit)
                    .await?;
                let answer = serde_json::from_slice::<LinkAnswer>(&answer);
                answer
                    .map_err(|error| Error::Protocol(format!("the answer of `{name}`: {error}")))?
                    .data
                    .result
            }
            None => {
                let body = CallTool {
                    args: Some(args.get().to_owned()),
                    session_id: Some(self.session_id().to_owned()),
                    name: Some(name.to_owned()),
                };
                let call = Call::post(&["mcp"])
                    .query("autoGenSession", "false")
                    .body(&body)?;
                let call = call.about(self.session_id()).within(limit);
                self.agb.http.call::<ToolAnswer>(call).await?.data
            }
        };
        self.answered(answer)
    }

    /// The link route says in a tool's words that the session is over.
    fn answered(&self, answer: ToolAnswer) -> Result<Answered, Error> {
        let is_error = answer.is_error;
        let text = answer
            .content
            .into_iter()
            .next()
            .map(|block| block.text)
            .unwrap_or_default();
        if is_error && text.starts_with(&format!("session `{}` not found", self.session_id())) {
            return Err(Error::SessionEnded {
                id: self.session_id().to_owned(),
                message: text,
            });
        }
        Ok(Answered { is_error, text })
    }
}

/// A tool's answer: its one block of text.
pub(crate) struct Answered {
    pub(crate) is_error: bool,
    pub(crate) text: String,
}

impl Answered {
    /// The text, if it is not that of a failure.
    pub(crate) fn ok(self, tool: &str) -> Result<String, Error> {
        match self.is_error {
            false => Ok(self.text),
            true => Err(Error::Tool {
                tool: tool.to_owned(),
                message: self.text,
            }),
        }
    }
}
