//! Turns a recording into WebM: every player knows it, and none knows ours.

use std::io::{self, Read, Seek, Write};

use berth_codec::{CodecError, I420, Vp8Encoder};

use crate::canvas::{Canvas, CanvasError};
use crate::format::{FormatError, Kind};
use crate::reader::{Contents, Reader};
use crate::webm::Webm;

/// kbit/s for a million pixels, at ten pictures a second.
const KBPS_PER_MEGAPIXEL: usize = 3_000;

/// A key frame at least so often, for seeking.
const KEY_EVERY_MS: u64 = 10_000;

/// What stands still is sharpened by so many more pictures, and then repeated only so often.
const SHARPENING: u32 = 3;
const STILL_EVERY_MS: u64 = 5_000;

/// Pictures a second that can be asked for.
pub const FPS: std::ops::RangeInclusive<u32> = 1..=60;

/// A side of VP8.
const SIDE_MAX: u16 = 8192;

/// Pixels of the picture: a larger screen would only be a way to exhaust memory.
const PIXELS_MAX: usize = 1 << 25;

/// How to export.
#[derive(Debug, Clone, Copy)]
pub struct Export {
    /// Pictures a second, of [`FPS`].
    pub fps: u32,
}

/// Why it failed.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The recording.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The codec.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// What is written to.
    #[error("could not write the video")]
    Io(#[from] io::Error),
    /// Nothing to see.
    #[error("there is no picture in this recording")]
    Empty,
    /// A picture that makes no sense.
    #[error("the recording's screen has {0} x {1} pixels, more than a video can have")]
    Size(usize, usize),
    /// Nothing in it could be drawn.
    #[error("no picture of the recording could be drawn")]
    Canvas(#[from] CanvasError),
}

/// The video's side of an export: takes pictures, writes those that are worth it.
struct Film<W> {
    picture: I420,
    encoder: Vp8Encoder,
    webm: Webm<W>,
    last_key: Option<u64>,
    last: u64,
    /// Pictures in a row that were no different.
    still: u32,
}

/// Reads a recording and writes it as WebM; `tell` hears how far it is, in milliseconds of the recording.
///
/// Parts that cannot be drawn keep the picture that was there.
///
/// # Errors
///
/// When it cannot be read, holds no picture, or the video cannot be written.
pub fn export<R: Read + Seek, W: Write + Seek>(
    reader: &mut Reader<R>,
    contents: &Contents,
    out: W,
    how: Export,
    mut tell: impl FnMut(u64),
) -> Result<(), ExportError> {
    let (width, height) = size(contents)?;
    let fps = how.fps.clamp(*FPS.start(), *FPS.end());
    let kbps = width * height * KBPS_PER_MEGAPIXEL / 1_000_000;
    let mut film = Film {
        picture: I420::black(width, height),
        encoder: Vp8Encoder::new(width, height, u32::try_from(kbps).unwrap_or(u32::MAX).max(500))?,
        webm: Webm::new(out, width as u64, height as u64)?,
        last_key: None,
        last: 0,
        still: 0,
    };
    // Segments say how large the video is, and messages how large the screen: a file may say two things.
    let mut canvas = Canvas::within(width, height);
    let (mut changed, mut frame, mut drawn) = (false, 0u64, false);
    let mut broken = None;
    let time_of = |frame: u64| frame * 1000 / u64::from(fps);
    let first = contents.segments.first().ok_or(ExportError::Empty)?;
    reader.go_to(first.offset)?;
    loop {
        let record = match reader.position() < contents.end {
            true => reader.next_record()?,
            false => None,
        };
        // All pictures that are due before it.
        let until = record
            .as_ref()
            .map_or(contents.duration + 1, |record| record.time);
        while time_of(frame) < until {
            if !changed && film.still > SHARPENING {
                // Nothing is shown until something changes, or the last picture is repeated.
                let next = (film.last + STILL_EVERY_MS).min(until) * u64::from(fps) / 1000;
                frame = frame.max(next);
            }
            if drawn {
                film.show(&canvas, time_of(frame), std::mem::take(&mut changed))?;
            }
            frame += 1;
            if frame.is_multiple_of(64) {
                tell(time_of(frame));
            }
        }
        let Some(record) = record else { break };
        match record.kind {
            // The next one begins with a whole picture.
            Kind::Segment => broken = None,
            Kind::Message if broken.is_none() => match canvas.take(&record.payload) {
                // A hello alone shows nothing yet: the picture before it stays.
                Ok(new) => {
                    let paints = new && record.payload.first() != Some(&1);
                    changed |= paints;
                    drawn |= paints;
                }
                Err(error) => broken = Some(error),
            },
            Kind::Message | Kind::About | Kind::Event | Kind::Index => {}
        }
    }
    match (drawn, broken) {
        (true, _) => {}
        (false, Some(error)) => return Err(error.into()),
        (false, None) => return Err(ExportError::Empty),
    }
    film.show(&canvas, contents.duration.max(film.last + 1), true)?;
    tell(contents.duration);
    Ok(film.webm.finish(contents.duration.max(film.last + 1))?)
}

/// The least that all screens of the recording fit into.
fn size(contents: &Contents) -> Result<(usize, usize), ExportError> {
    let most = |side: fn(&crate::Segment) -> u16| contents.segments.iter().map(side).max();
    let (Some(width), Some(height)) = (most(|it| it.width), most(|it| it.height)) else {
        return Err(ExportError::Empty);
    };
    let (w, h) = (usize::from(width), usize::from(height));
    match w > 0 && h > 0 && width <= SIDE_MAX && height <= SIDE_MAX && w * h <= PIXELS_MAX {
        true => Ok((w, h)),
        false => Err(ExportError::Size(w, h)),
    }
}

impl<W: Write + Seek> Film<W> {
    /// Shows the canvas from `time` on.
    fn show(&mut self, canvas: &Canvas, time: u64, changed: bool) -> Result<(), ExportError> {
        self.still = if changed { 0 } else { self.still.saturating_add(1) };
        if self.still > SHARPENING && time - self.last < STILL_EVERY_MS {
            return Ok(());
        }
        if changed {
            self.convert(canvas);
        }
        let key = self.last_key.is_none_or(|last| time - last >= KEY_EVERY_MS);
        if let Some(packet) = self.encoder.encode(&self.picture, key)? {
            self.webm.picture(time, packet.is_key, packet.bytes)?;
            if packet.is_key {
                self.last_key = Some(time);
            }
            self.last = time;
        }
        Ok(())
    }

    /// The canvas in the middle of the picture, with black around it if it is smaller.
    fn convert(&mut self, canvas: &Canvas) {
        let (width, height) = (self.picture.width(), self.picture.height());
        if (canvas.width(), canvas.height()) == (width, height) {
            return self.picture.convert((0, 0), (width, height), |y| canvas.row(y));
        }
        let (left, top) = ((width - canvas.width()) / 2, (height - canvas.height()) / 2);
        let black = vec![0; width];
        let rows: Vec<Vec<u32>> = (0..canvas.height())
            .map(|y| {
                let mut row = black.clone();
                row[left..left + canvas.width()].copy_from_slice(canvas.row(y));
                row
            })
            .collect();
        self.picture.convert((0, 0), (width, height), |y| {
            y.checked_sub(top).and_then(|y| rows.get(y)).unwrap_or(&black)
        });
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::Writer;
    use crate::format::About;

    fn hello(width: u16, height: u16) -> Vec<u8> {
        [&[1, 1][..], &width.to_le_bytes(), &height.to_le_bytes(), &[1]].concat()
    }

    fn fill(width: u16, height: u16, grey: u8) -> Vec<u8> {
        let [w, h] = [width, height].map(u16::to_le_bytes);
        [
            &[3, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0][..],
            &w,
            &h,
            &[grey; 3],
        ]
        .concat()
    }

    fn about() -> About {
        About {
            session_id: "s-1".into(),
            started: 0,
        }
    }

    fn exported(messages: &[(u64, Vec<u8>)]) -> Result<Vec<u8>, ExportError> {
        let mut writer = Writer::new(&about());
        for (time, message) in messages {
            if let &[1, _, w0, w1, h0, h1, ..] = &message[..] {
                let side = |low, high| u16::from_le_bytes([low, high]);
                writer.segment(*time, side(w0, w1), side(h0, h1)).unwrap();
            }
            writer.message(*time, message).unwrap();
        }
        video_of(writer)
    }

    fn video_of(mut writer: Writer) -> Result<Vec<u8>, ExportError> {
        writer.finish();
        let mut reader = Reader::open(Cursor::new(writer.take())).unwrap();
        let contents = reader.contents().unwrap();
        let mut out = Cursor::new(Vec::new());
        export(&mut reader, &contents, &mut out, Export { fps: 10 }, |_| {})?;
        Ok(out.into_inner())
    }

    #[test]
    fn a_video_comes_of_it_whatever_the_sizes() {
        let small = [
            (0, hello(20, 10)),
            (0, fill(20, 10, 9)),
            (700, hello(32, 8)),
            (710, fill(32, 8, 200)),
        ];
        let video = exported(&small).unwrap();
        assert!(video.len() > 200 && video.windows(5).any(|it| it == b"V_VP8"));
        // A long rest costs little.
        let long = [&small[..], &[(600_000, fill(32, 8, 200))]].concat();
        assert!(exported(&long).unwrap().len() < video.len() + 60_000);
    }

    #[test]
    fn what_cannot_be_drawn_is_left_out() {
        let broken = vec![3, 1, 0, 0, 0, 0, 0, 0, 0, 77];
        assert!(exported(&[(0, hello(8, 8)), (0, fill(8, 8, 1)), (5, broken.clone())]).is_ok());
        assert!(matches!(
            exported(&[(0, hello(8, 8)), (0, broken)]),
            Err(ExportError::Canvas(_))
        ));
        assert!(matches!(exported(&[]), Err(ExportError::Empty)));
    }

    #[test]
    fn a_screen_that_is_larger_than_its_segment_says_is_left_out() {
        let picture = [(0, hello(8, 8)), (0, fill(8, 8, 1))];
        let with = |width, height| {
            let mut writer = Writer::new(&about());
            writer.segment(0, 8, 8).unwrap();
            for (time, message) in &picture {
                writer.message(*time, message).unwrap();
            }
            writer.message(0, &hello(width, height)).unwrap();
            writer.message(0, &fill(1, 1, 200)).unwrap();
            video_of(writer).unwrap()
        };
        let kept = exported(&picture).unwrap();
        for (width, height) in [(100, 100), (9, 8), (8, 9)] {
            assert!(with(width, height) == kept, "{width} x {height}");
        }
        assert!(with(8, 8) != kept);
        let mut alone = Writer::new(&about());
        alone.segment(0, 8, 8).unwrap();
        alone.message(0, &hello(100, 100)).unwrap();
        alone.message(0, &fill(1, 1, 200)).unwrap();
        assert!(matches!(video_of(alone), Err(ExportError::Canvas(_))));
    }
}
