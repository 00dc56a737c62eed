//! Berth's own routes under `/api/v1`, for what the AGB API has no words for: pausing, why a session ended, its log.
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
    /// Why it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<SessionEnd>,
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
