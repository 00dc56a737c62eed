//! The private contract between the edge and the guest: which routes the guest serves, and what is said on them.
//!
//! The guest listens on a Unix socket that the host made and passed in as file descriptor 3. It speaks HTTP/1.1 there.
//! The edge has authenticated the caller before a request reaches the guest; the guest trusts the socket, the host
//! trusts nothing that comes back: every length is bounded where it is read.
//!
//! | route | meaning |
//! |---|---|
//! | `GET /v1/hello` | [`Hello`]: versions and tools; answers as soon as the guest can run tools |
//! | `GET /v1/activity` | [`Activity`]: how long ago the session was last used |
//! | `POST /v1/tools/{name}` | body: the tool's arguments, a JSON object; answer: [`ToolResult`], always 200 for a known tool; [`TOOL_FAILED`] when it is an error |
//! | `GET /v1/stream` | WebSocket: code runs with live output, in the protocol of the session's `ws_url` |
//! | `GET /v1/processes/{id}?position=N` | WebSocket: a process that `start_process` started, with what it wrote from that position on |
//! | `GET /v1/files?path=P` | the bytes of a file, or of a `Range` of it; 400 with a reason |
//! | `PUT /v1/files?path=P` | the body becomes the file; 204, or 400 with a reason |
//! | `GET /v1/pictures/{id}` | the picture that `system_screenshot` took, a PNG; 404 with a reason when it is not kept any more |
//! | `GET /v1/view` | WebSocket: the live view, in the frame format of `berth-screen`; [`VIEW_RIGHTS`], [`VIEW_NAME`], [`VIEW_TICKET`] and [`VIEW_QUIET`] say whose, [`VIEW_HELLO`] what the page said already, [`VIEW_RUNS`] what else it is told |
//! | `GET /v1/viewers` | who is looking: a JSON object, shown to the session's owner as it stands |
//! | `GET /v1/view-files` | what a live view can download: [`ViewFiles`] |
//! | `GET /v1/view-files?path=P` | the bytes of one of these, as `GET /v1/files` |
//! | `PUT /v1/view-files?name=N` | the body becomes a new file on the desktop: [`ViewUpload`], or 400 with a reason |
//! | `GET /v1/ports/{port}` | with `Upgrade: tcp`: a connection to that port of the session; 502 when nothing listens there |
//!
//! Sessions outlive the server, so a newer server meets older guests: fields are only added, never changed, and
//! [`CONTRACT_VERSION`] rises when a route changes its meaning.
//!
//! No I/O here. Start reading at [`Hello`].

mod percent;
mod rights;

use serde::{Deserialize, Serialize};

pub use percent::{percent_decode, percent_encode};
pub use rights::{UnknownRight, ViewRight, ViewRights};

/// Version of this contract. The server keeps serving guests of the previous one.
pub const CONTRACT_VERSION: u32 = 1;

/// The file descriptor on which the guest finds its listening socket.
pub const LISTEN_FD: i32 = 3;

/// Where the guest's binary is mounted inside the sandbox, read-only.
pub const GUEST_PATH: &str = "/opt/berth/berth-guest";

/// [`Hello`].
pub const HELLO: &str = "/v1/hello";
/// [`Activity`].
pub const ACTIVITY: &str = "/v1/activity";
/// Prefix of the tool routes; the tool's name follows.
pub const TOOLS: &str = "/v1/tools/";
/// Header of a tool's answer that says `isError`: the edge counts it without reading the answer.
pub const TOOL_FAILED: &str = "x-tool-failed";
/// Header of a tool call with the URL below which its caller finds the session's pictures, with a slash at the end. The edge
/// makes the head of every call anew, so no client can send it.
pub const PICTURES_URL: &str = "x-pictures-url";
/// Prefix of the picture routes; the picture's id follows.
pub const PICTURES: &str = "/v1/pictures/";
/// The largest picture there is.
pub const PICTURE_BYTES_MAX: usize = 32 << 20;
/// The streaming WebSocket.
pub const STREAM: &str = "/v1/stream";
/// The live view's WebSocket.
pub const VIEW: &str = "/v1/view";
/// Header of [`VIEW`]: the [`ViewRights`] of whoever opens it. Without it, from an older edge, all of them. A guest that keeps
/// to it says [`FEATURE_VIEW_RIGHTS`]; no view with fewer rights than to control is opened at another one.
pub const VIEW_RIGHTS: &str = "x-berth-view-rights";
/// Header of [`VIEW`]: what the viewer is called, for other people to see; at most 64 characters, written by [`percent_encode`].
pub const VIEW_NAME: &str = "x-berth-view-name";
/// Header of [`VIEW`]: the ticket's id, which is no secret; empty for the URL that a session's owner gets.
pub const VIEW_TICKET: &str = "x-berth-view-ticket";
/// Header of [`VIEW`]: this one is a recorder's, which opens views again and again. It is no use of the session, and not
/// counted. A guest that is older than this counts it.
pub const VIEW_QUIET: &str = "x-berth-view-quiet";
/// Header of [`VIEW`]: the page's first message, in URL-safe base64 without padding. A page that said it with its URL sees the
/// first picture a round trip earlier. It says it again on the socket, as an older guest waits for that.
pub const VIEW_HELLO: &str = "x-berth-view-hello";
/// Longest value of [`VIEW_HELLO`].
pub const VIEW_HELLO_BYTES_MAX: usize = 64;
/// Header of [`VIEW`]: this is the server's own recorder, which is also told of code that ran on a stream, as the server does
/// not read streams: a message of kind [`VIEW_RUN`], then a [`StreamRun`] as JSON, at most [`STREAM_RUN_BYTES_MAX`]. The edge
/// makes the head of every view anew, so no client can send it. A guest that is older than this tells nothing.
pub const VIEW_RUNS: &str = "x-berth-view-runs";
/// First byte of a message with a [`StreamRun`]. No page ever gets one.
pub const VIEW_RUN: u8 = 0xF0;
/// Longest [`StreamRun`].
pub const STREAM_RUN_BYTES_MAX: usize = 256 << 10;
/// Bytes of a run's arguments that are told.
pub const STREAM_RUN_ARGUMENTS_MAX: usize = 4 << 10;
/// Bytes of its output that are told.
pub const STREAM_RUN_OUTPUT_MAX: usize = 16 << 10;
/// Who is looking: `{"viewers":[{"id","name","ticket","rights","since","control"}],"agent":{}}`; no viewers when there is no
/// desktop. At most [`VIEWERS_BYTES_MAX`]. A guest that answers 404 here is older than that.
pub const VIEWERS: &str = "/v1/viewers";
/// Longest answer of [`VIEWERS`].
pub const VIEWERS_BYTES_MAX: usize = 64 << 10;
/// Files of a live view. A guest that answers 404 here is older than that.
pub const VIEW_FILES: &str = "/v1/view-files";
/// In [`Hello::features`]: the guest keeps to [`VIEW_RIGHTS`].
pub const FEATURE_VIEW_RIGHTS: &str = "view-rights";
/// Prefix of the port routes; the port's number follows. A guest that answers 404 here is older than ports.
pub const PORTS: &str = "/v1/ports/";
/// Whole files, as they are. A guest that answers 404 here is older than that.
pub const FILES: &str = "/v1/files";
/// Prefix of the process routes; the process's id follows. A guest that answers 404 with no text is older than them.
pub const PROCESSES: &str = "/v1/processes/";
/// What a port connection is upgraded to: raw bytes both ways, each direction with its own end.
pub const PORT_UPGRADE: &str = "tcp";

