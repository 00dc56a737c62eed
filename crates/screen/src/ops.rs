//! Drawing operations: how a rectangle of a picture is written for the page, without loss.
//!
//! In: a picture and a rectangle of it. Out: bytes of one operation, in the smallest of four forms. They are laid
//! out for the deflate stream behind: palettes are sorted, so that the same text in the same colours gives the same
//! bytes wherever it stands, and true colour is predicted from the left with green subtracted.

use crate::picture::{Picture, Rect};

/// Area that moves within the page's canvas.
pub const OP_COPY: u8 = 1;
/// One colour.
pub const OP_FILL: u8 = 2;
/// Up to 256 colours.
pub const OP_PALETTE: u8 = 3;
/// Any colours.
pub const OP_TRUE_COLOUR: u8 = 4;

/// Colours a palette holds at most.
pub const MAX_COLOURS: usize = 256;

/// Four times [`MAX_COLOURS`], so that a search seldom looks twice.
const TABLE: usize = 1024;
const FREE: u16 = u16::MAX;

/// Operations under construction, and the memory that finding palettes needs.
pub struct Ops {
    bytes: Vec<u8>,
    cost: usize,
    palette: Palette,
}

impl Default for Ops {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            cost: 0,
            palette: Palette::new(),
        }
    }
}

impl Ops {
    /// The operations so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes that they take on the wire, as far as one can tell before deflating.
    pub fn cost(&self) -> usize {
        self.cost
    }

    /// Starts anew.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.cost = 0;
    }

    /// Moves the area at `(sx, sy)` to `to`.
    pub fn copy(&mut self, sx: usize, sy: usize, to: &Rect) {
        self.bytes.push(OP_COPY);
        self.numbers(&[sx, sy, to.x0, to.y0, to.width(), to.height()]);
        self.cost += 13;
    }

    /// Whether `rect` has at most [`MAX_COLOURS`] colours.
    pub fn is_text_like(&mut self, picture: &Picture, rect: &Rect) -> bool {
        self.palette.scan(picture, rect)
    }

    /// Whether what [`Self::is_text_like`] said yes to has one colour.
    pub fn is_one_colour(&self) -> bool {
        self.palette.colours.len() == 1
    }

    /// Paints `rect` after [`Self::is_text_like`] said yes to this very rectangle.
    pub fn paint_scanned(&mut self, rect: &Rect) {
        let palette = &mut self.palette;
        palette.sort();
        match palette.colours.len() {
            1 => {
                let colour = palette.colours[0];
                self.head(OP_FILL, rect);
                self.colour(colour);
                self.cost += 12;
            }
            count => {
                self.head(OP_PALETTE, rect);
                // At most 256 colours, so one less fits a byte.
                self.bytes.push((count - 1) as u8);
                for n in 0..count {
                    self.colour(self.palette.colours[n]);
                }
                if count == 2 {
                    let ranks = &self.palette.ranks;
                    for row in self.palette.indices.chunks_exact(rect.width()) {
                        self.bytes.extend(row.chunks(8).map(|eight| {
                            eight
                                .iter()
                                .rev()
                                .fold(0, |bits, index| bits << 1 | ranks[usize::from(*index)])
                        }));
                    }
                } else {
                    let ranks = &self.palette.ranks;
                    self.bytes.extend(
                        self.palette
                            .indices
                            .iter()
                            .map(|index| ranks[usize::from(*index)]),
                    );
                }
                // Measured on terminals and pages: an index deflates to about a twelfth of a byte.
                self.cost += 10 + count * 2 + rect.area() / 12;
            }
        }
    }

    /// Paints `rect` as it is, in whatever many colours.
    pub fn true_colour(&mut self, picture: &Picture, rect: &Rect) {
        self.head(OP_TRUE_COLOUR, rect);
        self.bytes.reserve(rect.area() * 3);
        for y in rect.y0..rect.y1 {
            let (mut green, mut red, mut blue) = (0u8, 0u8, 0u8);
            for pixel in picture.row(y, rect.x0, rect.x1) {
                let [b, g, r, _] = pixel.to_le_bytes();
                let (r, b) = (r.wrapping_sub(g), b.wrapping_sub(g));
                self.bytes
                    .extend([g.wrapping_sub(green), r.wrapping_sub(red), b.wrapping_sub(blue)]);
                (green, red, blue) = (g, r, b);
            }
        }
        self.cost += 9 + rect.area() * 2;
    }

    fn head(&mut self, op: u8, rect: &Rect) {
        self.bytes.push(op);
        self.numbers(&[rect.x0, rect.y0, rect.width(), rect.height()]);
    }

    fn numbers(&mut self, numbers: &[usize]) {
        for number in numbers {
            // A screen has at most 65,535 columns and rows: X counts them in 16 bits.
            self.bytes.extend((*number as u16).to_le_bytes());
        }
    }

    fn colour(&mut self, colour: u32) {
        let [b, g, r, _] = colour.to_le_bytes();
        self.bytes.extend([r, g, b]);
    }
}

/// The colours of a rectangle, in order of appearance until sorted, and each pixel's place among them.
struct Palette {
    colours: Vec<u32>,
    /// By order of appearance.
    indices: Vec<u8>,
    /// From order of appearance to sorted order.
    ranks: [u8; MAX_COLOURS],
    keys: [u32; TABLE],
    slots: [u16; TABLE],
}

impl Palette {
    fn new() -> Self {
        Self {
            colours: Vec::with_capacity(MAX_COLOURS),
            indices: Vec::new(),
            ranks: [0; MAX_COLOURS],
            keys: [0; TABLE],
            slots: [FREE; TABLE],
        }
    }

    /// Whether `rect` fits a palette; if not, what is held afterwards is worthless.
    fn scan(&mut self, picture: &Picture, rect: &Rect) -> bool {
        self.colours.clear();
        self.indices.clear();
        self.slots.fill(FREE);
        self.indices.reserve(rect.area());
        let mut last = None;
        for y in rect.y0..rect.y1 {
            for &colour in picture.row(y, rect.x0, rect.x1) {
                // Runs of one colour are most of a desktop.
                let index = match last {
                    Some((same, index)) if same == colour => index,
                    _ => match self.index_of(colour) {
                        Some(index) => index,
                        None => return false,
                    },
                };
                last = Some((colour, index));
                self.indices.push(index);
            }
        }
        true
    }

    fn index_of(&mut self, colour: u32) -> Option<u8> {
        // The top ten bits of a multiplicative hash: spreads neighbouring colours.
        let mut at = (colour.wrapping_mul(0x9E37_79B1) >> 22) as usize;
        loop {
            match self.slots[at] {
                FREE => {
                    let index = u8::try_from(self.colours.len()).ok()?;
                    self.colours.push(colour);
                    (self.keys[at], self.slots[at]) = (colour, u16::from(index));
                    return Some(index);
                }
                index if self.keys[at] == colour => return u8::try_from(index).ok(),
                _ => at = (at + 1) % TABLE,
            }
        }
    }

    fn sort(&mut self) {
        let mut order: Vec<(u32, u8)> = self.colours.iter().copied().zip(0..=u8::MAX).collect();
        order.sort_unstable();
        for ((rank, colour), (sorted, index)) in (0..=u8::MAX).zip(&mut self.colours).zip(order) {
            *colour = sorted;
            self.ranks[usize::from(index)] = rank;
        }
    }
}
