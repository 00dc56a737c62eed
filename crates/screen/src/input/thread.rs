//! The input thread: takes what viewers did out of the queue and does it on the display.

use std::collections::HashMap;
use std::sync::Arc;

use tracing::{debug, info};
use x11rb::errors::ReplyError;

use super::device::Device;
use super::keyboard::{KeyEvent, Keyboard};
use super::pointer::Wheel;
use super::queue::{Action, Command};
use crate::audience::ViewerId;
use crate::connect::connect;
use crate::core::Core;
use crate::error::ScreenError;
use crate::seat::Seat;

/// The thread's state.
pub struct Injector {
    core: Arc<Core>,
    device: Arc<Device>,
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
        let (connection, screen) = connect(display)?;
        let prepared = Device::new(connection, screen).map(Arc::new).and_then(|device| {
            let keyboard = Keyboard::new(Arc::clone(&device))?;
            Ok((device, keyboard))
        });
        let (device, keyboard) = prepared.map_err(|source| ScreenError::Request {
            step: "prepare the input",
            source: source.into(),
        })?;
        Ok(Self {
            core,
            device,
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
            // A round trip for those who have to know that it is done. A person's keys do not wait for one.
            if applied.iter().any(|(seat, _)| seat.is_unseen) {
                self.device.sync()?;
            } else {
                self.device.flush()?;
            }
            for (seat, seq) in applied {
                seat.input_applied(seq);
            }
            let news = self.device.news()?;
            if news.map_changed {
                self.keyboard.map_changed();
            }
            if !news.any {
                self.core.input.sleep(&*self.device)?;
            }
        }
        for (button, _) in self.buttons.drain() {
            self.device.button(button, false)?;
        }
        self.keyboard.restore()?;
        self.device.sync()?;
        Ok(())
    }

    fn apply(&mut self, viewer: ViewerId, action: &Action) -> Result<(), ReplyError> {
        match action {
            Action::Pointer(at) => self.device.move_to(*at),
            Action::Button { button, down, at } => {
                self.device.move_to(*at)?;
                self.button(viewer, *button, *down)
            }
            Action::Wheel { dx, dy, at } => {
                self.device.move_to(*at)?;
                for (button, clicks) in self.wheels.entry(viewer).or_default().turn(*dx, *dy) {
                    for _ in 0..clicks {
                        self.device.button(button, true)?;
                        self.device.button(button, false)?;
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
                self.keyboard.key(&KeyEvent {
                    viewer,
                    down,
                    repeat,
                    modifiers,
                    code,
                    key,
                })
            }
            Action::Text(text) => self.keyboard.text(text),
            Action::Clipboard(text) => {
                // Before the key that pastes it.
                self.device.flush()?;
                self.core.clipboard.put(text);
                Ok(())
            }
            Action::Release => self.release_all(viewer),
        }
    }

    fn button(&mut self, viewer: ViewerId, button: u8, down: bool) -> Result<(), ReplyError> {
        let holder = self.buttons.get(&button).copied();
        if down {
            if holder.is_some() {
                self.device.button(button, false)?;
            }
            self.buttons.insert(button, viewer);
            self.device.button(button, true)
        } else if holder == Some(viewer) {
            self.buttons.remove(&button);
            self.device.button(button, false)
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
        self.keyboard.release_all(viewer)
    }
}
