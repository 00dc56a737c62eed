//! The Rust SDK of Berth: sessions, commands, code, files, from a program of your own.
//!
//! The names are those of the official SDKs (`agb.create`, `session.command.execute`, `session.code.run`), the manners
//! are Rust's: what failed is an [`Error`] with a kind for each thing that a caller can act on. Berth's own routes
//! (details, pausing, logs, shared live views) are methods of [`Agb`] too.
//!
//! ```no_run
//! use berth_client::{Agb, AgbConfig, CreateSessionParams};
//!
//! # async fn example() -> Result<(), berth_client::Error> {
//! let agb = Agb::new(AgbConfig::from_env()?)?;
//! let session = agb.create(CreateSessionParams::new("agb-code-space-1")).await?;
//!
//! let done = session.command().execute("uname -a").await?;
//! println!("{}", done.stdout);
//!
//! let run = session.code().run("6 * 7", "python").await?;
//! println!("{}", run.text());
//!
//! agb.delete(&session).await?;
//! # Ok(()) }
//! ```
//!
//! In: an endpoint and an API key. Out: HTTP to that endpoint and to the URLs that it hands out. Tools are called on the
//! session's link route over kept connections. Every answer is bounded; what cannot be repeated safely is sent once.
//!
//! Start reading at [`Agb`], then [`Session`]; `http` is the one place where requests are sent and refusals get their kind.

mod agb;
mod code;
mod command;
mod config;
mod error;
mod file;
mod http;
mod own;
mod process;
mod session;
mod socket;
mod stream;
mod tools;
mod view;

pub use agb::{Agb, CreateSessionParams, ListParams, SessionListResult};
pub use berth_agb_api::own::{
    RecordingStatus, SessionDetail, SessionEnd, SessionLog, SessionStatus, SessionSummary, SharedView,
    Ticket, Viewer, Viewers,
};
pub use code::{Code, EnhancedCodeExecutionResult, ExecutionError, ExecutionLogs, ExecutionResult, Run};
pub use command::{Command, CommandResult, Execute};
pub use config::AgbConfig;
pub use error::Error;
pub use file::{DirectoryEntry, FileInfo, FileSystem, WriteMode};
pub use own::{SessionPage, ShareParams};
pub use process::{ProcessEvent, ProcessInfo, ProcessStream, StartProcess, TerminalSize};
pub use session::{Session, SessionInfo};
pub use stream::{RunEvent, RunStream};
pub use tools::{McpTool, SessionMetrics};
pub use view::LiveView;
