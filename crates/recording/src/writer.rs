//! Makes a file's bytes. Does no I/O: whoever uses it carries them to the file.

use crate::event::Event;
use crate::format::{
    About, END_MAGIC, FormatError, HEAD_BYTES, Head, Kind, MAGIC, SEGMENTS_MAX, TEXT_BYTES_MAX, TIME_MAX,
};
use crate::reader::Contents;

/// How far a recording is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Milliseconds since the start.
    pub time: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// A file under way.
#[derive(Debug)]
pub struct Writer {
    pending: Vec<u8>,
    /// Bytes of the file, those that are pending included.
    bytes: u64,
    index: Vec<(u64, u64)>,
    /// The clock only goes forward.
    time: u64,
}

impl Writer {
    /// A file that begins here.
    pub fn new(about: &About) -> Self {
        let mut writer = Self {
            pending: MAGIC.to_vec(),
            bytes: MAGIC.len() as u64,
            index: Vec::new(),
            time: 0,
        };
        // Two plain fields: they can be written, and a session's id is short.
        let text = serde_json::to_vec(about).unwrap_or_default();
        writer.record(Kind::About, 0, &text);
        writer
    }

    /// Goes on with a file, which is first to be cut to [`Contents::end`].
    pub fn resume(contents: &Contents) -> Self {
        Self {
            pending: Vec::new(),
            bytes: contents.end,
            index: contents
                .segments
                .iter()
                .map(|segment| (segment.time, segment.offset))
                .collect(),
            time: contents.duration,
        }
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        Progress {
            time: self.time,
            bytes: self.bytes,
        }
    }

    /// Whether there is anything to be seen.
    pub fn has_segments(&self) -> bool {
        !self.index.is_empty()
    }

    /// What waits to be carried to the file.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Takes what waits.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pending)
    }

    /// What follows needs nothing of what was before.
    pub fn segment(&mut self, time: u64, width: u16, height: u16) -> Result<(), FormatError> {
        if self.index.len() >= SEGMENTS_MAX {
            return Err(FormatError::Segments);
        }
        let at = self.bytes;
        let [w, h] = [width, height].map(u16::to_le_bytes);
        self.record(Kind::Segment, time, &[w[0], w[1], h[0], h[1]]);
        self.index.push((self.time, at));
        Ok(())
    }

    /// A message of the server.
    pub fn message(&mut self, time: u64, message: &[u8]) -> Result<(), FormatError> {
        let allowed = Kind::Message.bytes_max();
        if message.len() > allowed {
            let (length, at) = (message.len(), self.bytes);
            return Err(FormatError::Length { length, allowed, at });
        }
        self.record(Kind::Message, time, message);
        Ok(())
    }

    /// Something beside the screen. What is too long, as escapes can make it, is left out but for its name.
    pub fn event(&mut self, time: u64, event: &Event) {
        let text = serde_json::to_vec(event).unwrap_or_default();
        if !text.is_empty() && text.len() <= TEXT_BYTES_MAX {
            self.record(Kind::Event, time, &text);
        }
    }

    /// The end: nothing may follow.
    pub fn finish(&mut self) {
        let at = self.bytes;
        let mut payload = Vec::with_capacity(self.index.len() * 16 + 24);
        for (time, offset) in &self.index {
            payload.extend([time, offset].map(|number| number.to_le_bytes()).concat());
        }
        payload.extend([self.time, at].map(u64::to_le_bytes).concat());
        payload.extend(END_MAGIC);
        self.record(Kind::Index, self.time, &payload);
    }

    fn record(&mut self, kind: Kind, time: u64, payload: &[u8]) {
        self.time = self.time.max(time.min(TIME_MAX));
        let head = Head {
            length: payload.len(),
            kind,
            time: self.time,
        };
        self.pending.extend(head.bytes());
        self.pending.extend(payload);
        self.bytes += (HEAD_BYTES + payload.len()) as u64;
    }
}
