//! `docs/tools.md` is made from the table of tools; this test fails when the two disagree.

#![allow(missing_docs, clippy::unwrap_used)]

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use berth_guest_api::ToolSpec;
use serde_json::Value;

#[test]
fn the_page_of_tools_is_up_to_date() {
    let output = Command::new(env!("CARGO_BIN_EXE_berth-guest"))
        .arg("tools")
        .output()
        .unwrap();
    let tools: Vec<ToolSpec> = serde_json::from_slice(&output.stdout).unwrap();
    let page = page(&tools);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/tools.md");
    if std::env::var_os("BERTH_UPDATE_DOCS").is_some() {
        fs_err::write(&path, &page).unwrap();
    }
    let written = fs_err::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/tools.md is out of date; make it anew with\n  BERTH_UPDATE_DOCS=1 cargo test -p berth-guest --test docs"
    );
}

fn page(tools: &[ToolSpec]) -> String {
    let mut page = String::from(
        "# Tools\n\nWhat a session can be asked to do, on every route. Made from the table in `crates/guest/src/tools.rs`.\n",
    );
    for tool in tools {
        write!(page, "\n## `{}`\n\n{}\n\n", tool.name, tool.description.trim()).unwrap();
        let schema = &tool.input_schema;
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        let Some(properties) = schema["properties"]
            .as_object()
            .filter(|properties| !properties.is_empty())
        else {
            page.push_str("No arguments.\n");
            continue;
        };
        page.push_str("| argument | type | |\n|---|---|---|\n");
        for (name, property) in properties {
            let must = if required.contains(&Value::String(name.clone())) {
                "required. "
            } else {
                ""
            };
            let text = property["description"]
                .as_str()
                .unwrap_or_default()
                .replace('\n', " ");
            writeln!(page, "| `{name}` | {} | {must}{text} |", kind(property)).unwrap();
        }
    }
    page
}

/// What a property holds, in a word or two.
fn kind(property: &Value) -> String {
    if let Some(values) = property["enum"].as_array() {
        let words: Vec<_> = values
            .iter()
            .filter_map(Value::as_str)
            .map(|word| format!("`{word}`"))
            .collect();
        return words.join(", ");
    }
    match &property["type"] {
        Value::String(kind) => kind.clone(),
        Value::Array(kinds) => {
            let words: Vec<_> = kinds
                .iter()
                .filter_map(Value::as_str)
                .filter(|word| *word != "null")
                .collect();
            words.join(" or ")
        }
        _ => "any".to_owned(),
    }
}
