//! For tests: a page in Rust. Draws messages as the format says, from the format alone, and panics at what breaks it.

use berth_codec::Vp8Decoder;
use flate2::{Decompress, FlushDecompress};

/// A canvas and its deflate stream.
pub struct Painter {
    pub width: usize,
    pub height: usize,
    /// `0x00RRGGBB`.
    pub pixels: Vec<u32>,
    inflate: Decompress,
    /// The last update's number and the input it shows.
    pub seq: u32,
    pub input_seq: u32,
    /// The pointer's shape, as it was sent.
    pub cursor: Vec<u8>,
    pub hellos: usize,
    /// Video frames.
    pub frames: usize,
    /// Messages that are not about the picture, but for the pointer's shape.
    pub notices: Vec<Vec<u8>>,
    video: Option<Vp8Decoder>,
    lost: bool,
}

impl Painter {
    pub fn new() -> Self {
        Self {
            width: 0,
            height: 0,
            pixels: Vec::new(),
            inflate: Decompress::new(false),
            seq: 0,
            input_seq: 0,
            cursor: Vec::new(),
            hellos: 0,
            frames: 0,
            notices: Vec::new(),
            video: None,
            lost: false,
        }
    }

    /// A canvas of this size, as after a hello.
    pub fn sized(width: usize, height: usize) -> Self {
        // Not black: what is not painted must not pass for painted.
        Self {
            width,
            height,
            pixels: vec![0x0012_3456; width * height],
            ..Self::new()
        }
    }

    /// Draws one message; gives the number of an update, which is to be acknowledged.
    pub fn take(&mut self, message: &[u8]) -> Option<u32> {
        let mut body = Fields(&message[1..]);
        match message[0] {
            1 => {
                assert_eq!(body.u8(), 1, "version");
                *self = Self {
                    seq: self.seq,
                    hellos: self.hellos + 1,
                    notices: std::mem::take(&mut self.notices),
                    ..Self::sized(usize::from(body.u16()), usize::from(body.u16()))
                };
                None
            }
            2 => {
                self.head(&mut body);
                let length = body.u32() as usize;
                let mut ops = Vec::with_capacity(length + 1);
                self.inflate
                    .decompress_vec(body.0, &mut ops, FlushDecompress::Sync)
                    .expect("a deflate stream");
                assert_eq!(ops.len(), length, "inflated length");
                self.draw(&ops);
                Some(self.seq)
            }
            3 => {
                self.head(&mut body);
                self.draw(body.0);
                Some(self.seq)
            }
            4 => {
                self.head(&mut body);
                let (key, codec) = (body.u8() == 1, body.u8());
                let count = body.u16();
                let rects: Vec<_> = (0..count).map(|_| self.area(&mut body)).collect();
                self.show(codec, key, &rects, body.0);
                Some(self.seq)
            }
            5 => {
                let (width, height) = (usize::from(body.u16()), usize::from(body.u16()));
                let (hot_x, hot_y) = (usize::from(body.u16()), usize::from(body.u16()));
                assert_eq!(body.0.len(), width * height * 4, "a cursor's pixels");
                assert!(width <= 256 && height <= 256 && (width == 0 || hot_x < width && hot_y < height));
                self.cursor = message.to_vec();
                None
            }
            6..=9 => {
                self.notices.push(message.to_vec());
                None
            }
            kind => panic!("message kind {kind}"),
        }
    }

    /// Draws areas of a video frame.
    pub fn show(&mut self, codec: u8, key: bool, rects: &[(usize, usize, usize, usize)], bytes: &[u8]) {
        self.frames += 1;
        match codec {
            0 => {
                if key {
                    self.video =
                        Some(Vp8Decoder::new(self.width, self.height).expect("a size that VP8 takes"));
                }
                if self.lost && self.video.is_none() {
                    return rects
                        .iter()
                        .for_each(|&(x, y, width, height)| self.blur(x, y, width, height));
                }
                let video = self.video.as_mut().expect("a key frame first");
                let picture = video.decode(bytes).expect("a packet that fits those before");
                let mut row = vec![0; self.width];
                for (x, y, width, height) in rects {
                    for line in *y..y + height {
                        picture.row(line, &mut row);
                        self.pixels[line * self.width + x..][..*width].copy_from_slice(&row[*x..][..*width]);
                    }
                }
            }
            1 => {
                let mut pictures = Fields(bytes);
                for (x, y, width, height) in rects {
                    let length = pictures.u32() as usize;
                    assert!(pictures.take(length).starts_with(&[0xFF, 0xD8]), "a JPEG picture");
                    self.blur(*x, *y, *width, *height);
                }
                assert!(pictures.0.is_empty(), "bytes after the last picture");
            }
            codec => panic!("codec {codec}"),
        }
    }

