//! A picture in memory and the rectangles on it.
//!
//! A pixel is `0x00RRGGBB`. A picture that nobody has drawn on yet holds [`UNKNOWN`], which equals no pixel of a
//! screen, so that comparing against it finds every pixel changed.

/// What a pixel holds of which a viewer has seen nothing.
pub const UNKNOWN: u32 = 0xFF00_0000;

/// The most pixels a screen may have: 8K, and what one viewer may make the guest hold in memory.
pub const MAX_PIXELS: usize = 7680 * 4320;

/// A rectangle of pixels: `x0..x1` by `y0..y1`, never turned inside out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rect {
    /// First column.
    pub x0: usize,
    /// First row.
    pub y0: usize,
    /// Column after the last.
    pub x1: usize,
    /// Row after the last.
    pub y1: usize,
}

impl Rect {
    /// The rectangle at `(x, y)` that is `width` by `height`.
    pub fn at(x: usize, y: usize, width: usize, height: usize) -> Self {
        Self {
            x0: x,
            y0: y,
            x1: x + width,
            y1: y + height,
        }
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.x1.saturating_sub(self.x0)
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.y1.saturating_sub(self.y0)
    }

    /// Pixels.
    pub fn area(&self) -> usize {
        self.width() * self.height()
    }

    /// Whether it holds no pixel.
    pub fn is_empty(&self) -> bool {
        self.area() == 0
    }

    /// The smallest rectangle that holds both.
    pub fn union(&self, other: &Self) -> Self {
        Self {
            x0: self.x0.min(other.x0),
            y0: self.y0.min(other.y0),
            x1: self.x1.max(other.x1),
            y1: self.y1.max(other.y1),
        }
    }

    /// What both hold; empty when they do not meet.
    pub fn intersection(&self, other: &Self) -> Self {
        let (x0, y0) = (self.x0.max(other.x0), self.y0.max(other.y0));
        let (x1, y1) = (self.x1.min(other.x1), self.y1.min(other.y1));
        // An empty one lies at the origin, so that it is within every picture.
        if x0 < x1 && y0 < y1 {
            Self { x0, y0, x1, y1 }
        } else {
            Self::at(0, 0, 0, 0)
        }
    }

    /// Whether every pixel of `other` is in it.
    pub fn contains(&self, other: &Self) -> bool {
        self.x0 <= other.x0 && self.y0 <= other.y0 && self.x1 >= other.x1 && self.y1 >= other.y1
    }
}

/// Pixels in rows without gaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    pixels: Vec<u32>,
}

impl Picture {
    /// A picture of which nothing is known yet.
    pub fn unknown(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            pixels: vec![UNKNOWN; width * height],
        }
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// All of it.
    pub fn bounds(&self) -> Rect {
        Rect::at(0, 0, self.width, self.height)
    }

    /// The pixels of row `y` in columns `x0..x1`.
    #[inline]
    pub fn row(&self, y: usize, x0: usize, x1: usize) -> &[u32] {
        &self.pixels[y * self.width + x0..y * self.width + x1]
    }

    /// The same, to write to.
    #[inline]
    pub fn row_mut(&mut self, y: usize, x0: usize, x1: usize) -> &mut [u32] {
        &mut self.pixels[y * self.width + x0..y * self.width + x1]
    }

    /// Takes the pixels of `rect` from `other`, which has the same size.
    pub fn take(&mut self, other: &Self, rect: &Rect) {
        for y in rect.y0..rect.y1 {
            self.row_mut(y, rect.x0, rect.x1)
                .copy_from_slice(other.row(y, rect.x0, rect.x1));
        }
    }

    /// Moves `width` by `height` pixels from `(sx, sy)` to `(x, y)`, as if the source were read before anything
    /// is written.
    pub fn shift(&mut self, sx: usize, sy: usize, to: &Rect) {
        let (stride, width) = (self.width, to.width());
        let mut line = |row: usize| {
            let from = (sy + row) * stride + sx;
            self.pixels
                .copy_within(from..from + width, (to.y0 + row) * stride + to.x0);
        };
        if sy < to.y0 {
            (0..to.height()).rev().for_each(&mut line);
        } else {
            (0..to.height()).for_each(&mut line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_reads_the_source_before_it_writes() {
        for (sx, sy, x, y) in [(0, 0, 1, 2), (1, 2, 0, 0), (2, 1, 0, 1), (0, 1, 2, 1)] {
            let mut picture = Picture::unknown(6, 6);
            for (n, pixel) in picture.pixels.iter_mut().enumerate() {
                *pixel = n as u32;
            }
            let before = picture.clone();
            picture.shift(sx, sy, &Rect::at(x, y, 4, 3));
            for row in 0..3 {
                assert_eq!(picture.row(y + row, x, x + 4), before.row(sy + row, sx, sx + 4));
            }
        }
    }

    #[test]
    fn rectangles_meet_and_join() {
        let (a, b) = (Rect::at(0, 0, 10, 10), Rect::at(5, 6, 10, 10));
        assert_eq!(a.intersection(&b), Rect::at(5, 6, 5, 4));
        assert_eq!(a.union(&b), Rect::at(0, 0, 15, 16));
        assert!(a.intersection(&Rect::at(20, 20, 5, 5)).is_empty());
    }
}
