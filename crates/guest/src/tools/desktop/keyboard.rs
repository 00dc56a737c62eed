//! `input_text`, `press_keys`, `release_keys`.

use berth_guest_api::ToolResult;
use schemars::JsonSchema;
use serde::Deserialize;

use super::super::text::Text;
use super::super::{Spec, Tool, ToolError, done};
use super::SERVER;
use crate::guest::Guest;

/// Bytes that one call types; more is better pasted.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// Keys that are pressed together.
const KEYS_MAX: usize = 16;

pub(in super::super) struct InputText;

#[derive(Debug, Deserialize, JsonSchema)]
pub(in super::super) struct TextArgs {
    /// The text, in any script.
    text: Text,
}

impl Tool for InputText {
    const SPEC: Spec = Spec {
        name: "input_text",
        server: SERVER,
        description: "Types text where the keyboard's focus is, in any script.",
    };
    type Args = TextArgs;

    async fn run(args: TextArgs, guest: Guest) -> Result<ToolResult, ToolError> {
        if args.text.0.len() > TEXT_BYTES_MAX {
            return Err(ToolError::Field {
                field: "text",
                got: format!("{} bytes long", args.text.0.len()),
                allowed: "at most 65536 bytes; write long text to a file and open that",
            });
        }
        guest.computer.agent(&guest).await?.text(&args.text.0).await?;
        Ok(done())
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(in super::super) struct PressArgs {
    /// Keys that go down together: characters, or names such as `Ctrl`, `Alt`, `Enter`, `F5`.
    keys: Vec<Text>,
    /// Keeps them down until `release_keys`.
    hold: Option<bool>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(in super::super) struct ReleaseArgs {
    /// Keys that `press_keys` holds. One that is not down is no error.
    keys: Vec<Text>,
}

fn names(keys: Vec<Text>) -> Result<Vec<String>, ToolError> {
    if keys.is_empty() || keys.len() > KEYS_MAX {
        return Err(ToolError::Field {
            field: "keys",
            got: format!("a list of {}", keys.len()),
            allowed: "1 to 16 names of keys",
        });
    }
    Ok(keys.into_iter().map(|key| key.0).collect())
}

pub(in super::super) struct PressKeys;

impl Tool for PressKeys {
    const SPEC: Spec = Spec {
        name: "press_keys",
        server: SERVER,
        description: "Presses keys together, such as Ctrl and c, and lets them go unless hold is true.",
    };
    type Args = PressArgs;

    async fn run(args: PressArgs, guest: Guest) -> Result<ToolResult, ToolError> {
        let names = names(args.keys)?;
        let hold = args.hold.unwrap_or(false);
        guest.computer.agent(&guest).await?.press(&names, hold).await?;
        Ok(done())
    }
}

pub(in super::super) struct ReleaseKeys;

impl Tool for ReleaseKeys {
    const SPEC: Spec = Spec {
        name: "release_keys",
        server: SERVER,
        description: "Lets keys go that press_keys holds.",
    };
    type Args = ReleaseArgs;

    async fn run(args: ReleaseArgs, guest: Guest) -> Result<ToolResult, ToolError> {
        let names = names(args.keys)?;
        guest.computer.agent(&guest).await?.release(&names).await?;
        Ok(done())
    }
}
