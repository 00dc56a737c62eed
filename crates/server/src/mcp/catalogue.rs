//! The tool table in MCP's words, with what is certain of each tool's effects.

use std::sync::Arc;

use berth_guest_api::ToolSpec;
use rmcp::model::{Tool, ToolAnnotations};
use serde_json::{Map, Value, json};

/// Tools that change nothing in a session and reach nothing outside of it.
const READ_ONLY: &[&str] = &[
    "get_file_info",
    "get_metrics",
    "list_directory",
    "list_processes",
    "read_file",
    "read_multiple_files",
    "screenshot",
    "search_files",
    "system_screenshot",
];

/// Tools that change files, and nothing outside of the session.
const WRITES_FILES: &[&str] = &["delete_file", "edit_file", "move_file", "write_file"];

/// Tools that run what they are told to, with the network of the session.
const RUNS_ANYTHING: &[&str] = &["run_code", "shell", "start_process"];

/// A tool as clients of MCP see it.
pub(super) fn tool(spec: &ToolSpec) -> Tool {
    let schema = match &spec.input_schema {
        Value::Object(schema) => schema.clone(),
        // MCP has no other form for "takes nothing".
        _ => Map::from_iter([("type".to_owned(), json!("object"))]),
    };
    let tool = Tool::new(spec.name.clone(), spec.description.clone(), Arc::new(schema));
    match annotations(&spec.name) {
        Some(annotations) => tool.annotate(annotations),
        None => tool,
    }
}

/// What is certain; a client takes the worst for all that is not said.
fn annotations(name: &str) -> Option<ToolAnnotations> {
    let new = ToolAnnotations::new;
    if READ_ONLY.contains(&name) {
        return Some(new().read_only(true).open_world(false));
    }
    if WRITES_FILES.contains(&name) {
        return Some(new().read_only(false).destructive(true).open_world(false));
    }
    if RUNS_ANYTHING.contains(&name) {
        return Some(new().read_only(false).destructive(true).open_world(true));
    }
    (name == "create_directory").then(|| {
        new()
            .read_only(false)
            .destructive(false)
            .idempotent(true)
            .open_world(false)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_keeps_its_schema_and_says_what_it_may_do() {
        let spec = |name: &str, input_schema| ToolSpec {
            name: name.into(),
            description: "d".into(),
            input_schema,
            server: "s".into(),
            tool: name.into(),
        };
        let read = json!(tool(&spec(
            "read_file",
            json!({"type": "object", "required": ["path"]})
        )));
        assert_eq!(
            read,
            json!({"name": "read_file", "description": "d", "inputSchema": {"type": "object", "required": ["path"]},
                "annotations": {"readOnlyHint": true, "openWorldHint": false}})
        );
        let odd = json!(tool(&spec("new_tool", json!(true))));
        assert_eq!(
            odd,
            json!({"name": "new_tool", "description": "d", "inputSchema": {"type": "object"}})
        );
    }
}
