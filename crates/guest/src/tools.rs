//! The tools: one file each, the desktop's by what they use, and one table of all. Routes, the tool list and the
//! documentation come from the table.
//!
//! Arguments come as a JSON object, an answer is one text block. A tool that has begun runs to its end or its timeout
//! even when its caller has gone.

mod create_directory;
mod delete_file;
mod desktop;
mod edit_file;
mod get_file_change;
mod get_file_info;
mod get_metrics;
mod list_directory;
mod list_processes;
mod move_file;
mod read_file;
mod read_multiple_files;
mod read_process;
mod run_code;
mod search_files;
mod shell;
mod signal_process;
mod start_process;
pub mod text;
mod write_file;
mod write_process;

use std::pin::Pin;

use berth_guest_api::{ToolResult, ToolSpec};
use bytes::Bytes;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub use signal_process::signal_named;
pub use write_file::Unfinished;

use crate::code::RunError;
use crate::computer::ComputerError;
use crate::files::FileError;
use crate::guest::Guest;
use crate::job::JobError;
use crate::process::ProcessError;

/// What a tool is called, and what it does.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// The name that clients call.
    pub name: &'static str,
    /// The group that clients send along; the live stream of `run_code` is found by it.
    pub server: &'static str,
    /// For a model to read.
    pub description: &'static str,
}

/// One tool.
trait Tool: 'static {
    const SPEC: Spec;
    type Args: DeserializeOwned + JsonSchema + Send;

    fn run(args: Self::Args, guest: Guest) -> impl Future<Output = Result<ToolResult, ToolError>> + Send;
}

