//! The handle of a program that drives the screen: mouse and keyboard without a page.
//!
//! What it does goes the way of what a person does in a page, through the same queue and the same keyboard, so the two do
//! not get in each other's way: each holds its own keys, and lets go of no other's.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::floor::Floor;
use crate::screen::Shared;
use crate::seat::Seat;
use crate::wire::WireError;
use crate::wire::page::{Input, Key, Modifiers, Position};

/// Why something could not be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    /// The X server is gone.
    #[error("the desktop has ended; the next call starts it again")]
    Closed,
    /// A person does not want to be disturbed.
    #[error(
        "a person has taken over the desktop; `get_control` says when it is given back, and waits for that with `wait_ms`"
    )]
    TakenOver,
    /// No key has this name.
    #[error(
        "no key is called `{0}`; allowed: a character, or a name such as `Ctrl`, `Shift`, `Alt`, `Super`, `Enter`, `Tab`, `Escape`, `Backspace`, `Delete`, `space`, `Up`, `Home`, `PageDown`, `F5`"
    )]
    Key(String),
    /// More than the queue takes.
    #[error(transparent)]
    Refused(#[from] WireError),
}

/// A mouse button.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Button {
    /// The first.
    Left,
    /// The second.
    Middle,
    /// The third.
    Right,
}

impl Button {
    fn number(self) -> u8 {
        match self {
            Self::Left => 1,
            Self::Middle => 2,
            Self::Right => 3,
        }
    }
}

/// Where a wheel turns to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Away from the person.
    Up,
    /// Towards the person.
    Down,
    /// To the left.
    Left,
    /// To the right.
    Right,
}

/// A program's mouse and keyboard. Dropping it lets go of everything it holds.
pub struct Agent {
    seat: Arc<Seat>,
    shared: Arc<Shared>,
    /// One thing at a time: what several callers do is not mixed.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    seq: u32,
    held: HashSet<String>,
}

/// A key: as a browser names it, and where a keyboard has it.
struct Named {
    key: String,
    code: String,
}

impl Agent {
    pub(crate) fn new(seat: Arc<Seat>, shared: Arc<Shared>) -> Self {
        Self {
            seat,
            shared,
            state: Mutex::default(),
        }
    }

    /// Moves the pointer. Beyond the screen's edge it stays at the edge.
    pub async fn move_to(&self, at: Position) -> Result<(), AgentError> {
        self.act(&[Input::Pointer(at)]).await
    }

    /// Clicks so many times in a row.
    pub async fn click(&self, button: Button, at: Position, times: usize) -> Result<(), AgentError> {
        let mut actions = vec![Input::Pointer(at)];
        for _ in 0..times {
            actions.extend([true, false].map(|down| pressed(button, down, at)));
        }
        self.act(&actions).await
    }

    /// Presses a button at one place and lets it go at another, with steps in between as a hand makes them: what is
    /// dragged is only taken up once the pointer has moved a little.
    pub async fn drag(&self, button: Button, from: Position, to: Position) -> Result<(), AgentError> {
        const STEPS: i32 = 12;
        self.act(&[Input::Pointer(from), pressed(button, true, from)])
            .await?;
        for step in 1..=STEPS {
            let between = |a: u16, b: u16| {
                let (a, b) = (i32::from(a), i32::from(b));
                u16::try_from(a + (b - a) * step / STEPS).unwrap_or(0)
            };
            let at = Position {
                x: between(from.x, to.x),
                y: between(from.y, to.y),
            };
            self.act(&[Input::Pointer(at)]).await?;
            tokio::time::sleep(std::time::Duration::from_millis(8)).await;
        }
        self.act(&[pressed(button, false, to)]).await
    }

    /// Turns the wheel by whole notches.
    pub async fn scroll(&self, at: Position, direction: Direction, notches: u16) -> Result<(), AgentError> {
        let mut actions = vec![Input::Pointer(at)];
        let (dx, dy) = match direction {
            Direction::Up => (0, -120),
            Direction::Down => (0, 120),
            Direction::Left => (-120, 0),
            Direction::Right => (120, 0),
        };
        actions.extend(std::iter::repeat_n(
            Input::Wheel { dx, dy, at },
            usize::from(notches),
        ));
        self.act(&actions).await
    }

    /// Types text, whatever the display's keyboard has.
    pub async fn text(&self, text: &str) -> Result<(), AgentError> {
        self.act(&[Input::Text(text)]).await
    }

    /// Presses keys together, and lets them go again unless they are to be held. A name that is no key's is an error,
    /// and nothing is pressed then.
    pub async fn press(&self, names: &[String], hold: bool) -> Result<(), AgentError> {
        let keys = named_keys(names)?;
        self.keys(&keys, true).await?;
        if !hold {
            self.keys(&keys, false).await?;
        }
        Ok(())
    }

    /// Lets keys go. One that is not held is let go already.
    pub async fn release(&self, names: &[String]) -> Result<(), AgentError> {
        self.keys(&named_keys(names)?, false).await
    }

    async fn keys(&self, keys: &[Named], down: bool) -> Result<(), AgentError> {
        let order: Vec<&Named> = if down {
            keys.iter().collect()
        } else {
            keys.iter().rev().collect()
        };
        for Named { key, code } in order {
            let modifiers = {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                if down {
                    state.held.insert(key.clone());
                } else {
                    state.held.remove(key);
                }
                let holds = |name: &str| state.held.contains(name);
                Modifiers {
                    shift: holds("Shift"),
                    ctrl: holds("Control"),
                    alt: holds("Alt"),
                    meta: holds("Meta"),
                    altgr: false,
                }
            };
            let pressed = Input::Key(Key {
                down,
                repeat: false,
                modifiers,
                code,
                key,
            });
            self.act(&[pressed]).await?;
        }
        Ok(())
    }

