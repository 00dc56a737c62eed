//! VP8, as libvpx encodes and decodes it.
#![expect(unsafe_code, reason = "calls libvpx")]

use std::ffi::{c_int, c_uint};
use std::ptr::{self, NonNull};
use std::slice;

use crate::{CodecError, I420};

/// The longest side of a VP8 picture: its header has 14 bits for it.
const MAX_SIDE: usize = 16_383;

/// What `vpx.c` keeps.
#[repr(C)]
struct Opaque {
    _private: [u8; 0],
}

unsafe extern "C" {
    fn berth_vp8_open(width: c_uint, height: c_uint, kbps: c_uint) -> *mut Opaque;
    fn berth_vp8_close(encoder: *mut Opaque);
    fn berth_vp8_set_bitrate(encoder: *mut Opaque, kbps: c_uint) -> c_int;
    fn berth_vp8_encode(
        encoder: *mut Opaque,
        y: *const u8,
        u: *const u8,
        v: *const u8,
        key: c_int,
        packet: *mut *const u8,
        length: *mut usize,
        is_key: *mut c_int,
    ) -> c_int;
    fn berth_vp8_open_decoder() -> *mut Opaque;
    fn berth_vp8_close_decoder(decoder: *mut Opaque);
    fn berth_vp8_decode(
        decoder: *mut Opaque,
        packet: *const u8,
        length: c_uint,
        width: c_uint,
        height: c_uint,
        y: *mut u8,
        u: *mut u8,
        v: *mut u8,
    ) -> c_int;
}

/// One encoded picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Needs no picture before it.
    pub is_key: bool,
    /// What the decoder gets.
    pub bytes: &'a [u8],
}

/// Encodes pictures of one size for one chain of decoders: each packet needs all before it, back to a key picture.
#[derive(Debug)]
pub struct Vp8Encoder {
    encoder: NonNull<Opaque>,
    width: usize,
    height: usize,
    kbps: u32,
}

// SAFETY: libvpx keeps its state in the encoder alone and ties nothing to a thread; `&mut self` keeps calls apart.
unsafe impl Send for Vp8Encoder {}

impl Vp8Encoder {
    /// An encoder for pictures of this size at `kbps` kbit/s.
    pub fn new(width: usize, height: usize, kbps: u32) -> Result<Self, CodecError> {
        let failed = CodecError::Open {
            codec: "VP8",
            width,
            height,
        };
        if width == 0 || height == 0 || width > MAX_SIDE || height > MAX_SIDE {
            return Err(failed);
        }
        // SAFETY: takes numbers by value; sides are checked above.
        let encoder = unsafe { berth_vp8_open(width as c_uint, height as c_uint, kbps.max(1)) };
        Ok(Self {
            encoder: NonNull::new(encoder).ok_or(failed)?,
            width,
            height,
            kbps,
        })
    }

    /// kbit/s that it aims at.
    pub fn bitrate(&self) -> u32 {
        self.kbps
    }

    /// Aims at `kbps` kbit/s from the next picture on.
    pub fn set_bitrate(&mut self, kbps: u32) -> Result<(), CodecError> {
        // SAFETY: the encoder is open for as long as `self` lives.
        let done = unsafe { berth_vp8_set_bitrate(self.encoder.as_ptr(), kbps.max(1)) };
        if done == 0 {
            return Err(CodecError::Encode("VP8"));
        }
        self.kbps = kbps;
        Ok(())
    }

    /// Encodes a picture; none when the rate control leaves it out. The first is a key picture, as is one with `key`.
    pub fn encode(&mut self, picture: &I420, key: bool) -> Result<Option<Packet<'_>>, CodecError> {
        if (picture.width(), picture.height()) != (self.width, self.height) {
            return Err(CodecError::Encode("VP8"));
        }
        let (mut packet, mut length, mut is_key) = (ptr::null(), 0, 0);
        // SAFETY: the encoder is open. The planes have the size that it was opened with (checked above), rows without
        // gaps, colour planes rounded up, as `berth_vp8_encode` reads them, and are only read during the call. The
        // three results are written to locals that outlive it.
        let done = unsafe {
            berth_vp8_encode(
                self.encoder.as_ptr(),
                picture.y.as_ptr(),
                picture.u.as_ptr(),
                picture.v.as_ptr(),
                c_int::from(key),
                &mut packet,
                &mut length,
                &mut is_key,
            )
        };
        if done == 0 {
            return Err(CodecError::Encode("VP8"));
        }
        if packet.is_null() || length == 0 {
            return Ok(None);
        }
        // SAFETY: libvpx gave `length` bytes at `packet`, valid and unchanged until the next call on this encoder,
        // which the borrow of `self` in the result keeps away.
        let bytes = unsafe { slice::from_raw_parts(packet, length) };
        Ok(Some(Packet {
            is_key: is_key != 0,
            bytes,
        }))
    }
}

impl Drop for Vp8Encoder {
    fn drop(&mut self) {
        // SAFETY: opened by `new`, closed here and nowhere else; no packet of it is borrowed any more.
        unsafe { berth_vp8_close(self.encoder.as_ptr()) }
    }
}

/// Decodes what [`Vp8Encoder`] made: for tests, and for turning recordings into other formats.
#[derive(Debug)]
pub struct Vp8Decoder {
    decoder: NonNull<Opaque>,
    picture: I420,
}

// SAFETY: as for the encoder.
unsafe impl Send for Vp8Decoder {}