/// Why a tool refused or failed. The text is for the caller.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The arguments are not what the tool takes.
    #[error("arguments of `{tool}`: {problem}")]
    Arguments {
        /// The tool.
        tool: &'static str,
        /// Which field, what is wrong.
        problem: String,
    },
    /// A field has the right type and a useless value.
    #[error("`{field}` is {got}; allowed: {allowed}")]
    Field {
        /// The field.
        field: &'static str,
        /// What came.
        got: String,
        /// What may come.
        allowed: &'static str,
    },
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A program.
    #[error(transparent)]
    Job(#[from] JobError),
    /// A process that was started before.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The desktop.
    #[error(transparent)]
    Computer(#[from] ComputerError),
    /// A run of code.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The answer could not be written down.
    #[error("the answer could not be put into JSON: {0}")]
    Answer(#[from] serde_json::Error),
}

impl From<berth_screen::AgentError> for ToolError {
    fn from(error: berth_screen::AgentError) -> Self {
        Self::Computer(error.into())
    }
}

type Call = fn(Bytes, Guest) -> Pin<Box<dyn Future<Output = ToolResult> + Send>>;

/// A row of the table.
pub struct Entry {
    /// Name, group, description.
    pub spec: Spec,
    schema: fn() -> Value,
    /// Runs the tool with a JSON object as arguments.
    pub call: Call,
}

/// Every tool of this guest.
pub static TABLE: [Entry; 47] = [
    entry::<shell::Shell>(),
    entry::<run_code::RunCode>(),
    entry::<read_file::ReadFile>(),
    entry::<write_file::WriteFile>(),
    entry::<get_file_info::GetFileInfo>(),
    entry::<list_directory::ListDirectory>(),
    entry::<create_directory::CreateDirectory>(),
    entry::<edit_file::EditFile>(),
    entry::<move_file::MoveFile>(),
    entry::<delete_file::DeleteFile>(),
    entry::<search_files::SearchFiles>(),
    entry::<read_multiple_files::ReadMultipleFiles>(),
    entry::<get_file_change::GetFileChange>(),
    entry::<start_process::StartProcess>(),
    entry::<list_processes::ListProcesses>(),
    entry::<read_process::ReadProcess>(),
    entry::<write_process::WriteProcess>(),
    entry::<signal_process::SignalProcess>(),
    entry::<desktop::control::GetControl>(),
    entry::<desktop::mouse::ClickMouse>(),
    entry::<desktop::mouse::MoveMouse>(),
    entry::<desktop::mouse::DragMouse>(),
    entry::<desktop::mouse::Scroll>(),
    entry::<desktop::mouse::GetCursorPosition>(),
    entry::<desktop::keyboard::InputText>(),
    entry::<desktop::keyboard::PressKeys>(),
    entry::<desktop::keyboard::ReleaseKeys>(),
    entry::<desktop::screen::GetScreenSize>(),
    entry::<desktop::screen::Screenshot>(),
    entry::<desktop::screen::SystemScreenshot>(),
    entry::<desktop::windows::ListRootWindows>(),
    entry::<desktop::windows::GetActiveWindow>(),
    entry::<desktop::windows::ActivateWindow>(),
    entry::<desktop::windows::CloseWindow>(),
    entry::<desktop::windows::MaximizeWindow>(),
    entry::<desktop::windows::MinimizeWindow>(),
    entry::<desktop::windows::RestoreWindow>(),
    entry::<desktop::windows::FullscreenWindow>(),
    entry::<desktop::windows::ResizeWindow>(),
    entry::<desktop::windows::FocusMode>(),
    entry::<desktop::apps::GetInstalledApps>(),
    entry::<desktop::apps::StartApp>(),
    entry::<desktop::apps::ListVisibleApps>(),
    entry::<desktop::apps::StopAppByPid>(),
    entry::<desktop::apps::StopAppByPname>(),
    entry::<desktop::apps::StopAppByCmd>(),
    entry::<get_metrics::GetMetrics>(),
];

const fn entry<T: Tool>() -> Entry {
    Entry {
        spec: T::SPEC,
        schema: schema::<T>,
        call: |body, guest| Box::pin(call::<T>(body, guest)),
    }
}

/// The tool named `name`.
pub fn find(name: &str) -> Option<&'static Entry> {
    TABLE.iter().find(|entry| entry.spec.name == name)
}

/// The table as clients see it.
pub fn specs() -> Vec<ToolSpec> {
    TABLE
        .iter()
        .map(|entry| ToolSpec {
            name: entry.spec.name.into(),
            description: entry.spec.description.into(),
            input_schema: (entry.schema)(),
            server: entry.spec.server.into(),
            tool: entry.spec.name.into(),
        })
        .collect()
}

/// The schema of the arguments, without what only concerns Rust. Clients expect all three members.
fn schema<T: Tool>() -> Value {
    let mut schema = schemars::schema_for!(T::Args).to_value();
    if let Value::Object(members) = &mut schema {
        for name in ["$schema", "title", "description"] {
            members.remove(name);
        }
        members.entry("type").or_insert_with(|| json!("object"));
        members.entry("properties").or_insert_with(|| json!({}));
        members.entry("required").or_insert_with(|| json!([]));
        let properties = members.get_mut("properties").and_then(Value::as_object_mut);
        properties
            .into_iter()
            .flat_map(|properties| properties.values_mut())
            .for_each(simplify);
    }
    schema
}

/// What is not required may be absent; that it may also be null, and how many bits a number has, only distracts.
fn simplify(property: &mut Value) {
    let Value::Object(members) = property else { return };
    members.remove("format");
    if let Some(Value::Array(kinds)) = members.get("type")
        && let [kind, Value::String(null)] = &kinds[..]
        && null == "null"
    {
        let kind = kind.clone();
        members.insert("type".into(), kind);
    }
}

async fn call<T: Tool>(body: Bytes, guest: Guest) -> ToolResult {
    let name = T::SPEC.name;
    let args = match parse::<T::Args>(name, &body) {
        Ok(args) => args,
        Err(error) => return ToolResult::error(error.to_string()),
    };
    drop(body);
    // On a task of its own: a caller that hangs up does not stop what it began half way.
    let running = guest.clock.run();
    let work = async move {
        let _running = running;
        T::run(args, guest).await
    };
    match tokio::spawn(work).await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => ToolResult::error(error.to_string()),
        Err(error) => {
            tracing::error!(tool = name, %error, "a tool broke");
            ToolResult::error(format!("`{name}` broke inside the guest; its log says more"))
        }
    }
}

