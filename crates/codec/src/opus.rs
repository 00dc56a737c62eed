//! Opus, as libopus encodes it: sound of a desktop, in packets of 20 ms.
#![expect(unsafe_code, reason = "calls libopus")]

use std::ffi::{c_int, c_uchar};
use std::ptr::NonNull;

use crate::CodecError;

/// Samples a second of each channel.
pub const SAMPLE_RATE: u32 = 48_000;
/// Left and right.
pub const CHANNELS: usize = 2;
/// Samples of a packet, both channels in turn: 20 ms.
pub const FRAME_SAMPLES: usize = SAMPLE_RATE as usize / 50 * CHANNELS;

/// Bits a second: music without audible loss.
const BITRATE: c_int = 96_000;
/// The longest packet that an encoder makes of one frame.
const PACKET_BYTES_MAX: usize = 1_275;
/// Packets up to this size say "as before": silence.
const SILENT_BYTES: usize = 2;

const OPUS_OK: c_int = 0;
const OPUS_APPLICATION_AUDIO: c_int = 2049;
const OPUS_SET_BITRATE: c_int = 4002;
const OPUS_SET_DTX: c_int = 4016;

/// libopus' own state.
#[repr(C)]
struct OpusEncoder {
    _private: [u8; 0],
}

unsafe extern "C" {
    fn opus_encoder_create(
        rate: i32,
        channels: c_int,
        application: c_int,
        error: *mut c_int,
    ) -> *mut OpusEncoder;
    fn opus_encoder_destroy(encoder: *mut OpusEncoder);
    fn opus_encoder_ctl(encoder: *mut OpusEncoder, request: c_int, ...) -> c_int;
    fn opus_encode(
        encoder: *mut OpusEncoder,
        samples: *const i16,
        frame_size: c_int,
        packet: *mut c_uchar,
        packet_bytes: i32,
    ) -> i32;
}

/// An encoder of one stereo stream.
#[derive(Debug)]
pub struct Opus {
    encoder: NonNull<OpusEncoder>,
    packet: [u8; PACKET_BYTES_MAX],
    /// It was told of silence, and has said so.
    silent: bool,
}

// SAFETY: libopus keeps its state in the encoder alone and ties nothing to a thread; `&mut self` keeps calls apart.
unsafe impl Send for Opus {}

impl Opus {
    /// An encoder at the beginning of a stream.
    pub fn new() -> Result<Self, CodecError> {
        let failed = CodecError::Encode("Opus");
        let mut error = OPUS_OK;
        let (rate, channels) = (SAMPLE_RATE as i32, CHANNELS as c_int);
        // SAFETY: takes numbers by value, and writes one to a local that outlives the call.
        let encoder = unsafe { opus_encoder_create(rate, channels, OPUS_APPLICATION_AUDIO, &mut error) };
        let opus = Self {
            encoder: NonNull::new(encoder).filter(|_| error == OPUS_OK).ok_or(failed)?,
            packet: [0; PACKET_BYTES_MAX],
            silent: false,
        };
        for (request, value) in [(OPUS_SET_BITRATE, BITRATE), (OPUS_SET_DTX, 1)] {
            // SAFETY: the encoder is open; both requests take one `int`, which is what is passed.
            let answer = unsafe { opus_encoder_ctl(opus.encoder.as_ptr(), request, value) };
            if answer != OPUS_OK {
                return Err(failed);
            }
        }
        Ok(opus)
    }

    /// Encodes 20 ms of sound; nothing when it is silent and has been for a while.
    pub fn encode(&mut self, samples: &[i16; FRAME_SAMPLES]) -> Result<Option<&[u8]>, CodecError> {
        let is_nothing = samples.iter().all(|sample| *sample == 0);
        // The encoder would repeat itself twice a second.
        if is_nothing && self.silent {
            return Ok(None);
        }
        let frame_size = (FRAME_SAMPLES / CHANNELS) as c_int;
        // SAFETY: the encoder is open. `samples` holds `frame_size` samples of two channels, as many as are read;
        // `packet` holds as many bytes as the call is told it may write.
        let length = unsafe {
            opus_encode(
                self.encoder.as_ptr(),
                samples.as_ptr(),
                frame_size,
                self.packet.as_mut_ptr(),
                PACKET_BYTES_MAX as i32,
            )
        };
        let length = usize::try_from(length).map_err(|_| CodecError::Encode("Opus"))?;
        let packet = self.packet.get(..length).ok_or(CodecError::Encode("Opus"))?;
        let says_nothing = length <= SILENT_BYTES;
        self.silent = is_nothing && says_nothing;
        Ok((!says_nothing).then_some(packet))
    }
}

impl Drop for Opus {
    fn drop(&mut self) {
        // SAFETY: opened by `new`, closed here and nowhere else.
        unsafe { opus_encoder_destroy(self.encoder.as_ptr()) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "what fails in a test says so by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_tone_is_sound_and_silence_costs_nothing() {
        let mut opus = Opus::new().unwrap();
        let tone = |frame: usize| -> [i16; FRAME_SAMPLES] {
            std::array::from_fn(|n| {
                let time = (frame * FRAME_SAMPLES / CHANNELS + n / CHANNELS) as f32 / SAMPLE_RATE as f32;
                ((time * 440.0 * std::f32::consts::TAU).sin() * 12_000.0) as i16
            })
        };
        let bytes: usize = (0..50)
            .map(|frame| opus.encode(&tone(frame)).unwrap().map_or(0, <[u8]>::len))
            .sum();
        assert!((2_000..24_000).contains(&bytes), "{bytes} bytes for a second");
        let silent = |_| opus.encode(&[0; FRAME_SAMPLES]).unwrap().is_none();
        let silent: Vec<bool> = (0..1000).map(silent).collect();
        let first = silent.iter().position(|silent| *silent).unwrap();
        assert!(first < 40, "silence is said for {first} packets");
        assert!(silent[first..].iter().all(|silent| *silent));
        assert!(opus.encode(&tone(0)).unwrap().is_some());
    }
}
