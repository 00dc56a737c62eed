//! What the clients read: the `data` members of each route.
//!
//! The server writes them in full; reading them is lenient, since other servers of this API leave members out. `S` is how
//! the protocol's own words are held: constants where they are written, a `String` where they are read.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `data` of `createSession` and `getSession`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Session)]
pub struct Session<S = &'static str> {
    /// The id by which all other routes know it.
    pub session_id: String,
    /// Never empty; clients show it.
    #[serde(default)]
    #[schema(required)]
    pub app_instance_id: String,
    /// Never empty; also in `resource_url`.
    #[serde(default)]
    #[schema(required)]
    pub resource_id: String,
    /// The live view's page, with a fresh ticket.
    #[serde(default)]
    #[schema(required)]
    pub resource_url: String,
    /// Base of the link route.
    #[serde(default)]
    #[schema(required)]
    pub link_url: String,
    /// The stream route.
    #[serde(default)]
    #[schema(required)]
    pub ws_url: String,
    /// Credential of both.
    #[serde(default)]
    #[schema(required)]
    pub token: String,
    /// JSON text of an array of [`ToolRef`].
    #[serde(default)]
    #[schema(required)]
    pub tool_list: String,
    /// Only `getSession` has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub status: Option<S>,
}

/// One entry of `toolList`: which tool is reached on the link route, and by which server name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ToolRef<S> {
    /// The tool.
    pub name: S,
    /// Its server name.
    pub server: S,
}

/// `data` of `getSessionInfo`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Status)]
pub struct Status<S = &'static str> {
    /// `RUNNING`; an ended session is an error instead.
    #[schema(value_type = String)]
    pub status: S,
}

/// `data` of `getMcpResource`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Resource)]
pub struct Resource<S = &'static str> {
    /// The session.
    pub session_id: String,
    /// The live view's page, with a fresh ticket.
    pub resource_url: String,
    /// Merged flat into the clients' result.
    #[schema(value_type = DesktopInfo)]
    pub desktop_info: DesktopInfo<S>,
}

/// Part of [`Resource`]. Members that mean nothing here are empty: clients expect them all.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DesktopInfo)]
pub struct DesktopInfo<S = &'static str> {
    /// Unused.
    #[schema(value_type = String)]
    pub app_id: S,
    /// Unused.
    #[schema(value_type = String)]
    pub auth_code: S,
    /// Unused.
    #[schema(value_type = String)]
    pub connection_properties: S,
    /// Equal to the session's `resourceId`.
    pub resource_id: String,
    /// Unused.
    #[schema(value_type = String)]
    pub resource_type: S,
    /// Unused: the ticket stands in `resource_url`.
    #[schema(value_type = String)]
    pub ticket: S,
}

/// `data` of `getLink`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Link {
    /// Leads to the port; ends with a slash.
    pub url: String,
}

/// One row of `ListSession`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ListedSession)]
pub struct ListedSession<S = &'static str> {
    /// The session.
    pub session_id: String,
    /// `RUNNING`: lists hold live sessions only.
    #[schema(value_type = String)]
    pub session_status: S,
}

/// `data` of `GetLabel`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LabelText {
    /// JSON text of an object; an object itself would break the clients.
    pub labels: String,
}

/// `data` of `POST /mcp`, and `data.result` of the link route: what a tool answered. It comes from inside the session,
/// and the server passes it on unread.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToolAnswer {
    /// The tool refused or failed; `content` says why.
    #[serde(default)]
    #[schema(required)]
    pub is_error: bool,
    /// Blocks; Berth's tools answer with one.
    #[serde(default)]
    #[schema(required)]
    pub content: Vec<ToolContent>,
}

/// One block of a [`ToolAnswer`].
#[derive(Debug, Deserialize, ToSchema)]
pub struct ToolContent {
    /// `text`, from every tool of this version.
    #[serde(rename = "type", default)]
    #[schema(required)]
    pub kind: String,
    /// What a block of text holds.
    #[serde(default)]
    pub text: String,
}

/// The answer of the link route. It has no envelope of its own kind: what went wrong stands in `result`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinkAnswer {
    /// 0.
    #[serde(default)]
    #[schema(required)]
    pub code: u32,
    /// The client's, or the server's when the client sent none.
    #[serde(default)]
    #[schema(required)]
    pub request_id: String,
    /// Around the result.
    pub data: LinkData,
}

/// `data` of [`LinkAnswer`].
#[derive(Debug, Deserialize, ToSchema)]
pub struct LinkData {
    /// What the tool answered.
    pub result: ToolAnswer,
}