fn parse<T: DeserializeOwned>(tool: &'static str, body: &[u8]) -> Result<T, ToolError> {
    // No body at all is how some clients say "no arguments".
    let body = if body.iter().all(u8::is_ascii_whitespace) {
        b"{}"
    } else {
        body
    };
    let problem = |problem: String| ToolError::Arguments { tool, problem };
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(problem("not a JSON object".into()));
    }
    let mut parser = serde_json::Deserializer::from_slice(body);
    let args = serde_path_to_error::deserialize(&mut parser).map_err(|error| {
        let path = error.path().to_string();
        // A missing field and broken JSON have no place of their own.
        if path == "." {
            problem(error.inner().to_string())
        } else {
            problem(format!("`{path}`: {}", error.inner()))
        }
    })?;
    parser.end().map_err(|error| problem(error.to_string()))?;
    Ok(args)
}

/// The answer of tools that have nothing to say but "done".
fn done() -> ToolResult {
    ToolResult::text("true")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[expect(dead_code, reason = "only parsed")]
    struct Args {
        path: text::Text,
        #[serde(default)]
        count: u64,
    }

    fn problem(body: &str) -> String {
        parse::<Args>("t", body.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_bad_argument_is_named() {
        assert!(
            problem("{}").contains("missing field `path`"),
            "{}",
            problem("{}")
        );
        let text = problem(r#"{"path":"/","count":"x"}"#);
        assert!(text.contains("`count`") && text.contains("\"x\""), "{text}");
        assert!(problem("[]").contains("not a JSON object"));
        assert!(problem(r#"{"path":"/"} x"#).contains("trailing"));
        // A member that nobody reads is skipped without recursion, however deep it is.
        assert!(problem(&format!("{{\"path\":\"/\",\"x\":{}", "[".repeat(1_000_000))).contains("EOF"));
    }

    #[test]
    fn unknown_fields_and_half_characters_pass() {
        let args: Args = parse("t", br#"{"path":"\ud83d","more":{"a":"\ude00"}}"#).unwrap();
        assert_eq!(args.path.0, "\u{FFFD}");
    }

    #[test]
    fn names_in_the_table_are_unique_and_schemas_complete() {
        let mut names: Vec<_> = specs().into_iter().map(|spec| spec.name).collect();
        names.sort();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        for spec in specs() {
            assert_eq!(spec.input_schema["type"], "object", "{}", spec.name);
            assert!(spec.input_schema["properties"].is_object(), "{}", spec.name);
            assert!(spec.input_schema["required"].is_array(), "{}", spec.name);
            assert!(!spec.description.is_empty(), "{}", spec.name);
        }
    }

    #[test]
    fn the_catalogue_of_arguments_is_this() {
        let of = |name: &str| {
            specs()
                .into_iter()
                .find(|spec| spec.name == name)
                .unwrap()
                .input_schema
        };
        assert_eq!(of("shell")["required"], json!(["command"]));
        assert_eq!(of("run_code")["required"], json!(["code", "language"]));
        assert_eq!(of("get_metrics")["required"], json!([]));
        assert_eq!(of("shell")["properties"]["command"]["type"], "string");
        assert_eq!(of("shell")["properties"]["timeout_ms"]["type"], "integer");
        assert_eq!(of("shell")["properties"]["envs"]["type"], "object");
        assert_eq!(
            of("write_file")["properties"]["mode"]["enum"],
            json!(["overwrite", "append", "create_new"])
        );
    }
}
