//! The live view's engine: shows a display to pages, without loss and only when something changed, and does there what
//! the people behind the pages do.
//!
//! ```text
//!              X server                                                      page
//!  damage ------> capture --> audience --> encode (scroll, tiles, ops)
//!  pixels ------>                              |---> deflate --> seat --> Viewer::next ------> canvas
//!  XTest  <------ input (keyboard, pointer) <--------------------- Viewer::receive <---- input, acknowledgements
//! ```
//!
//! In: the name of a display, and the binary messages of pages. Out: binary messages for pages, in the format of
//! [`wire`]. Whoever uses this carries the messages, one WebSocket for each [`Viewer`]; no HTTP in here.
//!
//! Three threads for each screen, for pictures, input and the clipboard, each with a connection of its own to the X
//! server, so that a capture delays no key. They
//! sleep without a timer when nothing changes or nobody watches. Nothing is encoded for a viewer that cannot take it
//! yet, so nothing that is sent is stale, and nothing queues up.
//!
//! Never: a pixel that stays wrong (each viewer's picture is compared with the screen's, not guessed), a key that
//! stays down after its viewer is gone, a message of a page that is believed without a check.
//!
//! Start reading at [`Screen`]; the middle is `capture`, and the pure parts behind it are `encode` and `audience`.

mod agent;
mod audience;
mod capture;
mod clipboard;
mod connect;
mod core;
mod cursor;
mod deflate;
mod encode;
mod error;
mod floor;
mod flow;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod grab;
mod input;
mod lossy;
mod marks;
mod motion;
mod notices;
mod ops;
mod pace;
mod picture;
mod region;
mod resize;
mod screen;
mod scroll;
mod seat;
mod segment;
mod snapshot;
mod tiles;
mod video;
mod wake;
mod watch;
mod windows;
pub mod wire;

#[cfg(test)]
#[expect(
    dead_code,
    reason = "whole messages are painted by the tests against an X server"
)]
mod painter;
#[cfg(test)]
mod seeds_tests;

pub use self::core::MAX_VIEWERS;
pub use agent::{Agent, AgentError, Button, Direction};
pub use error::ScreenError;
pub use floor::{Control, Presence, Rights, Visitor};
pub use resize::resize;
pub use screen::{Received, Screen, Viewer, WeakScreen};
pub use snapshot::{Looker, Snapshot};
pub use windows::{Window, WindowChange};
pub use wire::WireError;