impl Vp8Decoder {
    /// A decoder for pictures of this size.
    pub fn new(width: usize, height: usize) -> Result<Self, CodecError> {
        let failed = CodecError::Open {
            codec: "VP8",
            width,
            height,
        };
        if width == 0 || height == 0 || width > MAX_SIDE || height > MAX_SIDE {
            return Err(failed);
        }
        // SAFETY: takes nothing.
        let decoder = unsafe { berth_vp8_open_decoder() };
        Ok(Self {
            decoder: NonNull::new(decoder).ok_or(failed)?,
            picture: I420::black(width, height),
        })
    }

    /// Decodes the next packet.
    pub fn decode(&mut self, packet: &[u8]) -> Result<&I420, CodecError> {
        // Before the library sees it, which would make room for whatever a key frame says.
        let sides = (self.picture.width(), self.picture.height());
        if key_frame_size(packet).is_some_and(|size| size != sides) {
            return Err(CodecError::Decode("VP8"));
        }
        let length = c_uint::try_from(packet.len()).map_err(|_| CodecError::Decode("VP8"))?;
        let picture = &mut self.picture;
        // SAFETY: the decoder is open; `packet` has `length` bytes and is only read. `berth_vp8_decode` writes planes of
        // exactly the width and height that it is given, colour rounded up, which is what an `I420` of that size holds;
        // the three planes do not overlap.
        let done = unsafe {
            berth_vp8_decode(
                self.decoder.as_ptr(),
                packet.as_ptr(),
                length,
                picture.width() as c_uint,
                picture.height() as c_uint,
                picture.y.as_mut_ptr(),
                picture.u.as_mut_ptr(),
                picture.v.as_mut_ptr(),
            )
        };
        if done == 0 {
            return Err(CodecError::Decode("VP8"));
        }
        Ok(&self.picture)
    }
}

/// The size that a key frame says, after its tag and the start code (RFC 6386, section 9.1).
fn key_frame_size(packet: &[u8]) -> Option<(usize, usize)> {
    let &[tag, _, _, 0x9D, 0x01, 0x2A, a, b, c, d, ..] = packet else {
        return None;
    };
    let side = |low, high| usize::from(u16::from_le_bytes([low, high]) & 0x3FFF);
    (tag & 1 == 0).then(|| (side(a, b), side(c, d)))
}

impl Drop for Vp8Decoder {
    fn drop(&mut self) {
        // SAFETY: opened by `new`, closed here and nowhere else.
        unsafe { berth_vp8_close_decoder(self.decoder.as_ptr()) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "what fails in a test says so by panicking")]
mod tests {
    use super::*;

    fn frame(width: usize, height: usize, time: usize) -> I420 {
        let mut picture = I420::black(width, height);
        let rows: Vec<Vec<u32>> = (0..height)
            .map(|y| {
                (0..width)
                    .map(|x| {
                        ((x * 3 + time * 5) as u32 & 255) << 16 | ((y * 2 + time) as u32 & 255) << 8 | 90
                    })
                    .collect()
            })
            .collect();
        picture.convert((0, 0), (width, height), |y| &rows[y]);
        picture
    }

    #[test]
    fn what_is_encoded_decodes_to_nearly_the_same() {
        for (width, height) in [(320, 240), (321, 239), (1, 1), (17, 3)] {
            let mut encoder = Vp8Encoder::new(width, height, 4_000).unwrap();
            let mut decoder = Vp8Decoder::new(width, height).unwrap();
            for time in 0..10 {
                let picture = frame(width, height, time);
                let packet = encoder
                    .encode(&picture, time == 5)
                    .unwrap()
                    .expect("no picture is left out");
                assert_eq!(packet.is_key, time == 0 || time == 5);
                let seen = decoder.decode(packet.bytes).unwrap();
                let error: u64 = seen
                    .y
                    .iter()
                    .zip(&picture.y)
                    .map(|(a, b)| u64::from(a.abs_diff(*b)))
                    .sum();
                assert!(
                    error < (width * height * 8) as u64,
                    "{width} x {height}, picture {time}: {error}"
                );
            }
        }
    }

    #[test]
    fn the_bitrate_is_kept() {
        let mut encoder = Vp8Encoder::new(640, 480, 500).unwrap();
        let sent = |encoder: &mut Vp8Encoder| -> usize {
            (0..60)
                .map(|n| {
                    encoder
                        .encode(&frame(640, 480, n * 7), false)
                        .unwrap()
                        .map_or(0, |p| p.bytes.len())
                })
                .sum()
        };
        let low = sent(&mut encoder);
        encoder.set_bitrate(4_000).unwrap();
        let high = sent(&mut encoder);
        assert!(low < 500 * 125 * 2 * 2, "{low} bytes in 2 s");
        assert!(high > low, "{high} bytes at a higher rate, {low} at a lower");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(Vp8Encoder::new(0, 10, 1).is_err());
        assert!(Vp8Encoder::new(10, 20_000, 1).is_err());
        let mut encoder = Vp8Encoder::new(16, 16, 100).unwrap();
        assert!(encoder.encode(&I420::black(32, 16), false).is_err());
        let mut decoder = Vp8Decoder::new(16, 16).unwrap();
        assert!(decoder.decode(&[1, 2, 3]).is_err());
        let mut other = Vp8Encoder::new(32, 32, 100).unwrap();
        let packet = other.encode(&I420::black(32, 32), true).unwrap().unwrap();
        assert!(decoder.decode(packet.bytes).is_err());
    }
}
