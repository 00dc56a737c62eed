//! Pixels from the X server, through shared memory where it can, else through the connection.

use std::io;

use tracing::debug;
use x11rb::connection::{Connection, RequestConnection};
use x11rb::errors::{ConnectionError, ReplyError, ReplyOrIdError};
use x11rb::protocol::shm::{self, ConnectionExt as _};
use x11rb::protocol::xproto::{ConnectionExt as _, ImageFormat, ImageOrder, Window};
use x11rb::rust_connection::RustConnection;

use crate::picture::{Picture, Rect};
use crate::segment::Segment;

/// Eight bits each of red, green and blue, and eight that mean nothing.
const COLOUR: u32 = 0x00FF_FFFF;

/// How captures come from the server.
pub enum Grabber {
    /// The server writes into memory of ours.
    Shared {
        /// X's name for the memory.
        seg: shm::Seg,
        /// The memory.
        segment: Segment,
    },
    /// The server sends them; ten times slower.
    Plain,
}

impl Grabber {
    /// For pictures of up to `pixels` pixels.
    pub fn new(connection: &RustConnection, pixels: usize) -> Result<Self, ReplyOrIdError> {
        match share(connection, pixels) {
            Ok(shared) => Ok(shared),
            // The connection works, so captures can still come through it.
            Err(ShareError::Refused(why)) => {
                debug!(%why, "captures go through the connection, not through shared memory");
                Ok(Self::Plain)
            }
            Err(ShareError::Connection(error)) => Err(error),
        }
    }

    /// Brings `rect` of `picture`, which lies on the screen, up to date.
    pub fn grab(
        &self,
        connection: &RustConnection,
        root: Window,
        picture: &mut Picture,
        rect: &Rect,
    ) -> Result<(), ReplyError> {
        let format = ImageFormat::Z_PIXMAP;
        // Screens have at most 32,767 columns and rows in X.
        let (x, y) = (rect.x0 as i16, rect.y0 as i16);
        let (width, height) = (rect.width() as u16, rect.height() as u16);
        match self {
            Self::Shared { seg, segment } => {
                connection
                    .shm_get_image(root, x, y, width, height, u32::MAX, u8::from(format), *seg, 0)?
                    .reply()?;
                for row in 0..rect.height() {
                    picture.draw_row(rect.y0 + row, rect.x0, rect.x1, |pixels| {
                        segment.read(row * rect.width(), pixels);
                        for pixel in pixels {
                            *pixel = u32::from_le(*pixel) & COLOUR;
                        }
                    });
                }
            }
            Self::Plain => {
                let image = connection
                    .get_image(format, root, x, y, width, height, u32::MAX)?
                    .reply()?;
                if image.data.len() < rect.area() * 4 {
                    return Err(
                        ConnectionError::ParseError(x11rb::errors::ParseError::InsufficientData).into(),
                    );
                }
                for (row, bytes) in image
                    .data
                    .chunks_exact(rect.width() * 4)
                    .take(rect.height())
                    .enumerate()
                {
                    picture.draw_row(rect.y0 + row, rect.x0, rect.x1, |pixels| {
                        for (pixel, bytes) in pixels.iter_mut().zip(bytes.chunks_exact(4)) {
                            *pixel = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]);
                        }
                    });
                }
            }
        }
        Ok(())
    }

    /// Gives the memory back.
    pub fn release(self, connection: &RustConnection) -> Result<(), ConnectionError> {
        if let Self::Shared { seg, segment } = self {
            // Detached first, so that the server does not write to what is unmapped. (It has a mapping of its own.)
            connection.shm_detach(seg)?;
            drop(segment);
        }
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
enum ShareError {
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Connection(ReplyOrIdError),
}

impl From<io::Error> for ShareError {
    fn from(error: io::Error) -> Self {
        Self::Refused(error.to_string())
    }
}

fn share(connection: &RustConnection, pixels: usize) -> Result<Grabber, ShareError> {
    let lost = |error: ReplyError| match error {
        ReplyError::X11Error(error) => ShareError::Refused(format!("{:?}", error.error_kind)),
        ReplyError::ConnectionError(error) => ShareError::Connection(error.into()),
    };
    if connection
        .extension_information(shm::X11_EXTENSION_NAME)
        .map_err(|e| lost(e.into()))?
        .is_none()
    {
        return Err(ShareError::Refused("the server has no MIT-SHM".into()));
    }
    let version = connection
        .shm_query_version()
        .map_err(|e| lost(e.into()))?
        .reply()
        .map_err(lost)?;
    if (version.major_version, version.minor_version) < (1, 2) {
        return Err(ShareError::Refused(
            "the server's MIT-SHM takes no descriptors".into(),
        ));
    }
    let (segment, file) = Segment::new(pixels)?;
    let seg = connection.generate_id().map_err(ShareError::Connection)?;
    connection
        .shm_attach_fd(seg, file, false)
        .map_err(|e| lost(e.into()))?
        .check()
        .map_err(lost)?;
    Ok(Grabber::Shared { seg, segment })
}

/// Whether `root`'s pixels are 32 bits of blue, green, red, in that order in memory.
pub fn is_true_colour(connection: &RustConnection, screen: usize) -> bool {
    let setup = connection.setup();
    let Some(screen) = setup.roots.get(screen) else {
        return false;
    };
    let format = setup
        .pixmap_formats
        .iter()
        .find(|format| format.depth == screen.root_depth);
    let visual = screen
        .allowed_depths
        .iter()
        .flat_map(|depth| &depth.visuals)
        .find(|visual| visual.visual_id == screen.root_visual);
    setup.image_byte_order == ImageOrder::LSB_FIRST
        && format.is_some_and(|format| format.bits_per_pixel == 32 && format.scanline_pad == 32)
        && visual.is_some_and(|v| (v.red_mask, v.green_mask, v.blue_mask) == (0xFF_0000, 0xFF00, 0xFF))
}
