//! A picture in memory and the rectangles on it.
//!
//! A pixel is `0x00RRGGBB`. A picture that nobody has drawn on yet holds [`UNKNOWN`], which equals no pixel of a
//! screen, so that comparing against it finds every pixel changed.

use std::borrow::Cow;
use std::ops::Range;

/// What a pixel holds of which a viewer has seen nothing.
pub const UNKNOWN: u32 = 0xFF00_0000;

/// The most pixels a screen may have: 8K, and what one viewer may make the guest hold in memory.
pub const MAX_PIXELS: usize = 7680 * 4320;

/// Columns whose pixels in one row share a hash.
pub const STRIP_WIDTH: usize = 64;

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

/// Pixels in rows without gaps, and a hash of every strip of every row: what changed or moved is found by hashes, without
/// reading two whole pictures from memory once more.
///
/// Invariant: each hash is that of the pixels it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    pixels: Vec<u32>,
    /// Strip by strip, each from the top row down.
    hashes: Vec<u64>,
}

impl Picture {
    /// A picture of which nothing is known yet.
    pub fn unknown(width: usize, height: usize) -> Self {
        let pixels = vec![UNKNOWN; width * height];
        let hash_of = |x0: usize| hash(&pixels[x0..(x0 + STRIP_WIDTH).min(width)]);
        let hashes = (0..width)
            .step_by(STRIP_WIDTH)
            .flat_map(|x0| vec![hash_of(x0); height])
            .collect();
        Self {
            width,
            height,
            pixels,
            hashes,
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

    /// The pixels from the first of `rect` on, and how far its rows are apart.
    pub fn pixels_from(&self, rect: &Rect) -> (&[u32], usize) {
        (&self.pixels[rect.y0 * self.width + rect.x0..], self.width)
    }

    /// Has `draw` write to the pixels of row `y` in columns `x0..x1`.
    pub fn draw_row(&mut self, y: usize, x0: usize, x1: usize, draw: impl FnOnce(&mut [u32])) {
        draw(&mut self.pixels[y * self.width + x0..y * self.width + x1]);
        self.hash_again(y, x0, x1);
    }

    /// Takes the pixels of `rect` from `other`, which has the same size.
    pub fn take(&mut self, other: &Self, rect: &Rect) {
        if rect.is_empty() {
            return;
        }
        for y in rect.y0..rect.y1 {
            let span = y * self.width + rect.x0..y * self.width + rect.x1;
            self.pixels[span.clone()].copy_from_slice(&other.pixels[span]);
        }
        for strip in rect.x0 / STRIP_WIDTH..rect.x1.div_ceil(STRIP_WIDTH) {
            let columns = self.strip(strip);
            let rows = strip * self.height + rect.y0..strip * self.height + rect.y1;
            if rect.x0 <= columns.start && columns.end <= rect.x1 {
                self.hashes[rows.clone()].copy_from_slice(&other.hashes[rows]);
            } else {
                for y in rect.y0..rect.y1 {
                    self.hashes[strip * self.height + y] = hash(self.row(y, columns.start, columns.end));
                }
            }
        }
    }

    /// Moves `width` by `height` pixels from `(sx, sy)` to `(x, y)`, as if the source were read before anything
    /// is written.
    pub fn shift(&mut self, sx: usize, sy: usize, to: &Rect) {
        let (stride, width) = (self.width, to.width());
        let mut line = |row: usize| {
            let (y, from) = (to.y0 + row, sy + row);
            self.pixels
                .copy_within(from * stride + sx..from * stride + sx + width, y * stride + to.x0);
            for strip in to.x0 / STRIP_WIDTH..to.x1.div_ceil(STRIP_WIDTH) {
                let columns = self.strip(strip);
                let whole = to.x0 <= columns.start && columns.end <= to.x1;
                self.hashes[strip * self.height + y] = if whole && sx == to.x0 {
                    self.hashes[strip * self.height + from]
                } else {
                    hash(self.row(y, columns.start, columns.end))
                };
            }
        };
        if sy < to.y0 {
            (0..to.height()).rev().for_each(&mut line);
        } else {
            (0..to.height()).for_each(&mut line);
        }
    }

    /// The hashes of rows `rows` of the `strip`th strip.
    pub fn hashes_of(&self, strip: usize, rows: Range<usize>) -> &[u64] {
        &self.hashes[strip * self.height..][rows]
    }

    /// The hashes of a strip's rows `rows`, for the strip that is `columns`, or a part of one.
    pub fn hashes(&self, rows: Range<usize>, columns: &Range<usize>) -> Cow<'_, [u64]> {
        let strip = columns.start / STRIP_WIDTH;
        if *columns == self.strip(strip) {
            return Cow::Borrowed(self.hashes_of(strip, rows));
        }
        Cow::Owned(
            rows.map(|y| hash(self.row(y, columns.start, columns.end)))
                .collect(),
        )
    }

    /// The columns of a strip.
    fn strip(&self, strip: usize) -> Range<usize> {
        strip * STRIP_WIDTH..((strip + 1) * STRIP_WIDTH).min(self.width)
    }

    /// Hashes the strips of row `y` that meet columns `x0..x1`, whose pixels were just written and so are at hand.
    fn hash_again(&mut self, y: usize, x0: usize, x1: usize) {
        for strip in x0 / STRIP_WIDTH..x1.div_ceil(STRIP_WIDTH) {
            let columns = self.strip(strip);
            self.hashes[strip * self.height + y] = hash(self.row(y, columns.start, columns.end));
        }
    }
}

/// Of at most [`STRIP_WIDTH`] pixels. Rows that differ have the same hash once in 2^60 times or more; no program can gain by
/// making some, for what its own viewers see is its own to choose.
fn hash(row: &[u32]) -> u64 {
    if let Ok(whole) = row.try_into() {
        return hash_strip(whole);
    }
    let mut padded = [0; STRIP_WIDTH];
    padded[..row.len()].copy_from_slice(row);
    hash_strip(&padded)
}

/// Two sums of products of pixels of the left half with those of the right half, each under keys of its own. Loops of fixed
/// length over arrays, which compilers turn into vector instructions.
fn hash_strip(row: &[u32; STRIP_WIDTH]) -> u64 {
    const HALF: usize = STRIP_WIDTH / 2;
    let (mut first, mut second) = (0u64, 0u64);
    for n in 0..HALF {
        let (left, right) = (row[n], row[n + HALF]);
        let product = |a: u32, b: u32| u64::from(left.wrapping_add(a)) * u64::from(right.wrapping_add(b));
        first = first.wrapping_add(product(KEYS[0][n], KEYS[1][n]));
        second = second.wrapping_add(product(KEYS[2][n], KEYS[3][n]));
    }
    // Spreads both to the high bits, by which rows are looked up.
    let sum = first.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ second.wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
    (sum ^ sum >> 29).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

const KEYS: [[u32; STRIP_WIDTH / 2]; 4] = {
    let mut keys = [[0; STRIP_WIDTH / 2]; 4];
    let (mut n, mut state) = (0, 0x2545_F491u32);
    while n < STRIP_WIDTH * 2 {
        state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        keys[n % 4][n / 4] = state ^ state >> 15;
        n += 1;
    }
    keys
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_reads_the_source_before_it_writes() {
        for (sx, sy, x, y) in [(0, 0, 1, 2), (1, 2, 0, 0), (2, 1, 0, 1), (0, 1, 2, 1)] {
            let mut picture = Picture::unknown(6, 6);
            for y in 0..6 {
                picture.draw_row(y, 0, 6, |row| {
                    row.copy_from_slice(&[0, 1, 2, 3, 4, 5].map(|x| x + y as u32 * 6))
                });
            }
            let before = picture.clone();
            picture.shift(sx, sy, &Rect::at(x, y, 4, 3));
            for row in 0..3 {
                assert_eq!(picture.row(y + row, x, x + 4), before.row(sy + row, sx, sx + 4));
            }
        }
    }

    #[test]
    fn what_is_taken_over_has_the_hashes_of_its_pixels() {
        let (width, height) = (150, 4);
        let mut other = Picture::unknown(width, height);
        for y in 0..height {
            other.draw_row(y, 0, width, |row| {
                row.iter_mut()
                    .enumerate()
                    .for_each(|(x, p)| *p = (x * 7 + y) as u32)
            });
        }
        for rect in [
            Rect::at(0, 0, 150, 4),
            Rect::at(10, 1, 100, 2),
            Rect::at(64, 0, 64, 1),
            Rect::at(130, 3, 20, 1),
        ] {
            let mut picture = Picture::unknown(width, height);
            picture.take(&other, &rect);
            let mut same = Picture::unknown(width, height);
            for y in rect.y0..rect.y1 {
                same.draw_row(y, rect.x0, rect.x1, |row| {
                    row.copy_from_slice(other.row(y, rect.x0, rect.x1))
                });
            }
            assert!(picture == same);
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
