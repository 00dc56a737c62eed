//! Windows of applications: listed, brought to the front, closed, made larger and smaller.

use berth_guest_api::ToolResult;
use berth_screen::{Window, WindowChange};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::{Spec, Tool, ToolError, done};
use super::SERVER;
use super::mouse::NoArgs;
use crate::computer::ComputerError;
use crate::guest::Guest;

/// As clients read it.
fn described(window: &Window) -> Value {
    json!({
        "window_id": window.id,
        "title": window.title,
        "absolute_upper_left_x": window.x,
        "absolute_upper_left_y": window.y,
        "width": window.width,
        "height": window.height,
        "pid": window.pid,
        "pname": process_name(window.pid),
        "child_windows": [],
    })
}

/// What the kernel calls a process; the window itself only tells its number.
pub(super) fn process_name(pid: u32) -> String {
    let name = fs_err::read_to_string(format!("/proc/{pid}/comm"));
    name.map(|name| name.trim_end().to_owned()).unwrap_or_default()
}

async fn change(guest: &Guest, id: i64, change: WindowChange) -> Result<ToolResult, ToolError> {
    let number = u32::try_from(id).map_err(|_| ComputerError::NoWindow(id))?;
    let changed = guest
        .computer
        .look(guest, move |looker| looker.change_window(number, change));
    if changed.await? {
        Ok(done())
    } else {
        Err(ComputerError::NoWindow(id).into())
    }
}

pub(in super::super) struct ListRootWindows;

#[derive(Debug, Deserialize, JsonSchema)]
pub(in super::super) struct ListArgs {
    /// Taken and not needed: the answer is there at once.
    #[serde(rename = "timeout_ms")]
    #[expect(dead_code, reason = "clients send it")]
    timeout_ms: Option<i64>,
}

impl Tool for ListRootWindows {
    const SPEC: Spec = Spec {
        name: "list_root_windows",
        server: SERVER,
        description: "Lists the windows of applications, as a JSON array with ids, titles, places and processes.",
    };
    type Args = ListArgs;

    async fn run(_: ListArgs, guest: Guest) -> Result<ToolResult, ToolError> {
        let windows = guest.computer.look(&guest, |looker| looker.windows()).await?;
        let text = Value::Array(windows.iter().map(described).collect());
        Ok(ToolResult::text(text.to_string()))
    }
}

pub(in super::super) struct GetActiveWindow;

impl Tool for GetActiveWindow {
    const SPEC: Spec = Spec {
        name: "get_active_window",
        server: SERVER,
        description: "Tells the window that has the keyboard, as JSON.",
    };
    type Args = NoArgs;

    async fn run(_: NoArgs, guest: Guest) -> Result<ToolResult, ToolError> {
        let active = guest
            .computer
            .look(&guest, |looker| looker.active_window())
            .await?;
        let active = active.ok_or(ComputerError::NoActiveWindow)?;
        Ok(ToolResult::text(described(&active).to_string()))
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(in super::super) struct WindowArgs {
    /// The window, as `list_root_windows` has it.
    window_id: i64,
}

macro_rules! window_tools {
    ($($(#[$doc:meta])* $tool:ident = $name:literal $change:ident $description:literal;)+) => {$(
        $(#[$doc])*
        pub(in super::super) struct $tool;

        impl Tool for $tool {
            const SPEC: Spec = Spec {
                name: $name,
                server: SERVER,
                description: $description,
            };
            type Args = WindowArgs;

            async fn run(args: WindowArgs, guest: Guest) -> Result<ToolResult, ToolError> {
                change(&guest, args.window_id, WindowChange::$change).await
            }
        }
    )+};
}

window_tools! {
    ActivateWindow = "activate_window" Activate "Brings a window to the front and gives it the keyboard.";
    CloseWindow = "close_window" Close "Asks a window to close.";
    MaximizeWindow = "maximize_window" Maximize "Makes a window fill the work area.";
    MinimizeWindow = "minimize_window" Minimize "Puts a window away.";
    RestoreWindow = "restore_window" Restore "Gives a window its own size back, and shows it again if it was put away.";
    FullscreenWindow = "fullscreen_window" Fullscreen "Makes a window fill the whole screen.";
}

pub(in super::super) struct FocusMode;

#[derive(Debug, Deserialize, JsonSchema)]
pub(in super::super) struct FocusArgs {
    /// Whether it is on.
    on: bool,
}

impl Tool for FocusMode {
    const SPEC: Spec = Spec {
        name: "focus_mode",
        server: SERVER,
        description: "Keeps the active window in front: while it is on, no other window covers it, and windows that \
                      open do not take the keyboard. `activate_window` still gives it to another one. Switched on \
                      again, it keeps the window that is active then.",
    };
    type Args = FocusArgs;

    async fn run(args: FocusArgs, guest: Guest) -> Result<ToolResult, ToolError> {
        guest.computer.focus(&guest, args.on).await?;
        Ok(done())
    }
}

pub(in super::super) struct ResizeWindow;

#[derive(Debug, Deserialize, JsonSchema)]
pub(in super::super) struct ResizeArgs {
    /// The window, as `list_root_windows` has it.
    window_id: i64,
    /// Columns.
    width: i64,
    /// Rows.
    height: i64,
}

impl Tool for ResizeWindow {
    const SPEC: Spec = Spec {
        name: "resize_window",
        server: SERVER,
        description: "Gives a window another size in pixels.",
    };
    type Args = ResizeArgs;

    async fn run(args: ResizeArgs, guest: Guest) -> Result<ToolResult, ToolError> {
        let side = |field, value: i64| {
            let known = u32::try_from(value)
                .ok()
                .filter(|value| (1..=16_384).contains(value));
            known.ok_or_else(|| ToolError::Field {
                field,
                got: value.to_string(),
                allowed: "1 to 16384 (pixels)",
            })
        };
        let (width, height) = (side("width", args.width)?, side("height", args.height)?);
        change(&guest, args.window_id, WindowChange::Resize { width, height }).await
    }
}
