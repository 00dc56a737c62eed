//! The codecs of the live view: VP8 through libvpx, JPEG through libjpeg-turbo, Opus through libopus. Safe Rust around
//! libraries in C.
//!
//! In: pixels as `0x00RRGGBB`, samples of sound. Out: packets that a browser decodes. The libraries are free to redistribute (BSD, and
//! libvpx with a patent grant) and linked into the program. Here is the only C of this tree: `vpx.c`, which keeps
//! libvpx's structures out of Rust.
//!
//! Never: state between sessions or screens; a thread of its own.
//!
//! Start reading at [`Vp8Encoder`].

mod i420;
mod jpeg;
mod opus;
mod vp8;

pub use i420::I420;
pub use jpeg::Jpeg;
pub use opus::{FRAME_SAMPLES, Opus};
pub use vp8::{Packet, Vp8Decoder, Vp8Encoder};

/// What a codec library refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// It could not be prepared for pictures of this size.
    #[error("{codec} cannot be set up for {width} x {height} pixels")]
    Open {
        /// `VP8` or `JPEG`.
        codec: &'static str,
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
    },
    /// It could not encode a picture.
    #[error("{0} could not encode a picture")]
    Encode(&'static str),
    /// What was to be decoded is no packet, or one of another size.
    #[error("{0} could not decode a packet")]
    Decode(&'static str),
}