    /// The decoder is gone, as they do go; nothing is shown until a key frame comes.
    pub fn lose_video(&mut self) {
        self.video = None;
        self.lost = true;
    }

    /// Something that is nearly right is drawn: no decoder in here shows what.
    pub fn blur(&mut self, x: usize, y: usize, width: usize, height: usize) {
        self.each((x, y, width, height), |_, _| 0xFE_DC_BA);
    }

    fn head(&mut self, body: &mut Fields<'_>) {
        let seq = body.u32();
        assert_eq!(seq, self.seq + 1, "updates are numbered one by one");
        self.seq = seq;
        self.input_seq = body.u32();
    }

    /// Draws operations.
    pub fn draw(&mut self, ops: &[u8]) {
        let mut ops = Fields(ops);
        while !ops.0.is_empty() {
            let op = ops.u8();
            if op == 1 {
                let [sx, sy] = ops.numbers();
                let area = self.area(&mut ops);
                assert!(
                    sx + area.2 <= self.width && sy + area.3 <= self.height,
                    "a copy from outside"
                );
                let before = self.pixels.clone();
                let width = self.width;
                self.each(area, |x, y| before[(sy + y) * width + sx + x]);
                continue;
            }
            let area = self.area(&mut ops);
            let (width, height) = (area.2, area.3);
            match op {
                2 => {
                    let colour = ops.colour();
                    self.each(area, |_, _| colour);
                }
                3 => {
                    let count = usize::from(ops.u8()) + 1;
                    let palette: Vec<u32> = (0..count).map(|_| ops.colour()).collect();
                    if count == 2 {
                        let stride = width.div_ceil(8);
                        let bits = ops.take(stride * height);
                        self.each(area, |x, y| {
                            palette[usize::from(bits[y * stride + x / 8] >> (x % 8) & 1)]
                        });
                    } else {
                        let indices = ops.take(width * height);
                        self.each(area, |x, y| palette[usize::from(indices[y * width + x])]);
                    }
                }
                4 => {
                    let bytes = ops.take(width * height * 3);
                    let mut pixels = Vec::new();
                    for row in bytes.chunks_exact(width * 3) {
                        let (mut g, mut rg, mut bg) = (0u8, 0u8, 0u8);
                        for d in row.chunks_exact(3) {
                            g = g.wrapping_add(d[0]);
                            rg = rg.wrapping_add(d[1]);
                            bg = bg.wrapping_add(d[2]);
                            pixels.push(u32::from_be_bytes([0, rg.wrapping_add(g), g, bg.wrapping_add(g)]));
                        }
                    }
                    self.each(area, |x, y| pixels[y * width + x]);
                }
                op => panic!("operation {op}"),
            }
        }
    }

    fn area(&self, ops: &mut Fields<'_>) -> (usize, usize, usize, usize) {
        let [x, y, width, height] = ops.numbers();
        assert!(width > 0 && height > 0, "an empty area");
        assert!(
            x + width <= self.width && y + height <= self.height,
            "an area outside of the canvas"
        );
        (x, y, width, height)
    }

    fn each(&mut self, area: (usize, usize, usize, usize), colour: impl Fn(usize, usize) -> u32) {
        let (x0, y0, width, height) = area;
        for y in 0..height {
            for x in 0..width {
                self.pixels[(y0 + y) * self.width + x0 + x] = colour(x, y);
            }
        }
    }
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn u8(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take(2).try_into().expect("as many bytes as were taken"))
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take(4).try_into().expect("as many bytes as were taken"))
    }

    fn numbers<const N: usize>(&mut self) -> [usize; N] {
        std::array::from_fn(|_| usize::from(self.u16()))
    }

    fn colour(&mut self) -> u32 {
        let rgb = self.take(3);
        u32::from_be_bytes([0, rgb[0], rgb[1], rgb[2]])
    }
}
