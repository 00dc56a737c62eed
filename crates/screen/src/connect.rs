//! Connecting to an X server: capture and input each have a connection of their own.

use x11rb::rust_connection::RustConnection;

use crate::error::ScreenError;

/// A connection to the X server of `display`, and the number of its screen.
pub fn connect(display: &str) -> Result<(RustConnection, usize), ScreenError> {
    RustConnection::connect(Some(display)).map_err(|source| ScreenError::Connect {
        display: display.into(),
        source,
    })
}
