//! The Model Context Protocol: a session's tools for any client that speaks it.
//!
//! | where | transport | whose session |
//! |---|---|---|
//! | `/link/{session}/mcp` | Streamable HTTP | the one that is named; key or token |
//! | `/v2/mcp` | Streamable HTTP | one made when the client introduces itself, released when it says goodbye |
//! | `/v2/sse` | HTTP with Server-Sent Events, of 2024 | one made likewise, released when the connection closes |
//!
//! In: JSON-RPC messages of a caller that [`crate::auth`] has let in. Out: `rmcp` speaks the protocol, [`crate::calls`] runs the
//! tools; a call counts as use of the session and is counted and written down as on every other route.
//!
//! Nothing here outlives its request but the sender of an open event stream and the handles of calls that may be cancelled. A
//! client's MCP session *is* its Berth session, under the same id, so it also outlives the server.
//!
//! Start reading at [`tools`] for what clients can ask, then [`http`] and [`sse`] for how it reaches them.

mod catalogue;
mod content;
mod http;
mod message;
mod refusal;
mod sse;
mod tenancy;
mod tools;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use berth_guest_api::ToolSpec;
use rmcp::model::{ClientJsonRpcMessage, Tool};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(crate) use self::http::{SESSION_ID, Visit, answer};
pub(crate) use message::Message;
pub(crate) use refusal::{as_not_found, is_spoken_on, with_json_rpc};
pub(crate) use sse::{deliver, open};
pub(crate) use tenancy::Wanted;
pub(crate) use tools::Seat;

/// Who made a request that may be cancelled, and under which id: the Berth session, the client, the id as JSON.
type CallId = (String, String, String);

/// Longest message of a client. Less than other bodies: its values take many times their text in memory.
pub(crate) const MESSAGE_BYTES_MAX: usize = 8 << 20;

/// What requests share.
#[derive(Debug)]
pub(crate) struct Mcp {
    tools: Vec<Tool>,
    calls: Mutex<HashMap<CallId, CancellationToken>>,
    streams: Mutex<HashMap<String, mpsc::Sender<ClientJsonRpcMessage>>>,
}

impl Mcp {
    pub(crate) fn new(tools: &[ToolSpec]) -> Self {
        Self {
            tools: tools.iter().map(catalogue::tool).collect(),
            calls: Mutex::default(),
            streams: Mutex::default(),
        }
    }

    fn calls(&self) -> std::sync::MutexGuard<'_, HashMap<CallId, CancellationToken>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn streams(&self) -> std::sync::MutexGuard<'_, HashMap<String, mpsc::Sender<ClientJsonRpcMessage>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name that nobody can guess.
fn new_secret() -> String {
    use rand::RngExt;
    let random: [u128; 2] = [rand::rng().random(), rand::rng().random()];
    format!("{:032x}{:032x}", random[0], random[1])
}
