//! For `fuzz/` and tests: a screen without an X server. What its threads would do happens when it is asked for.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::audience::ViewerId;
use crate::core::{Core, MAX_VIEWERS};
use crate::floor::{Rights, Visitor};
use crate::input::meaning::meaning;
use crate::input::pointer::Wheel;
use crate::input::queue::{Action, Command, MAX_TEXT_BYTES, MAX_WAITING};
use crate::screen::{Screen, Shared, Viewer};
use crate::wire::server;

/// A screen that shows nothing and takes everything.
pub struct Detached {
    core: Arc<Core>,
    screen: Screen,
    wheels: HashMap<ViewerId, Wheel>,
    attached: Cell<usize>,
}

impl Detached {
    /// A screen that nobody watches.
    ///
    /// # Errors
    ///
    /// When the system has no more file descriptors.
    pub fn new() -> std::io::Result<Self> {
        let core = Arc::new(Core::new()?);
        let shared = Arc::new(Shared {
            core: Arc::clone(&core),
        });
        Ok(Self {
            core,
            screen: Screen::of(shared),
            wheels: HashMap::new(),
            attached: Cell::new(0),
        })
    }

    /// Somebody comes, with the rights whose bits are set.
    pub fn attach(&self, bits: u8) -> Viewer {
        self.attached.set(self.attached.get() + 1);
        self.screen.attach(Visitor {
            rights: Rights {
                control: bits & 1 != 0,
                clipboard_in: bits & 2 != 0,
                clipboard_out: bits & 4 != 0,
                files: bits & 8 != 0,
            },
            ..Visitor::owner()
        })
    }

    /// What the capture thread does: an update of so many bytes for each page that can take one, and what there is to
    /// hear and to be told.
    pub fn capture(&self, bytes: usize) {
        let ops = vec![0; bytes];
        for seat in self.core.seats().iter().filter(|seat| seat.page().is_some()) {
            seat.take_failure();
            if let Some(allowance) = seat.allowance() {
                assert!(allowance.budget > 0 && allowance.rate > 0.0 && allowance.kbps > 0);
                let update = server::update_plain(seat.next_seq(), seat.last_input(), &ops);
                seat.send_update(update, bytes % 2 == 1);
            }
            if seat.takes_message() {
                seat.take_clipboard_wish();
                let state = self.core.floor(|floor| floor.state(seat.id, Default::default()));
                seat.send([server::state(seat.id, &state)]);
            }
            seat.send_sound(&Bytes::from_static(&[server::SOUND, 0, 0, 0, 0, 1]));
        }
        self.core.take_size();
    }

    /// What the input thread does with the next command. False: there is none.
    pub fn inject(&mut self) -> bool {
        let Some(command) = self.core.input.pop() else {
            return false;
        };
        match command {
            Command::Leave(viewer) => drop(self.wheels.remove(&viewer)),
            Command::Input { seat, seq, action } => {
                match &action {
                    Action::Wheel { dx, dy, .. } => {
                        let turned = self.wheels.entry(seat.id).or_default().turn(*dx, *dy);
                        assert!(turned.iter().all(|(_, clicks)| *clicks <= 1000));
                    }
                    Action::Key {
                        modifiers, code, key, ..
                    } => {
                        let _ = meaning(key, code, *modifiers);
                    }
                    // Nobody is there who would offer a text for the clipboard.
                    Action::Pointer(_)
                    | Action::Button { .. }
                    | Action::Text(_)
                    | Action::Clipboard(_)
                    | Action::Release => {}
                }
                seat.input_applied(seq);
            }
        }
        true
    }

    /// What must be true whatever the pages said.
    ///
    /// # Panics
    ///
    /// When it is not.
    pub fn check(&self) {
        let (commands, text_bytes) = self.core.input.waiting_now();
        let allowed = MAX_WAITING + self.attached.get();
        assert!(
            commands <= allowed,
            "{commands} commands wait; allowed: {allowed}"
        );
        assert!(text_bytes <= MAX_TEXT_BYTES, "{text_bytes} bytes of text wait");
        let control = self.screen.control().borrow().clone();
        assert!(control.viewers.len() <= MAX_VIEWERS);
        let controls: Vec<ViewerId> = control
            .viewers
            .iter()
            .filter(|viewer| viewer.controls)
            .map(|viewer| viewer.id)
            .collect();
        assert_eq!(
            controls,
            Vec::from_iter(control.holder),
            "one has control, and is there"
        );
        let may = |id| {
            self.core
                .floor(|floor| floor.rights(id))
                .is_some_and(|rights| rights.control)
        };
        assert!(control.holder.is_none_or(may), "who has control may have it");
        assert!(
            control.holder.is_some() || !control.taken_over,
            "the agent rests for somebody"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_that_goes_back_and_forth_fills_no_queue() {
        let screen = Detached::new().unwrap();
        let viewer = screen.attach(0xF);
        viewer.receive(&[1, 1, 1, 2, 3, 4, 1]).unwrap();
        for _ in 0..2000 {
            for verb in [1, 3] {
                viewer.receive(&[13, verb, 0, 0, 0, 0]).unwrap();
            }
        }
        screen.check();
    }
}
