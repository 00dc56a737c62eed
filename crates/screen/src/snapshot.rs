//! Looks at the screen once: its size, the pointer, its pixels. Windows: see [`crate::windows`].

use x11rb::connection::Connection;
use x11rb::errors::{ReplyError, ReplyOrIdError};
use x11rb::protocol::xfixes::ConnectionExt as _;
use x11rb::protocol::xproto::{ConnectionExt as _, Window};
use x11rb::rust_connection::RustConnection;

use crate::connect::connect;
use crate::error::ScreenError;
use crate::grab::{Grabber, is_true_colour};
use crate::picture::{Picture, Rect};

/// The pixels of the screen, with the pointer on it.
#[derive(Debug)]
pub struct Snapshot {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Red, green and blue of each pixel, row by row.
    pub rgb: Vec<u8>,
}

/// A connection that looks and asks, and moves nothing. Its calls block for a round trip or a few.
pub struct Looker {
    pub(crate) connection: RustConnection,
    pub(crate) root: Window,
    screen: usize,
    display: String,
}

impl Looker {
    /// Connects to an X server.
    pub fn open(display: &str) -> Result<Self, ScreenError> {
        let (connection, screen) = connect(display)?;
        let root = connection.setup().roots[screen].root;
        Ok(Self {
            connection,
            root,
            screen,
            display: display.to_owned(),
        })
    }

    /// Columns and rows.
    pub fn size(&self) -> Result<(u16, u16), ScreenError> {
        let geometry = self.connection.get_geometry(self.root).map_err(ReplyError::from);
        let geometry = geometry
            .and_then(|cookie| cookie.reply())
            .map_err(refused("ask for the screen's size"))?;
        Ok((geometry.width, geometry.height))
    }

    /// Where the pointer is.
    pub fn cursor(&self) -> Result<(i16, i16), ScreenError> {
        let pointer = self.connection.query_pointer(self.root).map_err(ReplyError::from);
        let pointer = pointer
            .and_then(|cookie| cookie.reply())
            .map_err(refused("ask where the pointer is"))?;
        Ok((pointer.root_x, pointer.root_y))
    }

    /// What the screen shows now.
    pub fn snapshot(&self) -> Result<Snapshot, ScreenError> {
        let (width, height) = self.size()?;
        if !is_true_colour(&self.connection, self.screen) {
            return Err(ScreenError::Depth {
                display: self.display.clone(),
                depth: self.connection.setup().roots[self.screen].root_depth,
            });
        }
        let (columns, rows) = (usize::from(width), usize::from(height));
        let mut picture = Picture::unknown(columns, rows);
        let whole = Rect {
            x0: 0,
            y0: 0,
            x1: columns,
            y1: rows,
        };
        let grabber =
            Grabber::new(&self.connection, columns * rows).map_err(|source| ScreenError::Request {
                step: "capture the screen",
                source,
            })?;
        let grabbed = grabber.grab(&self.connection, self.root, &mut picture, &whole);
        let _ = grabber.release(&self.connection);
        grabbed.map_err(refused("capture the screen"))?;
        let mut rgb = Vec::with_capacity(columns * rows * 3);
        for y in 0..rows {
            for pixel in picture.row(y, 0, columns) {
                let [_, red, green, blue] = pixel.to_be_bytes();
                rgb.extend([red, green, blue]);
            }
        }
        let mut snapshot = Snapshot {
            width: width.into(),
            height: height.into(),
            rgb,
        };
        // A server that does not tell its pointer's shape is looked at without.
        let _ = self.draw_cursor(&mut snapshot);
        Ok(snapshot)
    }

    fn draw_cursor(&self, snapshot: &mut Snapshot) -> Result<(), ReplyError> {
        self.connection.xfixes_query_version(5, 0)?.reply()?;
        let cursor = self.connection.xfixes_get_cursor_image()?.reply()?;
        let left = i32::from(cursor.x) - i32::from(cursor.xhot);
        let top = i32::from(cursor.y) - i32::from(cursor.yhot);
        let columns = usize::from(cursor.width).max(1);
        for (row, pixels) in cursor.cursor_image.chunks(columns).enumerate() {
            for (column, pixel) in pixels.iter().enumerate() {
                let x = left + i32::try_from(column).unwrap_or(0);
                let y = top + i32::try_from(row).unwrap_or(0);
                let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else {
                    continue;
                };
                if x >= snapshot.width || y >= snapshot.height {
                    continue;
                }
                let at = (y as usize * snapshot.width as usize + x as usize) * 3;
                let [alpha, red, green, blue] = pixel.to_be_bytes();
                // X gives colours that are multiplied with their opacity already.
                for (under, over) in snapshot.rgb[at..at + 3].iter_mut().zip([red, green, blue]) {
                    let kept = u16::from(*under) * (255 - u16::from(alpha)) / 255;
                    *under = over.saturating_add(u8::try_from(kept).unwrap_or(u8::MAX));
                }
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Looker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Looker")
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

pub(crate) fn refused<E: Into<ReplyOrIdError>>(step: &'static str) -> impl Fn(E) -> ScreenError {
    move |source| ScreenError::Request {
        step,
        source: source.into(),
    }
}
