//! The form of a file: [`MAGIC`], then records: `u32` length of the payload, `u8` kind, `u64` milliseconds since the
//! start, payload. Numbers are little endian. `docs/recordings.md` says the same for others.

use serde::{Deserialize, Serialize};

/// The first bytes of a file; the last of them is the version.
pub const MAGIC: [u8; 8] = *b"BERTHRC\x01";

/// The last bytes of a file that was ended in order; eight bytes with the index's place are before them.
pub const END_MAGIC: [u8; 8] = *b"BERTHEND";

/// Bytes before each payload.
pub const HEAD_BYTES: usize = 13;

/// Longest message of a live view that is taken; a full picture of the largest screen deflates to less.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Longest of the texts in a file: what it is about, an event.
pub const TEXT_BYTES_MAX: usize = 256 << 10;

/// Segments that a file may have: at one in thirty seconds, a year.
pub const SEGMENTS_MAX: usize = 1 << 20;

/// Longest index.
pub const INDEX_BYTES_MAX: usize = SEGMENTS_MAX * 16 + 24;

/// Latest time of a record, in milliseconds: ten years. A video of a file that claims more would never end.
pub const TIME_MAX: u64 = 10 * 366 * 24 * 3600 * 1000;

/// A side that a screen may have at most, as in the live view.
pub const SIDE_MAX: u16 = 8192;

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// [`About`], as JSON. The first record, and no other.
    About = 1,
    /// What follows can be decoded without what was before. Two `u16`: the screen's columns and rows.
    Segment = 2,
    /// A message of the live view's server.
    Message = 3,
    /// An [`Event`](crate::Event), as JSON.
    Event = 4,
    /// Where segments begin: time and offset, two `u64` each; then the duration, the offset of this record, [`END_MAGIC`].
    Index = 5,
}

impl Kind {
    /// Longest payload.
    pub fn bytes_max(self) -> usize {
        match self {
            Self::About | Self::Event => TEXT_BYTES_MAX,
            Self::Segment => 4,
            Self::Message => MESSAGE_BYTES_MAX,
            Self::Index => INDEX_BYTES_MAX,
        }
    }
}

/// What a file is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// The session.
    pub session_id: String,
    /// When the clock was zero, in Unix milliseconds.
    pub started: u64,
}

/// The head of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Bytes of the payload.
    pub length: usize,
    /// What it is.
    pub kind: Kind,
    /// Milliseconds since the start.
    pub time: u64,
}

/// Why a file is not read on.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// It could not be read.
    #[error("could not read the recording")]
    Io(#[from] std::io::Error),
    /// Another kind of file, or another version.
    #[error("this is no recording of version 1: it does not begin with `BERTHRC` and 1")]
    Magic,
    /// A kind of record that this version does not know.
    #[error("unknown record kind {kind} at byte {at}")]
    Kind {
        /// What it says.
        kind: u8,
        /// Where.
        at: u64,
    },
    /// A record that is too long for its kind.
    #[error("a record of {length} bytes at byte {at}; allowed: at most {allowed}")]
    Length {
        /// What it says.
        length: usize,
        /// The limit.
        allowed: usize,
        /// Where.
        at: u64,
    },
    /// A time that no recording reaches.
    #[error("a record at {time} ms, at byte {at}; allowed: at most {TIME_MAX}")]
    Time {
        /// What it says.
        time: u64,
        /// Where.
        at: u64,
    },
    /// A text that is none.
    #[error("a record at byte {at} is not what it should be")]
    Text {
        /// Where.
        at: u64,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Nothing is in it that can be shown.
    #[error("the recording says nothing of what it is about; it was cut off too early")]
    Empty,
    /// More than a file may have.
    #[error("the recording has more than {SEGMENTS_MAX} segments")]
    Segments,
}

impl Head {
    /// Reads the head of the record at byte `at`.
    pub fn read(bytes: [u8; HEAD_BYTES], at: u64) -> Result<Self, FormatError> {
        let [l0, l1, l2, l3, kind, time @ ..] = bytes;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let kind = match kind {
            1 => Kind::About,
            2 => Kind::Segment,
            3 => Kind::Message,
            4 => Kind::Event,
            5 => Kind::Index,
            kind => return Err(FormatError::Kind { kind, at }),
        };
        let allowed = kind.bytes_max();
        if length > allowed {
            return Err(FormatError::Length { length, allowed, at });
        }
        let time = u64::from_le_bytes(time);
        if time > TIME_MAX {
            return Err(FormatError::Time { time, at });
        }
        Ok(Self { length, kind, time })
    }

    /// Writes it.
    pub fn bytes(self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        // Payloads are far shorter than four GiB.
        bytes[..4].copy_from_slice(&(self.length as u32).to_le_bytes());
        bytes[4] = self.kind as u8;
        bytes[5..].copy_from_slice(&self.time.to_le_bytes());
        bytes
    }
}
