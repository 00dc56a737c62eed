//! For tests: a page in Rust. Draws on the canvas that recordings have, which knows the format and nothing of who writes
//! it, and panics at what breaks it.

use berth_recording::Canvas;

/// Where a message of an update has its operations, or a frame its head.
const UPDATE_HEAD: usize = 9;

/// Where a frame has its rectangles.
const FRAME_HEAD: usize = UPDATE_HEAD + 4;

/// A canvas, and what a page knows besides.
#[derive(Default)]
pub struct Painter {
    canvas: Canvas,
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
    lost: bool,
}

impl Painter {
    /// A canvas of this size, as after a hello.
    pub fn sized(width: usize, height: usize) -> Self {
        let mut painter = Self::default();
        painter.reset(&[&[1, 1][..], &numbers([width, height]), &[1]].concat());
        painter
    }

    pub fn size(&self) -> (usize, usize) {
        (self.canvas.width(), self.canvas.height())
    }

    /// `0x00RRGGBB`.
    pub fn pixels(&self) -> &[u32] {
        self.canvas.pixels()
    }

    pub fn row(&self, y: usize) -> &[u32] {
        self.canvas.row(y)
    }

    /// Draws one message; gives the number of an update, which is to be acknowledged.
    pub fn take(&mut self, message: &[u8]) -> Option<u32> {
        match message[0] {
            1 => {
                self.reset(message);
                self.hellos += 1;
                self.cursor.clear();
                (self.frames, self.lost) = (0, false);
            }
            2..=4 => {
                let number = |at| u32::from_le_bytes(message[at..at + 4].try_into().expect("four bytes"));
                assert_eq!(number(1), self.seq + 1, "updates are numbered one by one");
                (self.seq, self.input_seq) = (number(1), number(5));
                match message[0] {
                    4 => self.show(message),
                    _ => self.draw_message(message),
                }
                return Some(self.seq);
            }
            5 => {
                let side = |at| usize::from(u16::from_le_bytes([message[at], message[at + 1]]));
                let (width, height, hot_x, hot_y) = (side(1), side(3), side(5), side(7));
                assert_eq!(message.len() - 9, width * height * 4, "a cursor's pixels");
                assert!(width <= 256 && height <= 256 && (width == 0 || hot_x < width && hot_y < height));
                self.cursor = message.to_vec();
            }
            6..=9 => self.notices.push(message.to_vec()),
            kind => panic!("message kind {kind}"),
        }
        None
    }

    /// Draws a video frame's message.
    pub fn show(&mut self, message: &[u8]) {
        self.frames += 1;
        let (is_key, codec) = (message[UPDATE_HEAD] == 1, message[UPDATE_HEAD + 1]);
        self.lost &= !is_key;
        if codec == 0 && !self.lost {
            return self.draw_message(message);
        }
        // No decoder in here shows what a JPEG picture holds, or what follows a frame that was lost.
        let count = usize::from(u16::from_le_bytes([
            message[UPDATE_HEAD + 2],
            message[UPDATE_HEAD + 3],
        ]));
        let (rects, mut bytes) = message[FRAME_HEAD..].split_at(count * 8);
        for rect in rects.chunks_exact(8) {
            self.blur_area(rect);
            if codec == 1 {
                let (length, rest) = bytes.split_first_chunk().expect("a picture's length");
                let (picture, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
                assert!(picture.starts_with(&[0xFF, 0xD8]), "a JPEG picture");
                bytes = rest;
            }
        }
        assert!(codec == 0 || codec == 1 && bytes.is_empty(), "codec {codec}");
    }

    /// The decoder is gone, as they do go; nothing is shown until a key frame comes.
    pub fn lose_video(&mut self) {
        self.lost = true;
    }

    /// Something that is nearly right is drawn.
    pub fn blur(&mut self, x: usize, y: usize, width: usize, height: usize) {
        self.blur_area(&numbers([x, y, width, height]));
    }

    fn blur_area(&mut self, area: &[u8]) {
        self.draw(&[&[2][..], area, &[0xFE, 0xDC, 0xBA]].concat());
    }

    /// Draws operations.
    pub fn draw(&mut self, ops: &[u8]) {
        self.draw_message(&[&[3; UPDATE_HEAD][..], ops].concat());
    }

    fn reset(&mut self, hello: &[u8]) {
        self.draw_message(hello);
        // Not black: what is not painted must not pass for painted.
        let (width, height) = self.size();
        self.draw(&[&[2][..], &numbers([0, 0, width, height]), &[0x12, 0x34, 0x56]].concat());
    }

    /// Draws an update.
    pub fn draw_message(&mut self, message: &[u8]) {
        assert!(self.canvas.take(message).expect("the format is kept"));
    }
}

fn numbers<const N: usize>(numbers: [usize; N]) -> Vec<u8> {
    // Screens in tests are small.
    numbers.map(|number| (number as u16).to_le_bytes()).concat()
}
