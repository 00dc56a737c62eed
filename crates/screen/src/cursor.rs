//! The pointer's shape, as the page shows it. Never drawn into updates.

use bytes::Bytes;

use crate::wire::server;

/// Columns and rows of a shape at most; what is larger is cut, for a session draws what it likes.
const MAX_SIDE: usize = 256;

/// A shape as X gives it.
pub struct Shape<'a> {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
    /// Column that points.
    pub hot_x: u16,
    /// Row that points.
    pub hot_y: u16,
    /// `0xAARRGGBB`, premultiplied, in rows without gaps.
    pub pixels: &'a [u32],
}

/// The message that shows `shape`; a shape of which nothing can be seen hides the pointer.
pub fn message(shape: &Shape<'_>) -> Bytes {
    let (width, height) = (usize::from(shape.width), usize::from(shape.height));
    let whole = width > 0 && shape.pixels.len() >= width * height;
    if !whole || shape.pixels.iter().all(|pixel| pixel >> 24 == 0) {
        return server::cursor(0, 0, 0, 0, &[]);
    }
    let (columns, rows) = (width.min(MAX_SIDE), height.min(MAX_SIDE));
    let mut rgba = Vec::with_capacity(columns * rows * 4);
    for row in shape.pixels.chunks_exact(width).take(rows) {
        rgba.extend(row[..columns].iter().flat_map(|pixel| straight(*pixel)));
    }
    let hot = |at: u16, side: usize| at.min((side - 1) as u16);
    server::cursor(
        columns as u16,
        rows as u16,
        hot(shape.hot_x, columns),
        hot(shape.hot_y, rows),
        &rgba,
    )
}

/// Red, green, blue, alpha, with the alpha taken out of the colours.
fn straight(pixel: u32) -> [u8; 4] {
    let [blue, green, red, alpha] = pixel.to_le_bytes();
    let part = |colour: u8| {
        let (colour, alpha) = (u32::from(colour), u32::from(alpha));
        // No division by zero: with no alpha there is no colour. More colour than alpha is a broken shape.
        ((colour * 255 + alpha / 2).checked_div(alpha).unwrap_or(0)).min(255) as u8
    };
    [part(red), part(green), part(blue), alpha]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(width: u16, height: u16, pixels: &[u32]) -> Shape<'_> {
        Shape {
            width,
            height,
            hot_x: 1,
            hot_y: 0,
            pixels,
        }
    }

    #[test]
    fn alpha_is_taken_out_of_the_colours() {
        let message = message(&shape(2, 1, &[0x8040_2000, 0xFF01_0203]));
        assert_eq!(
            message[..],
            [5, 2, 0, 1, 0, 1, 0, 0, 0, 128, 64, 0, 128, 1, 2, 3, 255]
        );
    }

    #[test]
    fn what_cannot_be_seen_is_hidden_and_what_is_huge_is_cut() {
        assert_eq!(
            message(&shape(2, 1, &[0, 0x0012_3456]))[..],
            [5, 0, 0, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(
            message(&shape(2, 2, &[u32::MAX]))[..],
            [5, 0, 0, 0, 0, 0, 0, 0, 0]
        );
        let huge = vec![u32::MAX; 300 * 2];
        assert_eq!(message(&shape(300, 2, &huge)).len(), 9 + 256 * 2 * 4);
    }
}
