//! A page in Rust: draws the messages of a recording. Every area is checked against the screen, every length against
//! the bytes: a session chose them.

use berth_codec::{CodecError, Vp8Decoder};
use flate2::{Decompress, FlushDecompress, Status};

use crate::format::SIDE_MAX;

/// How often one update may paint the whole screen, as in the page.
const SCREENS_PAINTED_MAX: usize = 64;

/// The same for one frame: it draws up to eight areas, which may overlap.
const SCREENS_IN_FRAME_MAX: usize = 8;

/// Deflate makes at most so many bytes of one. What claims more is lying, and no memory is kept for it.
const INFLATED_MAX: usize = 1032;

/// Pixels of a screen: more than the largest that there are, 256 MiB of memory.
const PIXELS_MAX: usize = 1 << 26;

/// Why a message cannot be drawn.
#[derive(Debug, thiserror::Error)]
pub enum CanvasError {
    /// It ends too early.
    #[error("a message ends too early")]
    Short,
    /// Something outside what the format allows.
    #[error("a message has {0}")]
    Value(&'static str),
    /// The video.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// A picture that messages are drawn on.
pub struct Canvas {
    /// The largest screen that it takes.
    most: (usize, usize),
    width: usize,
    height: usize,
    /// `0x00RRGGBB`.
    pixels: Vec<u32>,
    inflate: Decompress,
    video: Option<Vp8Decoder>,
    ops: Vec<u8>,
}

type Area = (usize, usize, usize, usize);

impl Default for Canvas {
    fn default() -> Self {
        Self::within(usize::from(SIDE_MAX), usize::from(SIDE_MAX))
    }
}

impl Canvas {
    /// A canvas that refuses screens with more columns or rows.
    pub fn within(width: usize, height: usize) -> Self {
        Self {
            most: (width, height),
            width: 0,
            height: 0,
            pixels: Vec::new(),
            inflate: Decompress::new(false),
            video: None,
            ops: Vec::new(),
        }
    }

    /// Columns; none before the first message.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// All pixels, `0x00RRGGBB`, row by row.
    pub fn pixels(&self) -> &[u32] {
        &self.pixels
    }

    /// The pixels of a row, `0x00RRGGBB`.
    pub fn row(&self, y: usize) -> &[u32] {
        let at = y * self.width;
        self.pixels.get(at..at + self.width).unwrap_or_default()
    }

    /// Draws one message. True: the picture has changed.
    ///
    /// # Errors
    ///
    /// When it breaks the format; the picture is then of no use until the next segment.
    pub fn take(&mut self, message: &[u8]) -> Result<bool, CanvasError> {
        let mut body = Fields(message);
        match body.u8()? {
            1 => self.reset(&mut body)?,
            2 => {
                body.take(8)?;
                self.inflated(&mut body)?;
            }
            3 => {
                body.take(8)?;
                self.draw(body.0)?;
            }
            4 => {
                body.take(8)?;
                self.frame(&mut body)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn reset(&mut self, body: &mut Fields<'_>) -> Result<(), CanvasError> {
        if body.u8()? != 1 {
            return Err(CanvasError::Value("another version"));
        }
        let (width, height) = (body.u16()?, body.u16()?);
        let most = self.most;
        if !(1..=most.0).contains(&width) || !(1..=most.1).contains(&height) || width * height > PIXELS_MAX {
            return Err(CanvasError::Value("a screen that is empty or too large"));
        }
        *self = Self {
            width,
            height,
            pixels: vec![0; width * height],
            ..Self::within(most.0, most.1)
        };
        Ok(())
    }

    fn inflated(&mut self, body: &mut Fields<'_>) -> Result<(), CanvasError> {
        let length = body.u32()? as usize;
        if length > self.width * self.height * 6 + (1 << 20) || length > body.0.len() * INFLATED_MAX {
            return Err(CanvasError::Value("more bytes than a picture needs"));
        }
        let mut ops = std::mem::take(&mut self.ops);
        ops.clear();
        // One more than is due shows when there is more.
        ops.reserve(length + 1);
        let mut rest = body.0;
        while !rest.is_empty() && ops.len() <= length {
            let (read, had) = (self.inflate.total_in(), ops.len());
            let status = self.inflate.decompress_vec(rest, &mut ops, FlushDecompress::Sync);
            let read = (self.inflate.total_in() - read) as usize;
            rest = rest.get(read..).unwrap_or_default();
            match status {
                Ok(Status::Ok) if read > 0 || ops.len() > had => {}
                Ok(_) => break,
                Err(_) => return Err(CanvasError::Value("no deflate stream")),
            }
        }
        if ops.len() != length {
            return Err(CanvasError::Value("another inflated length than it says"));
        }
        let drawn = self.draw(&ops);
        self.ops = ops;
        drawn
    }

    fn frame(&mut self, body: &mut Fields<'_>) -> Result<(), CanvasError> {
        let (key, codec, count) = (body.u8()? & 1 == 1, body.u8()?, body.u16()?);
        if codec != 0 {
            return Err(CanvasError::Value("a codec that was not asked for"));
        }
        let (mut areas, mut drawn) = (Vec::new(), 0);
        for _ in 0..count {
            let area = self.area(body)?;
            drawn += area.2 * area.3;
            areas.push(area);
        }
        if drawn > self.width * self.height * SCREENS_IN_FRAME_MAX {
            return Err(CanvasError::Value("more painting than a frame needs"));
        }
        if self.video.is_none() || key {
            if !key {
                return Err(CanvasError::Value("video without a key frame"));
            }
            self.video = Some(Vp8Decoder::new(self.width, self.height)?);
        }
        let Some(video) = &mut self.video else {
            return Ok(());
        };
        let picture = video.decode(body.0)?;
        let mut row = vec![0; self.width];
        for (x, y, width, height) in areas {
            for line in y..y + height {
                picture.row(line, &mut row);
                self.pixels[line * self.width + x..][..width].copy_from_slice(&row[x..][..width]);
            }
        }
        Ok(())
    }

    /// Draws operations.
    fn draw(&mut self, ops: &[u8]) -> Result<(), CanvasError> {
        let mut ops = Fields(ops);
        let mut budget = self.width * self.height * SCREENS_PAINTED_MAX;
        while !ops.0.is_empty() {
            let op = ops.u8()?;
            let from = match op {
                1 => Some((ops.u16()?, ops.u16()?)),
                _ => None,
            };
            let area = self.area(&mut ops)?;
            let (_, _, width, height) = area;
            budget = budget
                .checked_sub(width * height)
                .ok_or(CanvasError::Value("more painting than a picture needs"))?;
            match (op, from) {
                (1, Some(from)) => self.copy(from, area)?,
                (2, _) => {
                    let colour = ops.colour()?;
                    self.rows(area, |_, row| row.fill(colour));
                }
                (3, _) => self.palette(area, &mut ops)?,
                (4, _) => {
                    let bytes = ops.take(width * height * 3)?;
                    self.rows(area, |y, row| {
                        let (mut g, mut rg, mut bg) = (0u8, 0u8, 0u8);
                        for (pixel, d) in row.iter_mut().zip(bytes[y * width * 3..].chunks_exact(3)) {
                            g = g.wrapping_add(d[0]);
                            rg = rg.wrapping_add(d[1]);
                            bg = bg.wrapping_add(d[2]);
                            *pixel = u32::from_be_bytes([0, rg.wrapping_add(g), g, bg.wrapping_add(g)]);
                        }
                    });
                }
                _ => return Err(CanvasError::Value("an unknown operation")),
            }
        }
        Ok(())
    }

    fn copy(&mut self, (sx, sy): (usize, usize), area: Area) -> Result<(), CanvasError> {
        let (x, y, width, height) = area;
        if sx + width > self.width || sy + height > self.height {
            return Err(CanvasError::Value("a copy from outside of the screen"));
        }
        // In the order in which no row is written before it is read.
        let row = |n: usize| if sy < y { height - 1 - n } else { n };
        for n in (0..height).map(row) {
            let from = (sy + n) * self.width + sx;
            self.pixels
                .copy_within(from..from + width, (y + n) * self.width + x);
        }
        Ok(())
    }

    fn palette(&mut self, area: Area, ops: &mut Fields<'_>) -> Result<(), CanvasError> {
        let (_, _, width, height) = area;
        let count = usize::from(ops.u8()?) + 1;
        // An index past the end is black, as in the page.
        let mut palette = [0; 256];
        for colour in &mut palette[..count] {
            *colour = ops.colour()?;
        }
        if count == 2 {
            let stride = width.div_ceil(8);
            let bits = ops.take(stride * height)?;
            self.rows(area, |y, row| {
                for (x, pixel) in row.iter_mut().enumerate() {
                    *pixel = palette[usize::from(bits[y * stride + x / 8] >> (x % 8) & 1)];
                }
            });
        } else {
            let indices = ops.take(width * height)?;
            self.rows(area, |y, row| {
                for (pixel, index) in row.iter_mut().zip(&indices[y * width..]) {
                    *pixel = palette[usize::from(*index)];
                }
            });
        }
        Ok(())
    }

    fn area(&self, fields: &mut Fields<'_>) -> Result<Area, CanvasError> {
        let (x, y, width, height) = (fields.u16()?, fields.u16()?, fields.u16()?, fields.u16()?);
        if x + width > self.width || y + height > self.height {
            return Err(CanvasError::Value("an area outside of the screen"));
        }
        // It would cost work, and no budget.
        if width == 0 || height == 0 {
            return Err(CanvasError::Value("an empty area"));
        }
        Ok((x, y, width, height))
    }

    /// Gives each row of an area, which was checked before, to `paint`.
    fn rows(&mut self, (x, y, width, height): Area, mut paint: impl FnMut(usize, &mut [u32])) {
        for n in 0..height {
            paint(n, &mut self.pixels[(y + n) * self.width + x..][..width]);
        }
    }
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], CanvasError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(CanvasError::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CanvasError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(CanvasError::Short)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, CanvasError> {
        self.array().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<usize, CanvasError> {
        Ok(usize::from(u16::from_le_bytes(self.array()?)))
    }

    fn u32(&mut self) -> Result<u32, CanvasError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn colour(&mut self) -> Result<u32, CanvasError> {
        self.array().map(|[r, g, b]| u32::from_be_bytes([0, r, g, b]))
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};
    use proptest::prelude::*;

    use super::*;

    const HELLO: [u8; 7] = [1, 1, 9, 0, 7, 0, 1];
    const HEAD: [u8; 8] = [0; 8];

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind][..], &HEAD, body].concat()
    }

    proptest! {
        #[test]
        fn any_bytes_are_drawn_or_refused(
            kind in 0u8..10, body in proptest::collection::vec(prop_oneof![0u8..10, any::<u8>()], 0..120),
        ) {
            let mut canvas = Canvas::default();
            let _ = canvas.take(&message(kind, &body));
            canvas.take(&HELLO).unwrap();
            let _ = canvas.take(&message(kind, &body));
            let _ = canvas.take(&body);
        }

        #[test]
        fn deflated_and_plain_operations_draw_the_same(
            x in 0u16..9, y in 0u16..7, bytes in proptest::collection::vec(any::<u8>(), 9 * 7 * 3),
        ) {
            let (width, height) = (9 - x, 7 - y);
            let area: Vec<u8> = [x, y, width, height].map(u16::to_le_bytes).concat();
            let pixels = &bytes[..usize::from(width * height) * 3];
            let copy: Vec<u8> = [0, 0, 1, 1, 8, 6].map(u16::to_le_bytes).concat();
            let ops = [&[4][..], &area, pixels, &[1], &copy].concat();
            let (mut plain, mut deflated) = (Canvas::default(), Canvas::default());
            plain.take(&HELLO).unwrap();
            deflated.take(&HELLO).unwrap();
            plain.take(&message(3, &ops)).unwrap();
            let mut compress = Compress::new(Compression::fast(), false);
            let mut packed = Vec::with_capacity(1000);
            compress.compress_vec(&ops, &mut packed, FlushCompress::Sync).unwrap();
            let length = (ops.len() as u32).to_le_bytes();
            deflated.take(&message(2, &[&length[..], &packed].concat())).unwrap();
            prop_assert_eq!(&plain.pixels, &deflated.pixels);
        }
    }

    #[test]
    fn a_copy_reads_what_was_there_before() {
        for (sx, sy, x, y) in [
            (0u16, 0u16, 1u16, 1u16),
            (1, 1, 0, 0),
            (0, 1, 1, 0),
            (1, 0, 0, 0),
            (0, 0, 1, 0),
        ] {
            let mut canvas = Canvas::default();
            canvas.take(&HELLO).unwrap();
            canvas.pixels = (0..63).collect();
            let before = canvas.pixels.clone();
            let ops: Vec<u8> = [sx, sy, x, y, 8, 6].map(u16::to_le_bytes).concat();
            canvas.take(&message(3, &[&[1][..], &ops].concat())).unwrap();
            for row in 0..6 {
                for column in 0..8 {
                    let to = (usize::from(y) + row) * 9 + usize::from(x) + column;
                    let from = (usize::from(sy) + row) * 9 + usize::from(sx) + column;
                    assert_eq!(canvas.pixels[to], before[from]);
                }
            }
        }
    }

    #[test]
    fn a_frame_cannot_work_without_end() {
        let mut canvas = Canvas::default();
        canvas.take(&HELLO).unwrap();
        let frame = |areas: usize| {
            let area = [0, 0, 0, 0, 9, 0, 7, 0];
            message(4, &[&[1, 0, areas as u8, 0][..], &area.repeat(areas)].concat())
        };
        assert!(matches!(canvas.take(&frame(9)), Err(CanvasError::Value(_))));
        // As many areas as a frame may have; but there is no picture in it.
        assert!(matches!(canvas.take(&frame(8)), Err(CanvasError::Codec(_))));
    }

    #[test]
    fn no_memory_is_kept_for_a_length_that_bytes_cannot_make() {
        let mut canvas = Canvas::default();
        canvas.take(&[1, 1, 0, 16, 0, 16, 1]).unwrap();
        let length = (90u32 << 20).to_le_bytes();
        assert!(
            canvas
                .take(&message(2, &[&length[..], &[0; 100]].concat()))
                .is_err()
        );
        assert_eq!(canvas.ops.capacity(), 0);
    }

    #[test]
    fn an_update_cannot_work_without_end() {
        let mut canvas = Canvas::default();
        canvas.take(&HELLO).unwrap();
        let nothing: Vec<u8> = [&[2][..], &[0, 0, 0, 0, 0, 0, 7, 0], &[1, 2, 3]].concat();
        assert!(canvas.take(&message(3, &nothing)).is_err());
        let fill: Vec<u8> = [&[2][..], &[0, 0, 0, 0, 9, 0, 7, 0], &[1, 2, 3]].concat();
        assert!(canvas.take(&message(3, &fill.repeat(64))).unwrap());
        assert!(canvas.take(&message(3, &fill.repeat(65))).is_err());
    }
}
