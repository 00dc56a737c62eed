//! What a person does in a page, done again on the display.
//!
//! Viewers put input into one [`queue`]; one [`thread`] takes it out and speaks XTest on a connection of its own, so
//! that a capture under way delays no key. [`meaning`] decides what a key of a browser means, [`keymap`] where the
//! display's keyboard has it, [`spares`] lends key codes to characters that it does not have.

pub mod device;
pub mod keyboard;
pub mod keymap;
pub mod meaning;
pub mod pointer;
pub mod queue;
pub mod spares;
pub mod thread;
