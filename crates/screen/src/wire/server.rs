//! Messages to the page.

use bytes::Bytes;

use super::VERSION;

/// Kind of [`hello`].
pub const HELLO: u8 = 1;
/// Kind of an update whose operations are deflated.
pub const UPDATE: u8 = 2;
/// Kind of an update whose operations are plain.
pub const UPDATE_PLAIN: u8 = 3;
/// Kind of [`cursor`].
pub const CURSOR: u8 = 5;

/// The screen's size; resets everything that the page holds.
pub fn hello(width: u16, height: u16) -> Bytes {
    let mut message = vec![HELLO, VERSION];
    message.extend(width.to_le_bytes());
    message.extend(height.to_le_bytes());
    message.into()
}

/// The head of an update; the next piece of the deflate stream follows.
pub fn update_head(seq: u32, input_seq: u32, inflated: u32) -> Vec<u8> {
    let mut message = vec![UPDATE];
    message.extend([seq, input_seq, inflated].map(u32::to_le_bytes).concat());
    message
}

/// An update for a page that cannot inflate.
pub fn update_plain(seq: u32, input_seq: u32, ops: &[u8]) -> Bytes {
    let mut message = Vec::with_capacity(9 + ops.len());
    message.push(UPDATE_PLAIN);
    message.extend([seq, input_seq].map(u32::to_le_bytes).concat());
    message.extend(ops);
    message.into()
}

/// The pointer's shape: `rgba` has `width * height` pixels of four bytes, not premultiplied. No columns: hidden.
pub fn cursor(width: u16, height: u16, hot_x: u16, hot_y: u16, rgba: &[u8]) -> Bytes {
    let mut message = Vec::with_capacity(9 + rgba.len());
    message.push(CURSOR);
    message.extend([width, height, hot_x, hot_y].map(u16::to_le_bytes).concat());
    message.extend(rgba);
    message.into()
}