/// What a guest says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`CONTRACT_VERSION`] of the guest.
    pub contract_version: u32,
    /// The guest's package version, for logs.
    pub guest_version: String,
    /// The interpreters are warm: a first run answers at once. Tools work before that too.
    #[serde(default)]
    pub warm: bool,
    /// What this guest keeps to beyond its contract's version, each in a word such as [`FEATURE_VIEW_RIGHTS`].
    #[serde(default)]
    pub features: Vec<String>,
    /// The tools that this guest runs.
    pub tools: Vec<ToolSpec>,
}

/// One tool as clients see it. The member names are those of the AGB API's tool catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolSpec {
    /// What the tool is called by.
    pub name: String,
    /// What it does, for a model to read.
    pub description: String,
    /// JSON Schema of the arguments.
    pub input_schema: serde_json::Value,
    /// The group it belongs to; clients send it back on the link route and as a stream's target.
    pub server: String,
    /// The name again; the catalogue has both.
    pub tool: String,
}

/// When the session was last used, by what the guest can see: tools, streams, a person's input in a live view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// Milliseconds since the last use; 0 while a tool or a stream's code is running.
    pub idle_ms: u64,
    /// Tools and runs that are under way now.
    #[serde(default)]
    pub running: u32,
    /// Live views that are open now.
    pub viewers: u32,
}

/// Code that ran on a stream, and is over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamRun {
    /// Counts the runs, from 1: views that are open side by side are told of the same one.
    pub number: u64,
    /// The parameters as they came, cut.
    pub arguments: String,
    /// What it wrote and showed as text, in its order, and why it failed; cut.
    pub output: String,
    /// Bytes that were left out.
    pub cut: u64,
    /// It failed.
    pub failed: bool,
    /// How long it took.
    pub duration_ms: u64,
}

/// What a live view can download: plain files right in `~/Desktop` and `~/Downloads`, those that changed last first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewFiles {
    /// At most 500.
    pub files: Vec<ViewFile>,
    /// There are more.
    pub truncated: bool,
}

/// A file that a live view can download.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewFile {
    /// Its name.
    pub name: String,
    /// `Desktop` or `Downloads`.
    pub folder: String,
    /// Where it is: what a download asks for.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// When it changed, in Unix milliseconds.
    pub modified: i64,
}

/// A file that a live view has put on the desktop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewUpload {
    /// Where it is. Its name has a number when the one that was asked for was taken.
    pub path: String,
    /// Bytes.
    pub size: u64,
}

/// What a tool answered. Also the form in which clients get it, so the edge passes it on unread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolResult {
    /// The tool refused or failed; `content` says why.
    pub is_error: bool,
    /// One block for every tool of this version.
    pub content: Vec<Content>,
}

/// One block of a tool's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Content {
    /// Text; for many tools a JSON document.
    Text {
        /// The text.
        text: String,
    },
}

impl ToolResult {
    /// A successful answer with one text block.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            is_error: false,
            content: vec![Content::Text { text: text.into() }],
        }
    }

    /// A failure with one text block that says why.
    pub fn error(text: impl Into<String>) -> Self {
        Self {
            is_error: true,
            content: vec![Content::Text { text: text.into() }],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_has_the_form_that_clients_read() {
        let json = serde_json::to_string(&ToolResult::error("boom")).unwrap();
        assert_eq!(
            json,
            r#"{"isError":true,"content":[{"type":"text","text":"boom"}]}"#
        );
    }
}
