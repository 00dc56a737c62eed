//! The frame of a JSON-RPC message: what has to be known of it before `rmcp` reads the rest.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};

use crate::body::read_object;
use crate::error::ApiError;

/// A message of an MCP client: a request if it has an `id`, a notification if not.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = McpMessage)]
pub(crate) struct Message<'a> {
    /// The version of JSON-RPC.
    #[schema(value_type = String, pattern = "^2\\.0$", example = "2.0")]
    #[serde(rename = "jsonrpc")]
    _version: Version,
    /// Comes back in the answer.
    #[schema(schema_with = id_schema)]
    #[serde(default, deserialize_with = "present")]
    pub(super) id: Option<Id>,
    /// `initialize`, `ping`, `tools/list`, `tools/call`, or another of the protocol's.
    #[schema(value_type = String, example = "ping")]
    #[serde(borrow)]
    pub(super) method: Cow<'a, str>,
    /// What the method takes.
    #[schema(value_type = Object)]
    #[serde(borrow, default, deserialize_with = "object")]
    params: Option<&'a RawValue>,
}

/// The id of a request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum Id {
    Number(i64),
    Text(String),
}

/// The only version there is.
#[derive(Debug, Deserialize)]
enum Version {
    #[serde(rename = "2.0")]
    Two,
}

impl<'a> Message<'a> {
    /// Reads the frame; what is no JSON-RPC is refused, and so is an answer, since this server asks nothing.
    pub(super) fn read(text: &'a [u8]) -> Result<Self, ApiError> {
        read_object(text)
    }

    /// Makes the client known to the server.
    pub(super) fn introduces(&self) -> bool {
        self.method == "initialize"
    }

    /// The request that this notification cancels.
    pub(super) fn cancels(&self) -> Option<Id> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Cancelled {
            request_id: Id,
        }
        let params = self.params.filter(|_| self.method == "notifications/cancelled")?;
        let cancelled: Cancelled = serde_json::from_str(params.get()).ok()?;
        Some(cancelled.request_id)
    }
}

impl Id {
    /// The id as it stands in JSON: `1` and `"1"` are two.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
        }
    }
}

fn id_schema() -> Schema {
    let id = OneOfBuilder::new()
        .item(ObjectBuilder::new().schema_type(Type::Integer))
        .item(ObjectBuilder::new().schema_type(Type::String))
        .description(Some("Comes back in the answer."))
        .examples([1])
        .build();
    Schema::OneOf(id)
}

/// A member that may be missing, but not `null`: a `null` id would be a request that nobody can answer.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Id>, D::Error> {
    Id::deserialize(deserializer).map(Some)
}

fn object<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    let value = <&RawValue>::deserialize(deserializer)?;
    match value.get().starts_with('{') {
        true => Ok(Some(value)),
        false => Err(serde::de::Error::custom("`params` is not an object")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_or_refused() {
        let text = br#"{"jsonrpc":"2.0","id":"a","method":"initialize","params":{"x":[1]},"more":1}"#;
        let message = Message::read(text).unwrap();
        assert_eq!(message.id, Some(Id::Text("a".into())));
        assert!(message.introduces() && message.cancels().is_none());
        for bad in [
            "",
            "[]",
            "null",
            r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#,
        ] {
            assert!(Message::read(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_cancellation_names_its_request() {
        let read = |text: &str| Message::read(text.as_bytes()).unwrap().cancels();
        let cancels = |id: &str| {
            read(&format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id},"reason":"r"}}}}"#
            ))
        };
        assert_eq!(cancels("7"), Some(Id::Number(7)));
        assert_ne!(cancels("7").unwrap().text(), cancels("\"7\"").unwrap().text());
        assert_eq!(cancels("{}"), None);
        assert_eq!(
            read(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#),
            None
        );
    }
}
