//! `click_mouse`, `move_mouse`, `drag_mouse`, `scroll`, `get_cursor_position`. Places are pixels from the upper left corner.

use berth_guest_api::ToolResult;
use berth_screen::wire::page::Position;
use berth_screen::{Button, Direction};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::super::{Spec, Tool, ToolError, done};
use super::SERVER;
use crate::guest::Guest;

/// Notches of one call.
const NOTCHES_MAX: i64 = 100;

fn field(field: &'static str, got: impl std::fmt::Display, allowed: &'static str) -> ToolError {
    ToolError::Field {
        field,
        got: format!("`{got}`"),
        allowed,
    }
}

fn place(names: [&'static str; 2], x: i64, y: i64) -> Result<Position, ToolError> {
    let coordinate = |name, value: i64| {
        let known = u16::try_from(value).ok().filter(|value| *value <= 32_767);
        known.ok_or_else(|| {
            field(
                name,
                value,
                "0 to 32767 (pixels from the upper left corner of the screen)",
            )
        })
    };
    Ok(Position {
        x: coordinate(names[0], x)?,
        y: coordinate(names[1], y)?,
    })
}

fn button(name: Option<&str>) -> Result<(Button, usize), ToolError> {
    match name.unwrap_or("left").trim().to_ascii_lowercase().as_str() {
        "left" => Ok((Button::Left, 1)),
        "right" => Ok((Button::Right, 1)),
        "middle" => Ok((Button::Middle, 1)),
        "double_left" => Ok((Button::Left, 2)),
        other => Err(field("button", other, "`left`, `right`, `middle`, `double_left`")),
    }
}

pub(in super::super) struct ClickMouse;

#[derive(Debug, Deserialize, JsonSchema)]
pub(in super::super) struct ClickArgs {
    /// Column.
    x: i64,
    /// Row.
    y: i64,
    /// Which button; `left` if absent.
    #[schemars(extend("enum" = ["left", "right", "middle", "double_left"]))]
    button: Option<String>,
}

impl Tool for ClickMouse {
    const SPEC: Spec = Spec {
        name: "click_mouse",
        server: SERVER,
        description: "Clicks at a place of the screen, in pixels from its upper left corner.",
    };
    type Args = ClickArgs;

    async fn run(args: ClickArgs, guest: Guest) -> Result<ToolResult, ToolError> {
        let (button, times) = button(args.button.as_deref())?;
        let at = place(["x", "y"], args.x, args.y)?;
        guest
            .computer
            .agent(&guest)
            .await?
            .click(button, at, times)
            .await?;
        Ok(done())
    }
}

pub(in super::super) struct MoveMouse;

#[derive(Debug, Deserialize, JsonSchema)]
pub(in super::super) struct MoveArgs {
    /// Column.
    x: i64,
    /// Row.
    y: i64,
}

impl Tool for MoveMouse {
    const SPEC: Spec = Spec {
        name: "move_mouse",
        server: SERVER,
        description: "Moves the pointer to a place of the screen.",
    };
    type Args = MoveArgs;

    async fn run(args: MoveArgs, guest: Guest) -> Result<ToolResult, ToolError> {
        let at = place(["x", "y"], args.x, args.y)?;
        guest.computer.agent(&guest).await?.move_to(at).await?;
        Ok(done())
    }
}

pub(in super::super) struct DragMouse;

#[derive(Debug, Deserialize, JsonSchema)]
pub(in super::super) struct DragArgs {
    /// Column where the button goes down.
    from_x: i64,
    /// Row where the button goes down.
    from_y: i64,
    /// Column where it is let go.
    to_x: i64,
    /// Row where it is let go.
    to_y: i64,
    /// Which button; `left` if absent.
    #[schemars(extend("enum" = ["left", "right", "middle"]))]
    button: Option<String>,
}

impl Tool for DragMouse {
    const SPEC: Spec = Spec {
        name: "drag_mouse",
        server: SERVER,
        description: "Presses a mouse button at one place and lets it go at another.",
    };
    type Args = DragArgs;

    async fn run(args: DragArgs, guest: Guest) -> Result<ToolResult, ToolError> {
        let (button, times) = button(args.button.as_deref())?;
        if times > 1 {
            return Err(field("button", "double_left", "`left`, `right`, `middle`"));
        }
        let from = place(["from_x", "from_y"], args.from_x, args.from_y)?;
        let to = place(["to_x", "to_y"], args.to_x, args.to_y)?;
        guest.computer.agent(&guest).await?.drag(button, from, to).await?;
        Ok(done())
    }
}

pub(in super::super) struct Scroll;

#[derive(Debug, Deserialize, JsonSchema)]
pub(in super::super) struct ScrollArgs {
    /// Column.
    x: i64,
    /// Row.
    y: i64,
    /// Where to; `up` if absent.
    #[schemars(extend("enum" = ["up", "down", "left", "right"]))]
    direction: Option<String>,
    /// Notches of the wheel; 1 if absent.
    #[schemars(range(min = 1, max = 100))]
    amount: Option<i64>,
}

impl Tool for Scroll {
    const SPEC: Spec = Spec {
        name: "scroll",
        server: SERVER,
        description: "Turns the mouse wheel at a place of the screen.",
    };
    type Args = ScrollArgs;

    async fn run(args: ScrollArgs, guest: Guest) -> Result<ToolResult, ToolError> {
        let name = args.direction.unwrap_or_else(|| "up".into());
        let direction = match name.trim().to_ascii_lowercase().as_str() {
            "up" => Direction::Up,
            "down" => Direction::Down,
            "left" => Direction::Left,
            "right" => Direction::Right,
            other => return Err(field("direction", other, "`up`, `down`, `left`, `right`")),
        };
        let amount = args.amount.unwrap_or(1);
        let notches = u16::try_from(amount)
            .ok()
            .filter(|_| (1..=NOTCHES_MAX).contains(&amount));
        let notches = notches.ok_or_else(|| field("amount", amount, "1 to 100 (notches)"))?;
        let at = place(["x", "y"], args.x, args.y)?;
        guest
            .computer
            .agent(&guest)
            .await?
            .scroll(at, direction, notches)
            .await?;
        Ok(done())
    }
}

pub(in super::super) struct GetCursorPosition;

#[derive(Debug, Deserialize, JsonSchema)]
pub(in super::super) struct NoArgs {}

impl Tool for GetCursorPosition {
    const SPEC: Spec = Spec {
        name: "get_cursor_position",
        server: SERVER,
        description: "Tells where the pointer is, as JSON with x and y.",
    };
    type Args = NoArgs;

    async fn run(_: NoArgs, guest: Guest) -> Result<ToolResult, ToolError> {
        let (x, y) = guest.computer.look(&guest, |looker| looker.cursor()).await?;
        Ok(ToolResult::text(json!({ "x": x, "y": y }).to_string()))
    }
}
