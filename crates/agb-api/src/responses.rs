//! What the clients read: the `data` members of each route.

use serde::Serialize;

/// `data` of `createSession` and `getSession`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// The id by which all other routes know it.
    pub session_id: String,
    /// Never empty; clients show it.
    pub app_instance_id: String,
    /// Never empty; also in `resource_url`.
    pub resource_id: String,
    /// The live view's page, with a fresh ticket.
    pub resource_url: String,
    /// Base of the link route.
    pub link_url: String,
    /// The stream route.
    pub ws_url: String,
    /// Credential of both.
    pub token: String,
    /// JSON text of an array of [`ToolRef`].
    pub tool_list: String,
    /// Only `getSession` has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<&'static str>,
}

/// One entry of `toolList`: which tool is reached on the link route, and by which server name.
#[derive(Debug, Serialize)]
pub struct ToolRef<'a> {
    /// The tool.
    pub name: &'a str,
    /// Its server name.
    pub server: &'a str,
}

/// `data` of `getSessionInfo`.
#[derive(Debug, Serialize)]
pub struct Status {
    /// `RUNNING`; an ended session is an error instead.
    pub status: &'static str,
}

/// `data` of `getMcpResource`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// The session.
    pub session_id: String,
    /// The live view's page, with a fresh ticket.
    pub resource_url: String,
    /// Merged flat into the clients' result.
    pub desktop_info: DesktopInfo,
}

/// Part of [`Resource`]. Members that mean nothing here are empty: clients expect them all.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DesktopInfo {
    /// Unused.
    pub app_id: &'static str,
    /// Unused.
    pub auth_code: &'static str,
    /// Unused.
    pub connection_properties: &'static str,
    /// Equal to the session's `resourceId`.
    pub resource_id: String,
    /// Unused.
    pub resource_type: &'static str,
    /// Unused: the ticket stands in `resource_url`.
    pub ticket: &'static str,
}

/// `data` of `getLink`.
#[derive(Debug, Serialize)]
pub struct Link {
    /// Leads to the port; ends with a slash.
    pub url: String,
}

/// One row of `ListSession`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedSession {
    /// The session.
    pub session_id: String,
    /// `RUNNING`: lists hold live sessions only.
    pub session_status: &'static str,
}

/// `data` of `GetLabel`.
#[derive(Debug, Serialize)]
pub struct LabelText {
    /// JSON text of an object; an object itself would break the clients.
    pub labels: String,
}
