//! Why a screen could not be opened.

use std::io;

use x11rb::errors::{ConnectError, ReplyOrIdError};

/// Why a screen could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ScreenError {
    /// No X server answers there.
    #[error("no X server answers on display `{display}`")]
    Connect {
        /// The display asked for.
        display: String,
        /// What the connection said.
        source: ConnectError,
    },
    /// The X server lacks something.
    #[error(
        "the X server of display `{display}` has no `{extension}` extension; use Xvfb or Xorg 1.16 or newer"
    )]
    Extension {
        /// The display.
        display: String,
        /// X's name of the extension.
        extension: &'static str,
    },
    /// Pixels that are not 32 bits of blue, green, red.
    #[error("display `{display}` has {depth} bits a pixel; start its X server with a depth of 24")]
    Depth {
        /// The display.
        display: String,
        /// Its depth.
        depth: u8,
    },
    /// More pixels than are captured.
    #[error("the screen has {width} x {height} pixels; at most 7680 x 4320 can be shown")]
    Size {
        /// Columns.
        width: u16,
        /// Rows.
        height: u16,
    },
    /// The X server refused a request.
    #[error("could not {step}")]
    Request {
        /// What was being done.
        step: &'static str,
        /// What the X server said.
        source: ReplyOrIdError,
    },
    /// The system refused a thread or a descriptor.
    #[error("could not start the screen's threads")]
    Threads(#[source] io::Error),
}
