//! Another size for the screen, through RandR.

use x11rb::connection::Connection;
use x11rb::errors::ReplyOrIdError;
use x11rb::protocol::randr::{ConnectionExt as _, Mode, ModeInfo};
use x11rb::protocol::xproto::{ConnectionExt as _, Window};
use x11rb::rust_connection::RustConnection;

use crate::connect::connect;
use crate::error::ScreenError;

/// The smallest size that a desktop is of use in.
const SMALLEST: (u16, u16) = (320, 240);

/// Gives the screen of `display` this size, as far as its X server can. Blocks for a few round trips.
pub fn resize(display: &str, width: u16, height: u16) -> Result<(), ScreenError> {
    let (connection, screen) = connect(display)?;
    let root = connection.setup().roots[screen].root;
    apply(&connection, root, width, height).map_err(|source| ScreenError::Request {
        step: "change the screen's size",
        source,
    })
}

/// The largest size that the X server can give the screen; none if it can give it no other than it has.
pub fn largest(connection: &RustConnection, root: Window) -> Result<Option<(u16, u16)>, ReplyOrIdError> {
    let range = connection.randr_get_screen_size_range(root)?.reply()?;
    let fixed = range.min_width == range.max_width && range.min_height == range.max_height;
    Ok((!fixed).then_some((range.max_width, range.max_height)))
}

/// The size nearest to this one that the X server can give the screen.
pub fn nearest((max_width, max_height): (u16, u16), width: u16, height: u16) -> (u16, u16) {
    let near = |wanted: u16, least: u16, most: u16| wanted.clamp(least.min(most), most);
    (
        near(width, SMALLEST.0, max_width),
        near(height, SMALLEST.1, max_height),
    )
}

/// Gives the screen a size.
pub fn apply(
    connection: &RustConnection,
    root: Window,
    width: u16,
    height: u16,
) -> Result<(), ReplyOrIdError> {
    let Some(most) = largest(connection, root)? else {
        return Ok(());
    };
    let (width, height) = nearest(most, width, height);
    let geometry = connection.get_geometry(root)?.reply()?;
    if (geometry.width, geometry.height) == (width, height) {
        return Ok(());
    }
    // Nobody else sees, or changes, what is half done.
    connection.grab_server()?;
    let changed = change(connection, root, width, height);
    connection.ungrab_server()?;
    connection.flush()?;
    changed
}

fn change(connection: &RustConnection, root: Window, width: u16, height: u16) -> Result<(), ReplyOrIdError> {
    let resources = connection.randr_get_screen_resources_current(root)?.reply()?;
    let time = resources.config_timestamp;
    let (Some(crtc), Some(output)) = (
        resources.crtcs.first().copied(),
        resources.outputs.first().copied(),
    ) else {
        return resize_without_output(connection, root, width, height);
    };
    let rotation = connection.randr_get_crtc_info(crtc, time)?.reply()?.rotation;
    let off = x11rb::NONE;
    connection
        .randr_set_crtc_config(crtc, x11rb::CURRENT_TIME, time, 0, 0, off, rotation, &[])?
        .reply()?;
    resize_without_output(connection, root, width, height)?;
    let name = format!("berth-{width}x{height}");
    let known = connection.randr_get_screen_resources_current(root)?.reply()?;
    let mode = match mode_called(&known.modes, &known.names, name.as_bytes()) {
        Some(mode) => mode,
        None => {
            let info = ModeInfo {
                width,
                height,
                // Of no consequence where there is no monitor, but programs divide by them.
                dot_clock: u32::from(width) * u32::from(height) * 60,
                htotal: width,
                vtotal: height,
                name_len: name.len() as u16,
                ..ModeInfo::default()
            };
            let mode = connection
                .randr_create_mode(root, info, name.as_bytes())?
                .reply()?
                .mode;
            connection.randr_add_output_mode(output, mode)?;
            mode
        }
    };
    connection
        .randr_set_crtc_config(
            crtc,
            x11rb::CURRENT_TIME,
            known.config_timestamp,
            0,
            0,
            mode,
            rotation,
            &[output],
        )?
        .reply()?;
    Ok(())
}

/// The mode of this name; names stand one behind the other.
fn mode_called(modes: &[ModeInfo], names: &[u8], wanted: &[u8]) -> Option<Mode> {
    let mut rest = names;
    for mode in modes {
        let (name, after) = rest.split_at_checked(usize::from(mode.name_len))?;
        if name == wanted {
            return Some(mode.id);
        }
        rest = after;
    }
    None
}

fn resize_without_output(
    connection: &RustConnection,
    root: Window,
    width: u16,
    height: u16,
) -> Result<(), ReplyOrIdError> {
    // Millimetres at 96 dots an inch, or letters come in another size.
    let millimetres = |pixels: u16| (f64::from(pixels) * 25.4 / 96.0).round() as u32;
    connection
        .randr_set_screen_size(root, width, height, millimetres(width), millimetres(height))?
        .check()?;
    Ok(())
}
