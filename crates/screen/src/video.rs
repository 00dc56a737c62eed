//! What carries motion: codecs whose packets a page draws with loss.

use berth_codec::{CodecError, I420, Jpeg, Vp8Encoder};

use crate::picture::{Picture, Rect};
use crate::region::Region;

/// How a page shows motion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VideoCodec {
    /// Packets of one VP8 stream, each of the whole screen.
    Vp8,
    /// A JPEG picture for each rectangle, for pages that decode no video.
    Jpeg,
}

impl VideoCodec {
    /// How the wire names it.
    pub fn code(self) -> u8 {
        match self {
            Self::Vp8 => 0,
            Self::Jpeg => 1,
        }
    }

    /// Whether each packet needs those before it.
    pub fn is_chained(self) -> bool {
        self == Self::Vp8
    }

    /// An encoder for pictures of this size.
    pub fn open(self, width: usize, height: usize, kbps: u32) -> Result<Box<dyn VideoEncoder>, CodecError> {
        Ok(match self {
            Self::Vp8 => Box::new(Vp8::new(width, height, kbps)?),
            Self::Jpeg => Box::new(JpegBands::new()?),
        })
    }
}

/// Frames under construction.
#[derive(Debug, Default)]
pub struct Frame {
    /// Needs no frame before it.
    pub is_key: bool,
    /// Where it is drawn.
    pub rects: Vec<Rect>,
    /// What the page's decoder gets.
    pub bytes: Vec<u8>,
}

/// A codec for the pictures of one screen.
pub trait VideoEncoder: Send {
    /// The screen changed in `region`, whether it was sent otherwise or not.
    fn changed(&mut self, region: &Region);

    /// Encodes `picture`, to be drawn in `rects`, at about `kbps` kbit/s. False: the rate control left it out.
    fn encode(
        &mut self,
        picture: &Picture,
        rects: &[Rect],
        kbps: u32,
        key: bool,
        frame: &mut Frame,
    ) -> Result<bool, CodecError>;
}

/// The whole screen through VP8; rectangles that did not change cost almost nothing.
struct Vp8 {
    encoder: Vp8Encoder,
    planes: I420,
    /// Where `planes` is not the screen.
    stale: Region,
}

impl Vp8 {
    fn new(width: usize, height: usize, kbps: u32) -> Result<Self, CodecError> {
        Ok(Self {
            encoder: Vp8Encoder::new(width, height, kbps)?,
            planes: I420::black(width, height),
            stale: Region::of(Rect::at(0, 0, width, height)),
        })
    }
}

impl VideoEncoder for Vp8 {
    fn changed(&mut self, region: &Region) {
        self.stale.add_all(region);
    }

    fn encode(
        &mut self,
        picture: &Picture,
        rects: &[Rect],
        kbps: u32,
        key: bool,
        frame: &mut Frame,
    ) -> Result<bool, CodecError> {
        // Each change of the rate costs the encoder's history, so small ones wait.
        if self.encoder.bitrate().abs_diff(kbps) > kbps / 8 {
            self.encoder.set_bitrate(kbps)?;
        }
        for rect in self.stale.drain() {
            let width = picture.width();
            self.planes.convert((rect.x0, rect.y0), (rect.x1, rect.y1), |y| {
                picture.row(y, 0, width)
            });
        }
        let Some(packet) = self.encoder.encode(&self.planes, key)? else {
            return Ok(false);
        };
        frame.is_key = packet.is_key;
        frame.rects.clear();
        frame.rects.extend_from_slice(rects);
        frame.bytes.clear();
        frame.bytes.extend_from_slice(packet.bytes);
        Ok(true)
    }
}

/// Rows of a band: browsers decode several at once.
const BAND_ROWS: usize = 128;
/// Bounds of the quality.
const QUALITY: (u8, u8) = (35, 80);
/// What the bitrate is counted by, as for VP8.
const FRAMES_PER_SECOND: usize = 30;

/// JPEG pictures, whose quality follows the rate.
struct JpegBands {
    jpeg: Jpeg,
    quality: u8,
}

impl JpegBands {
    fn new() -> Result<Self, CodecError> {
        Ok(Self {
            jpeg: Jpeg::new()?,
            quality: 70,
        })
    }
}

impl VideoEncoder for JpegBands {
    fn changed(&mut self, _: &Region) {}

    fn encode(
        &mut self,
        picture: &Picture,
        rects: &[Rect],
        kbps: u32,
        _key: bool,
        frame: &mut Frame,
    ) -> Result<bool, CodecError> {
        frame.is_key = true;
        frame.rects.clear();
        frame.bytes.clear();
        for rect in rects {
            for y0 in (rect.y0..rect.y1).step_by(BAND_ROWS) {
                let band = Rect {
                    y0,
                    y1: (y0 + BAND_ROWS).min(rect.y1),
                    ..*rect
                };
                let (pixels, stride) = picture.pixels_from(&band);
                let bytes = self
                    .jpeg
                    .encode(pixels, band.width(), band.height(), stride, self.quality)?;
                // A band of the largest screen is far below 4 GiB.
                frame.bytes.extend((bytes.len() as u32).to_le_bytes());
                frame.bytes.extend(bytes);
                frame.rects.push(band);
            }
        }
        let wanted = kbps as usize * 125 / FRAMES_PER_SECOND;
        self.quality = if frame.bytes.len() > wanted {
            self.quality.saturating_sub(6).max(QUALITY.0)
        } else if frame.bytes.len() < wanted * 3 / 4 {
            (self.quality + 2).min(QUALITY.1)
        } else {
            self.quality
        };
        Ok(true)
    }
}
