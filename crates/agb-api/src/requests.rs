//! What the clients send. Every member may be missing or `null`; the server says which one it needed.
//!
//! The schemas are stricter than the reading: they tell a new client what to send, and the forms that the old ones send
//! besides are accepted all the same.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

/// Query of `POST /mcp/createSession`. The clients' telemetry (`sdkStats`) is ignored.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct CreateSessionQuery {
    /// The image to make the session from.
    #[param(value_type = String, required, example = "agb-code-space-1")]
    pub image_id: Option<String>,
}

/// Body of `POST /mcp/createSession`.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreateSession {
    /// Labels: JSON text in a string.
    #[schema(example = "{\"project\":\"demo\"}")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<String>,
    /// Name of a policy; opaque to the clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mcp_policy_id: Option<String>,
    /// Idle release in seconds. The TypeScript client sends 0 for "not given".
    #[schema(minimum = 0)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
    /// Contexts to mount.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistence_data_list: Option<Vec<serde_json::Value>>,
}

/// A session id, in a body or in a query: which of the two depends on the route and the client.
#[derive(Debug, Default, Deserialize, Serialize, IntoParams, ToSchema)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct SessionRef {
    /// The session.
    #[param(value_type = String, required)]
    #[schema(value_type = String, required)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
}

/// Query of `GET /sdk/ListSession`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct ListSessions {
    /// Page length; text, because clients pass on whatever their caller gave.
    #[param(value_type = u32, required = false, minimum = 1, maximum = 100, default = 10)]
    pub max_results: Option<String>,
    /// From the previous page.
    pub next_token: Option<String>,
    /// All of these labels must match: JSON text.
    pub labels: Option<String>,
}

/// Query of `POST /sdk/SetLabel` and `GET /sdk/GetLabel`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LabelQuery {
    /// The session.
    #[param(value_type = String, required)]
    #[serde(rename = "sessionId")]
    pub session_id: Option<String>,
    /// The new labels: JSON text. A capital letter here, unlike everywhere else.
    #[param(value_type = String, required, example = "{\"project\":\"demo\"}")]
    #[serde(rename = "Labels")]
    pub labels: Option<String>,
}

/// Query of `POST /mcp/listTools`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct ListTools {
    /// The image whose tools are asked for.
    #[param(value_type = String, required, example = "agb-code-space-1")]
    pub image_id: Option<String>,
}

/// Query of `GET /internet/getLink` and `GET /mcp/getLink`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct GetLink {
    /// The session.
    #[param(value_type = String, required)]
    pub session_id: Option<String>,
    /// What the caller will speak there (`http`, `https`, `ws`, `wss`); the scheme of the URL follows it.
    pub protocol_type: Option<String>,
    /// The port. The TypeScript client sends 0 for "not given". Text, so that a refusal can name what is no number.
    #[param(value_type = u16, required = false)]
    pub port: Option<String>,
}

/// Body of `POST /mcp`: a tool call on the API route.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallTool {
    /// The arguments: a JSON object, as text in a string.
    #[schema(example = "{\"command\":\"true\"}")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<String>,
    /// The session.
    #[schema(value_type = String, required)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The tool.
    #[schema(value_type = String, required, pattern = "^[0-9A-Za-z_]{1,100}$", example = "shell")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Body of `POST {linkUrl}/callTool`: a tool call on the link route. The session stands in the URL.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinkCall<'a> {
    /// The arguments: a JSON object, passed on as it stands.
    #[schema(value_type = Object, required = false)]
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub args: Option<&'a RawValue>,
    /// The tool.
    #[schema(value_type = String, required, pattern = "^[0-9A-Za-z_]{1,100}$", example = "shell")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The tool's server name, from the session's `toolList`; a session has each tool once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Made by the client, given back to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The token again; the header decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_call_keeps_its_arguments_as_they_stand() {
        // A lone surrogate, as a client makes it by cutting text between two UTF-16 units.
        let body = r#"{"args":{"content":"\ud83d"},"tool":"write_file","token":"t","requestId":"link-1","server":"s"}"#;
        let call: LinkCall<'_> = serde_json::from_str(body).unwrap();
        assert_eq!(call.args.unwrap().get(), r#"{"content":"\ud83d"}"#);
    }

    #[test]
    fn null_members_are_missing_members() {
        let body: CreateSession = serde_json::from_str(r#"{"labels":null,"timeout":null}"#).unwrap();
        assert!(body.labels.is_none() && body.timeout.is_none());
    }
}
