//! Berth's own routes under `/api/v1`, for what the AGB API has no words for: pausing, why a session ended, its log,
//! tickets of the live view that carry fewer rights and can be revoked.
//!
//! They take the same API keys and answer in the same envelope. Both ends are ours, so the types are read and written.
//! Times are RFC 3339 in UTC; durations are seconds, sizes are bytes, as the names say.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How far a session has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum SessionStatus {
    /// It takes calls.
    Running,
    /// Its processes are frozen; the next call thaws them.
    Paused,
    /// It is over. Its id stays known for a day.
    Finish,
}

/// One row of `GET /api/v1/sessions`, which lists a key's live sessions, newest first. Its query has `limit` (1 to 100,
/// default 10), `nextToken` and `labels` (a JSON object); its answer has the paging members of `ListSession`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionSummary {
    /// The session.
    pub session_id: String,
    /// The image it was made from.
    pub image: String,
    /// How far it has come.
    pub status: SessionStatus,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// When it was made.
    pub created_at: String,
}

/// `data` of `GET /api/v1/sessions/{id}`, which also answers for a session that has ended; and of
/// `POST /api/v1/sessions/{id}/pause` and `/resume`, which succeed again when there is nothing left to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionDetail {
    /// What the list shows of it.
    #[serde(flatten)]
    pub summary: SessionSummary,
    /// What it runs in.
    pub resource_id: String,
    /// Released (or paused) after so long without use.
    pub idle_timeout_seconds: u64,
    /// How long it has not been used; absent when it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_seconds: Option<u64>,
    /// When its lifetime is over, if it has a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<String>,
    /// The memory that it may use.
    pub memory_limit_bytes: u64,
    /// The most that it has used at once, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_peak_bytes: Option<u64>,
    /// Live views that are open now.
    pub viewers: u32,
    /// How the server's recording of it goes; absent when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<RecordingStatus>,
    /// Why it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<SessionEnd>,
}

/// How a recording goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum RecordingStatus {
    /// It is under way.
    Recording,
    /// Its file is full: what follows is not recorded.
    Full,
    /// Its file could not be written, and what follows is not recorded; the server's log says why.
    Failed,
}

/// Why and when a session ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionEnd {
    /// For programs: `released`, `idle`, `lifetime`, `out-of-memory`, `crashed`, `server-stopped`, `host-restarted`,
    /// `key-revoked`.
    pub reason: String,
    /// For people.
    pub text: String,
    /// When it ended, once nothing is left of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

/// `data` of `GET /api/v1/sessions/{id}/log`: the last lines that its guest wrote, oldest first. They come from inside the
/// session: show them, do not trust them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionLog {
    /// The lines.
    pub lines: Vec<String>,
}

/// Body of `POST /api/v1/sessions/{id}/tickets`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewTicket {
    /// What its holder may do: `view`, `control`, `clipboard-in` (from the page to the session), `clipboard-out` (from the
    /// session to the page), `files`. `view` is always among them.
    #[schema(value_type = Vec<String>, required, example = json!(["view"]))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rights: Option<Vec<String>>,
    /// What its holder is called, for people to see.
    #[schema(max_length = 64)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How long it is valid; as long as every live view URL of the server if absent.
    #[schema(minimum = 1, maximum = 86400)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<i64>,
}

/// A live view ticket that was made to be shared. `data` of `GET /api/v1/sessions/{id}/tickets` is a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ticket {
    /// Names it when it is to be revoked, and in the audit log. No secret.
    pub ticket_id: String,
    /// What its holder may do.
    pub rights: Vec<String>,
    /// What its holder is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When it stops being valid.
    pub expires_at: String,
}

/// `data` of `POST /api/v1/sessions/{id}/tickets`: the only time that the URL is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SharedView {
    /// The live view's page. Whoever has it has the rights.
    pub url: String,
    /// The ticket in it.
    #[serde(flatten)]
    pub ticket: Ticket,
}

/// `data` of `GET /api/v1/sessions/{id}/viewers`, which comes from inside the session as it stands: show it, do not trust
/// it. More members may come.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Viewers {
    /// Who is looking.
    pub viewers: Vec<Viewer>,
    /// What the agent does on the screen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<serde_json::Value>,
}

/// Somebody who looks at a session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Viewer {
    /// Counts the viewers of this session.
    pub id: u64,
    /// What the ticket's holder is called; empty if nobody said.
    pub name: String,
    /// The ticket's id; empty for the URL that the session's owner gets.
    pub ticket: String,
    /// What this one may do.
    pub rights: Vec<String>,
    /// Since when, in Unix milliseconds.
    pub since: i64,
    /// This one has the control now.
    pub control: bool,
}
