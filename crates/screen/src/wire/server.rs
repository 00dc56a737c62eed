//! Messages to the page.

use bytes::Bytes;

use super::VERSION;
use crate::audience::ViewerId;
use crate::marks::{Actor, Deed, Mark};
use crate::picture::Rect;

/// Kind of [`hello`].
pub const HELLO: u8 = 1;
/// Kind of an update whose operations are deflated.
pub const UPDATE: u8 = 2;
/// Kind of an update whose operations are plain.
pub const UPDATE_PLAIN: u8 = 3;
/// Kind of [`frame`].
pub const FRAME: u8 = 4;
/// Kind of [`cursor`].
pub const CURSOR: u8 = 5;

/// Kind of [`clipboard`].
pub const CLIPBOARD: u8 = 6;
/// Kind of [`state`].
pub const STATE: u8 = 7;
/// Kind of [`mark`].
pub const MARK: u8 = 8;

/// Kind of [`sound`].
pub const SOUND: u8 = 9;

/// In the hello: the page may send messages of kind 10 and above. Guests of earlier releases say nothing there, and
/// break off at a kind that they do not know.
const TAKES_REQUESTS: u8 = 1;

/// The screen's size; resets everything that the page holds.
pub fn hello(width: u16, height: u16) -> Bytes {
    let mut message = vec![HELLO, VERSION];
    message.extend([width, height].map(u16::to_le_bytes).concat());
    message.push(TAKES_REQUESTS);
    message.into()
}

/// An update of `inflated` bytes of operations, in the next piece of the viewer's deflate stream.
pub fn update_deflated(seq: u32, input_seq: u32, inflated: usize, piece: &[u8]) -> Bytes {
    let mut message = Vec::with_capacity(13 + piece.len());
    message.push(UPDATE);
    // Operations are bounded far below 4 GiB.
    message.extend([seq, input_seq, inflated as u32].map(u32::to_le_bytes).concat());
    message.extend(piece);
    message.into()
}

/// An update for a page that cannot inflate, or a small one.
pub fn update_plain(seq: u32, input_seq: u32, ops: &[u8]) -> Bytes {
    let mut message = Vec::with_capacity(9 + ops.len());
    message.push(UPDATE_PLAIN);
    message.extend([seq, input_seq].map(u32::to_le_bytes).concat());
    message.extend(ops);
    message.into()
}

/// A video frame, of which the page draws `rects`. `codec` 0: one VP8 packet of the whole screen; 1: for each rectangle
/// the length of a JPEG picture in four bytes, and the picture.
pub fn frame(seq: u32, input_seq: u32, is_key: bool, codec: u8, rects: &[Rect], bytes: &[u8]) -> Bytes {
    let mut message = Vec::with_capacity(13 + rects.len() * 8 + bytes.len());
    message.push(FRAME);
    message.extend([seq, input_seq].map(u32::to_le_bytes).concat());
    message.extend([u8::from(is_key), codec]);
    // Regions hold few rectangles, and a JPEG band has many rows.
    message.extend((rects.len() as u16).to_le_bytes());
    for rect in rects {
        // A screen has at most 65,535 columns and rows: X counts them in 16 bits.
        let numbers = [rect.x0, rect.y0, rect.width(), rect.height()];
        message.extend(numbers.map(|number| (number as u16).to_le_bytes()).concat());
    }
    message.extend(bytes);
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

/// What a [`clipboard`] message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clip {
    /// A text.
    Text = 0,
    /// A picture as PNG.
    Png = 1,
    /// There is a text of so many bytes, a `u32`.
    LongText = 2,
    /// There is a picture of so many bytes, a `u32`.
    LongPng = 3,
}

/// The session's clipboard.
pub fn clipboard(clip: Clip, bytes: &[u8]) -> Bytes {
    [&[CLIPBOARD, clip as u8], bytes].concat().into()
}

/// Who looks and who has control, as JSON, for viewer `you`.
pub fn state(you: ViewerId, json: &[u8]) -> Bytes {
    [&[STATE][..], &narrow(you).to_le_bytes(), json].concat().into()
}

/// A pointer that is not the viewer's own.
pub fn mark(mark: &Mark) -> Bytes {
    let (who, id) = match mark.actor {
        Actor::Agent => (0, 0),
        Actor::Person(id) => (1, narrow(id)),
    };
    let deed = match mark.deed {
        Deed::Moved => 0,
        Deed::Down => 1,
        Deed::Up => 2,
        Deed::Types => 3,
    };
    let mut message = vec![MARK, who];
    message.extend(id.to_le_bytes());
    message.extend([mark.at.x, mark.at.y].map(u16::to_le_bytes).concat());
    message.push(deed);
    message.into()
}

/// 20 ms of sound as an Opus packet; numbers that are left out were silent.
pub fn sound(seq: u32, packet: &[u8]) -> Bytes {
    [&[SOUND][..], &seq.to_le_bytes(), packet].concat().into()
}

/// Viewers of one screen are counted from 1: four billion of them do not come.
fn narrow(id: ViewerId) -> u32 {
    u32::try_from(id).unwrap_or(u32::MAX)
}
