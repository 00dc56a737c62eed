//! The response envelope: the same five members around every answer.
//!
//! Rules that the clients force (both SDKs, all routes): a success is exactly HTTP 200 with `success: true`; a failure
//! is 4xx or 5xx with `success: false`, a non-empty `message` and **no** `data` member (a `null` there breaks the
//! TypeScript client); `httpStatusCode` equals the HTTP status.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::Code;

/// What every success says. By itself it is the answer of a route without `data`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    /// Also in the server's log and in the `x-request-id` header.
    request_id: String,
    success: bool,
    #[schema(example = "ok")]
    code: &'static str,
    /// `null`.
    #[schema(value_type = Option<String>, required)]
    message: Option<()>,
    #[schema(example = 200)]
    http_status_code: u16,
}

impl Envelope {
    /// A success without `data`.
    pub fn new(request_id: impl Into<String>) -> Self {
        Self {
            request_id: request_id.into(),
            success: true,
            code: "ok",
            message: None,
            http_status_code: 200,
        }
    }
}

/// A success that carries the route's `data`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Success<T> {
    #[serde(flatten)]
    envelope: Envelope,
    data: T,
}

impl<T> Success<T> {
    /// A success that carries `data`.
    pub fn new(request_id: impl Into<String>, data: T) -> Self {
        Self {
            envelope: Envelope::new(request_id),
            data,
        }
    }
}

/// A page of a list: its paging members stand at the top level, beside the array in `data`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    #[serde(flatten)]
    envelope: Envelope,
    data: Vec<T>,
    /// Opaque; empty on the last page.
    next_token: String,
    max_results: u32,
    /// All matches, not those on this page.
    count: u64,
}

impl<T> Page<T> {
    /// One page. `count` is the number of matches on all pages.
    pub fn new(
        request_id: impl Into<String>,
        items: Vec<T>,
        next_token: Option<String>,
        max_results: u32,
        count: u64,
    ) -> Self {
        Self {
            envelope: Envelope::new(request_id),
            data: items,
            next_token: next_token.unwrap_or_default(),
            max_results,
            count,
        }
    }
}

/// A failure.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failure<'a> {
    request_id: &'a str,
    #[schema(example = false)]
    success: bool,
    code: &'static str,
    /// For people: what was refused and what is allowed.
    message: &'a str,
    http_status_code: u16,
}

impl<'a> Failure<'a> {
    /// A failure with its code and the text that the client shows.
    pub fn new(request_id: &'a str, code: Code, message: &'a str) -> Self {
        Self {
            request_id,
            success: false,
            code: code.as_str(),
            message,
            http_status_code: code.status(),
        }
    }
}

/// Any of them, as a client reads it: whether it is a success decides what else must be there.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Received<'a> {
    /// For the server's log.
    pub request_id: Option<String>,
    /// Whether `data` holds what was asked for.
    pub success: bool,
    /// One of [`Code`]'s words, or another server's.
    pub code: Option<String>,
    /// Why it failed.
    pub message: Option<String>,
    /// What was asked for, unread.
    #[serde(borrow)]
    pub data: Option<&'a RawValue>,
    /// Of a [`Page`].
    pub next_token: Option<String>,
    /// Of a [`Page`].
    pub max_results: Option<u32>,
    /// Of a [`Page`].
    pub count: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_has_no_data_member() {
        let json =
            serde_json::to_value(Failure::new("r-1", Code::SessionNotFound, "session not found")).unwrap();
        assert!(json.get("data").is_none());
        assert_eq!(json["httpStatusCode"], 400);
        assert_eq!(json["success"], false);
    }

    #[test]
    fn paging_members_stand_beside_data() {
        let json = serde_json::to_value(Page::new("r-1", vec![1, 2], None, 10, 2)).unwrap();
        assert_eq!(json["data"], serde_json::json!([1, 2]));
        assert_eq!(json["nextToken"], "");
        assert_eq!(json["count"], 2);
        assert_eq!(json["message"], serde_json::Value::Null);
    }

    #[test]
    fn what_is_written_is_read() {
        let text = serde_json::to_string(&Page::new("r-1", vec!["x"], Some("t".into()), 10, 2)).unwrap();
        let read: Received<'_> = serde_json::from_str(&text).unwrap();
        assert!(read.success);
        assert_eq!(read.data.unwrap().get(), r#"["x"]"#);
        assert_eq!((read.next_token.as_deref(), read.count), (Some("t"), Some(2)));
        let text = serde_json::to_string(&Failure::new("r-1", Code::NoCapacity, "full")).unwrap();
        let read: Received<'_> = serde_json::from_str(&text).unwrap();
        assert!(!read.success && read.data.is_none());
        assert_eq!(read.code.as_deref(), Some(Code::NoCapacity.as_str()));
    }

    #[test]
    fn an_envelope_alone_has_no_data() {
        let json = serde_json::to_value(Envelope::new("r-1")).unwrap();
        assert!(json.get("data").is_none());
        assert_eq!(json["code"], "ok");
    }
}
