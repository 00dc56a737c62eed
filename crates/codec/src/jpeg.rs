//! JPEG, as libjpeg-turbo encodes it: a tenth of the time that encoders in Rust take.
#![expect(unsafe_code, reason = "calls libjpeg-turbo")]

use std::ffi::{c_int, c_uchar, c_ulong, c_void};
use std::ptr::NonNull;

use crate::CodecError;

/// Blue, green, red and a byte that means nothing, in this order in memory: `0x00RRGGBB`, little endian.
const TJPF_BGRX: c_int = 3;
/// Colour at half the resolution.
const TJSAMP_420: c_int = 2;
/// Colour at full resolution.
const TJSAMP_444: c_int = 0;
/// The output buffer is ours and large enough.
const TJFLAG_NOREALLOC: c_int = 1024;
/// The longest side of a JPEG picture.
const MAX_SIDE: usize = 65_500;

unsafe extern "C" {
    fn tjInitCompress() -> *mut c_void;
    fn tjDestroy(handle: *mut c_void) -> c_int;
    fn tjBufSize(width: c_int, height: c_int, subsampling: c_int) -> c_ulong;
    fn tjCompress2(
        handle: *mut c_void,
        source: *const c_uchar,
        width: c_int,
        pitch: c_int,
        height: c_int,
        format: c_int,
        buffer: *mut *mut c_uchar,
        size: *mut c_ulong,
        subsampling: c_int,
        quality: c_int,
        flags: c_int,
    ) -> c_int;
}

/// An encoder of still pictures, and the memory that it works in.
#[derive(Debug)]
pub struct Jpeg {
    handle: NonNull<c_void>,
    buffer: Vec<u8>,
}

// SAFETY: a handle holds all state of its encoder and is tied to no thread; `&mut self` keeps calls apart.
unsafe impl Send for Jpeg {}

impl Jpeg {
    /// An encoder for pictures of any size.
    pub fn new() -> Result<Self, CodecError> {
        // SAFETY: takes nothing.
        let handle = NonNull::new(unsafe { tjInitCompress() }).ok_or(CodecError::Open {
            codec: "JPEG",
            width: 0,
            height: 0,
        })?;
        Ok(Self {
            handle,
            buffer: Vec::new(),
        })
    }

    /// Encodes `pixels` (`0x00RRGGBB`), rows of `width` that begin `stride` pixels apart. `quality` is 1 to 100; from 90
    /// on colour keeps its full resolution.
    pub fn encode(
        &mut self,
        pixels: &[u32],
        width: usize,
        height: usize,
        stride: usize,
        quality: u8,
    ) -> Result<&[u8], CodecError> {
        let failed = CodecError::Encode("JPEG");
        let fits = (1..=MAX_SIDE).contains(&width)
            && (1..=MAX_SIDE).contains(&height)
            && (width..=MAX_SIDE).contains(&stride)
            && pixels.len() >= stride * (height - 1) + width;
        if !fits || !(1..=100).contains(&quality) {
            return Err(failed);
        }
        let subsampling = if quality >= 90 { TJSAMP_444 } else { TJSAMP_420 };
        let (width, height) = (width as c_int, height as c_int);
        // SAFETY: takes numbers by value.
        let most = unsafe { tjBufSize(width, height, subsampling) };
        let most = usize::try_from(most).map_err(|_| failed)?;
        if self.buffer.len() < most {
            self.buffer.resize(most, 0);
        }
        let (mut buffer, mut size) = (self.buffer.as_mut_ptr(), self.buffer.len() as c_ulong);
        // SAFETY: the handle is open. The source holds `height` rows of `width` pixels of four bytes, `stride` pixels
        // apart (checked above), and is only read. The buffer has the size that `tjBufSize` says is enough, `size` says
        // so, and NOREALLOC keeps the library from replacing it.
        let refused = unsafe {
            tjCompress2(
                self.handle.as_ptr(),
                pixels.as_ptr().cast(),
                width,
                (stride * size_of::<u32>()) as c_int,
                height,
                TJPF_BGRX,
                &mut buffer,
                &mut size,
                subsampling,
                c_int::from(quality),
                TJFLAG_NOREALLOC,
            )
        };
        if refused != 0 {
            return Err(failed);
        }
        self.buffer
            .get(..usize::try_from(size).map_err(|_| failed)?)
            .ok_or(failed)
    }
}

impl Drop for Jpeg {
    fn drop(&mut self) {
        // SAFETY: opened by `new`, closed here and nowhere else.
        let _ = unsafe { tjDestroy(self.handle.as_ptr()) };
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "what fails in a test says so by panicking")]
mod tests {
    use super::*;

    #[test]
    fn pictures_of_any_shape_become_jpeg() {
        let mut jpeg = Jpeg::new().unwrap();
        for (width, height, stride) in [(1, 1, 1), (17, 9, 20), (640, 32, 640)] {
            let pixels = vec![0x20_40_60; stride * height];
            for quality in [1, 50, 100] {
                let bytes = jpeg.encode(&pixels, width, height, stride, quality).unwrap();
                assert!(bytes.starts_with(&[0xFF, 0xD8]) && bytes.ends_with(&[0xFF, 0xD9]));
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut jpeg = Jpeg::new().unwrap();
        assert!(jpeg.encode(&[0; 10], 5, 3, 5, 80).is_err());
        assert!(jpeg.encode(&[0; 10], 0, 1, 1, 80).is_err());
        assert!(jpeg.encode(&[0; 10], 5, 2, 5, 0).is_err());
    }
}
