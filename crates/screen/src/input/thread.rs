//! The input thread: takes what viewers did out of the queue and does it on the display.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::Arc;

use tracing::{debug, info};
use x11rb::connection::Connection;
use x11rb::errors::ReplyError;
use x11rb::protocol::xproto::{self, Window};
use x11rb::protocol::xtest::ConnectionExt as _;
use x11rb::rust_connection::RustConnection;

use super::keyboard::{KeyEvent, Keyboard};
use super::pointer::Wheel;
use super::queue::{Action, Command};
use crate::audience::ViewerId;
use crate::core::Core;
use crate::screen::ScreenError;
use crate::seat::Seat;
use crate::wire::page::Position;

/// The thread's state.
pub struct Injector {
    core: Arc<Core>,
    connection: RustConnection,
    root: Window,
    keyboard: Keyboard,
    /// Who holds a button.
    buttons: HashMap<u8, ViewerId>,
    wheels: HashMap<ViewerId, Wheel>,
}

/// Why the thread ended.
#[derive(Debug, thiserror::Error)]
enum InputError {
    #[error("the X server refused a request, or is gone")]
    Request(#[from] ReplyError),
    #[error("could not wait for input")]
    Wait(#[from] std::io::Error),
}

impl From<x11rb::errors::ConnectionError> for InputError {
    fn from(error: x11rb::errors::ConnectionError) -> Self {
        Self::Request(error.into())
    }
}

impl Injector {
    /// Connects, and reads the keyboard's map.
    pub fn open(display: &str, core: Arc<Core>) -> Result<Self, ScreenError> {
        let (connection, screen) =
            RustConnection::connect(Some(display)).map_err(|source| ScreenError::Connect {
                display: display.into(),
                source,
            })?;
        let root = connection.setup().roots[screen].root;
        let keyboard = connection
            .xtest_get_version(2, 2)
            .map_err(ReplyError::from)
            .and_then(|cookie| cookie.reply())
            .and_then(|_| Keyboard::new(&connection, root))
            .map_err(|source| ScreenError::Request {
                step: "prepare the input",
                source: source.into(),
            })?;
        Ok(Self {
            core,
            connection,
            root,
            keyboard,
            buttons: HashMap::new(),
            wheels: HashMap::new(),
        })
    }

    /// Runs until the last handle or the X server is gone.
    pub fn run(mut self) {
        match self.serve() {
            Ok(()) => debug!("the screen's input ends"),
            Err(error) => info!(
                error = &error as &dyn std::error::Error,
                "the screen takes no more input"
            ),
        }
        // Without input a screen is no use; closing it makes both threads end, whoever was first.
        self.core.close();
    }

    fn serve(&mut self) -> Result<(), InputError> {
        while !self.core.is_stopping() {
            let mut applied: Vec<(Arc<Seat>, u32)> = Vec::new();
            while let Some(command) = self.core.input.pop() {
                match command {
                    Command::Leave(viewer) => {
                        self.release_all(viewer)?;
                        self.wheels.remove(&viewer);
                    }
                    Command::Input { seat, seq, action } => {
                        self.apply(seat.id, &action)?;
                        applied.retain(|(known, _)| known.id != seat.id);
                        applied.push((seat, seq));
                    }
                }
            }
            self.connection.flush()?;
            for (seat, seq) in applied {
                seat.input_applied(seq);
            }
            // Events that came with an answer do not make the connection readable: so this comes last.
            if !self.keyboard.take_events(&self.connection)? {
                self.core.input.sleep(&self.connection.stream().as_fd())?;
            }
        }
        for (button, _) in self.buttons.drain() {
            self.connection
                .xtest_fake_input(xproto::BUTTON_RELEASE_EVENT, button, 0, self.root, 0, 0, 0)?;
        }
        self.keyboard.restore(&self.connection)?;
        self.connection.flush()?;
        Ok(())
    }

    fn apply(&mut self, viewer: ViewerId, action: &Action) -> Result<(), ReplyError> {
        match action {
            Action::Pointer(at) => self.move_to(*at),
            Action::Button { button, down, at } => {
                self.move_to(*at)?;
                self.button(viewer, *button, *down)
            }
            Action::Wheel { dx, dy, at } => {
                self.move_to(*at)?;
                for (button, clicks) in self.wheels.entry(viewer).or_default().turn(*dx, *dy) {
                    for _ in 0..clicks {
                        self.fake_button(button, true)?;
                        self.fake_button(button, false)?;
                    }
                }
                Ok(())
            }
            Action::Key {
                down,
                repeat,
                modifiers,
                code,
                key,
            } => {
                let (down, repeat, modifiers) = (*down, *repeat, *modifiers);
                self.keyboard.key(
                    &self.connection,
                    &KeyEvent {
                        viewer,
                        down,
                        repeat,
                        modifiers,
                        code,
                        key,
                    },
                )
            }
            Action::Text(text) => self.keyboard.text(&self.connection, text),
            Action::Release => self.release_all(viewer),
        }
    }

    fn move_to(&self, at: Position) -> Result<(), ReplyError> {
        // X counts to 32,767 and keeps the pointer on the screen by itself.
        let [x, y] = [at.x, at.y].map(|n| i16::try_from(n).unwrap_or(i16::MAX));
        self.connection
            .xtest_fake_input(xproto::MOTION_NOTIFY_EVENT, 0, 0, self.root, x, y, 0)?;
        Ok(())
    }

    fn button(&mut self, viewer: ViewerId, button: u8, down: bool) -> Result<(), ReplyError> {
        let holder = self.buttons.get(&button).copied();
        if down {
            if holder.is_some() {
                self.fake_button(button, false)?;
            }
            self.buttons.insert(button, viewer);
            self.fake_button(button, true)
        } else if holder == Some(viewer) {
            self.buttons.remove(&button);
            self.fake_button(button, false)
        } else {
            Ok(())
        }
    }

    fn release_all(&mut self, viewer: ViewerId) -> Result<(), ReplyError> {
        let held: Vec<u8> = self
            .buttons
            .iter()
            .filter(|(_, by)| **by == viewer)
            .map(|(button, _)| *button)
            .collect();
        for button in held {
            self.button(viewer, button, false)?;
        }
        self.keyboard.release_all(&self.connection, viewer)
    }

    fn fake_button(&self, button: u8, down: bool) -> Result<(), ReplyError> {
        let kind = if down {
            xproto::BUTTON_PRESS_EVENT
        } else {
            xproto::BUTTON_RELEASE_EVENT
        };
        self.connection
            .xtest_fake_input(kind, button, 0, self.root, 0, 0, 0)?;
        Ok(())
    }
}