    /// Queues what is to be done, and waits until the X server has it.
    async fn act(&self, actions: &[Input<'_>]) -> Result<(), AgentError> {
        let core = &self.shared.core;
        if core.floor(Floor::is_taken_over) && !actions.iter().all(lets_go) {
            return Err(AgentError::TakenOver);
        }
        let last = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            for action in actions {
                state.seq += 1;
                core.input.push(&self.seat, state.seq, action)?;
                core.agent_acts(action);
            }
            state.seq
        };
        let mut closed = self.shared.core.closed();
        tokio::select! {
            () = self.seat.applied(last) => Ok(()),
            _ = closed.wait_for(|closed| *closed) => Err(AgentError::Closed),
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.shared.core.input.leave(self.seat.id);
    }
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent")
            .field("id", &self.seat.id)
            .finish_non_exhaustive()
    }
}

/// Whether it only lets go of something, which is allowed at any time.
fn lets_go(input: &Input<'_>) -> bool {
    match input {
        Input::Button { down, .. } => !down,
        Input::Key(key) => !key.down,
        Input::Release => true,
        Input::Pointer(_) | Input::Wheel { .. } | Input::Text(_) | Input::Clipboard(_) => false,
    }
}

fn pressed(button: Button, down: bool, at: Position) -> Input<'static> {
    Input::Button {
        button: button.number(),
        down,
        at,
    }
}

fn named_keys(names: &[String]) -> Result<Vec<Named>, AgentError> {
    let key = |name: &String| named_key(name).ok_or_else(|| AgentError::Key(name.chars().take(40).collect()));
    names.iter().map(key).collect()
}

/// Names that programs use for keys, in lower case, and a browser's.
const NAMES: [(&str, &str); 49] = [
    ("ctrl", "Control"),
    ("control", "Control"),
    ("control_l", "Control"),
    ("control_r", "Control"),
    ("alt", "Alt"),
    ("alt_l", "Alt"),
    ("option", "Alt"),
    ("shift", "Shift"),
    ("shift_l", "Shift"),
    ("shift_r", "Shift"),
    ("win", "Meta"),
    ("windows", "Meta"),
    ("super", "Meta"),
    ("super_l", "Meta"),
    ("meta", "Meta"),
    ("cmd", "Meta"),
    ("command", "Meta"),
    ("enter", "Enter"),
    ("return", "Enter"),
    ("kp_enter", "Enter"),
    ("esc", "Escape"),
    ("escape", "Escape"),
    ("tab", "Tab"),
    ("backspace", "Backspace"),
    ("back", "Backspace"),
    ("del", "Delete"),
    ("delete", "Delete"),
    ("ins", "Insert"),
    ("insert", "Insert"),
    ("home", "Home"),
    ("end", "End"),
    ("pageup", "PageUp"),
    ("page_up", "PageUp"),
    ("prior", "PageUp"),
    ("pagedown", "PageDown"),
    ("page_down", "PageDown"),
    ("next", "PageDown"),
    ("up", "ArrowUp"),
    ("down", "ArrowDown"),
    ("left", "ArrowLeft"),
    ("right", "ArrowRight"),
    ("arrowup", "ArrowUp"),
    ("arrowdown", "ArrowDown"),
    ("arrowleft", "ArrowLeft"),
    ("arrowright", "ArrowRight"),
    ("menu", "ContextMenu"),
    ("contextmenu", "ContextMenu"),
    ("space", " "),
    ("spacebar", " "),
];

/// The key that `name` means: a character, a browser's name, a usual short name, or X's.
fn named_key(name: &str) -> Option<Named> {
    let mut characters = name.chars();
    if let (Some(c), None) = (characters.next(), characters.next()) {
        // Letters as on the key: which of the two is typed, shift says.
        let code = if c.is_ascii_alphabetic() {
            format!("Key{}", c.to_ascii_uppercase())
        } else if c.is_ascii_digit() {
            format!("Digit{c}")
        } else {
            name.to_owned()
        };
        return (!c.is_control()).then(|| Named {
            key: name.to_owned(),
            code,
        });
    }
    let lower = name.trim().to_ascii_lowercase();
    let known = NAMES
        .iter()
        .find(|(short, _)| *short == lower)
        .map(|(_, key)| (*key).to_owned());
    let function = || {
        let number: u32 = lower.strip_prefix('f')?.parse().ok()?;
        (1..=24).contains(&number).then(|| format!("F{number}"))
    };
    let key = known.or_else(function)?;
    let side = if lower.ends_with("_r") { "Right" } else { "Left" };
    let code = match key.as_str() {
        "Control" | "Alt" | "Shift" | "Meta" => format!("{key}{side}"),
        " " => "Space".to_owned(),
        other => other.to_owned(),
    };
    Some(Named { key, code })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_many_names() {
        let key = |name| named_key(name).map(|named| (named.key, named.code));
        let pair = |key: &str, code: &str| Some((key.to_owned(), code.to_owned()));
        assert_eq!(key("Ctrl"), pair("Control", "ControlLeft"));
        assert_eq!(key("Control_R"), pair("Control", "ControlRight"));
        assert_eq!(key("a"), pair("a", "KeyA"));
        assert_eq!(key("space"), pair(" ", "Space"));
        assert_eq!(key("f12"), pair("F12", "F12"));
        assert_eq!(key("ArrowUp"), pair("ArrowUp", "ArrowUp"));
        assert_eq!(key("Page_Up"), pair("PageUp", "PageUp"));
        assert_eq!(key("Return"), pair("Enter", "Enter"));
        assert_eq!(key("ä"), pair("ä", "ä"));
        for name in ["", "f25", "nokey", "\u{1}"] {
            assert_eq!(key(name), None, "{name}");
        }
    }
}
