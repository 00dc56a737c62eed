//! Reads a file, whoever wrote it: every length has a limit, and what was cut off is read as far as it goes.

use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom};

use serde::Serialize;

use crate::event::Event;
use crate::format::{About, FormatError, HEAD_BYTES, Head, Kind, MAGIC, SEGMENTS_MAX};

/// Events that are told of at most.
const EVENTS_MAX: usize = 20_000;

/// Characters of an event's text that are told of before it is read as a whole.
const SHOWN_CHARS: usize = 200;

/// A file that is open.
#[derive(Debug)]
pub struct Reader<R> {
    file: BufReader<R>,
    at: u64,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What it is.
    pub kind: Kind,
    /// Milliseconds since the start.
    pub time: u64,
    /// What it says.
    pub payload: Vec<u8>,
}

/// A part that can be decoded alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Segment {
    /// When it begins.
    pub time: u64,
    /// Where its first record is.
    pub offset: u64,
    /// Where the next one begins, or the records end.
    pub end: u64,
    /// Columns of the screen.
    pub width: u16,
    /// Rows of the screen.
    pub height: u16,
}

/// An event, its long texts left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EventAt {
    /// When it was written, which is when a call was over.
    pub time: u64,
    /// Where its text is.
    pub offset: u64,
    /// Bytes of its text.
    pub length: usize,
    /// The event, cut.
    pub event: Event,
}

/// What is in a file.
#[derive(Debug, Clone, Serialize)]
pub struct Contents {
    /// What it is about.
    pub about: About,
    /// Its parts, in order.
    pub segments: Vec<Segment>,
    /// What happened beside the screen, in order.
    pub events: Vec<EventAt>,
    /// Milliseconds until the last record.
    pub duration: u64,
    /// Where the last whole record ends, the index left out.
    pub end: u64,
    /// It was ended in order.
    pub finished: bool,
}

impl<R: Read + Seek> Reader<R> {
    /// Opens a file, which must begin as one.
    pub fn open(file: R) -> Result<Self, FormatError> {
        let mut file = BufReader::with_capacity(64 << 10, file);
        let mut magic = [0; MAGIC.len()];
        file.seek(SeekFrom::Start(0))?;
        match file.read_exact(&mut magic) {
            Err(error) if error.kind() != ErrorKind::UnexpectedEof => return Err(error.into()),
            _ if magic != MAGIC => return Err(FormatError::Magic),
            _ => {}
        }
        Ok(Self {
            file,
            at: MAGIC.len() as u64,
        })
    }

    /// Where the next record is.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// Goes to a record.
    pub fn go_to(&mut self, offset: u64) -> Result<(), FormatError> {
        self.file.seek(SeekFrom::Start(offset))?;
        self.at = offset;
        Ok(())
    }

    /// The next record; none at the end, also when the file was cut off inside of one.
    pub fn next_record(&mut self) -> Result<Option<Record>, FormatError> {
        let Some(head) = self.head()? else { return Ok(None) };
        let mut payload = Vec::new();
        self.file
            .by_ref()
            .take(head.length as u64)
            .read_to_end(&mut payload)?;
        if payload.len() < head.length {
            return Ok(None);
        }
        self.at += (HEAD_BYTES + head.length) as u64;
        let Head { kind, time, .. } = head;
        Ok(Some(Record { kind, time, payload }))
    }

    /// Looks at all records, without the pictures.
    pub fn contents(&mut self) -> Result<Contents, FormatError> {
        let length = self.file.seek(SeekFrom::End(0))?;
        self.go_to(MAGIC.len() as u64)?;
        let mut about = None;
        let (mut segments, mut events): (Vec<Segment>, Vec<EventAt>) = Default::default();
        let (mut duration, mut finished) = (0, false);
        let mut end = self.at;
        while let Some(head) = self.head()? {
            let (at, payload_at) = (self.at, self.at + HEAD_BYTES as u64);
            let next = payload_at + head.length as u64;
            if next > length {
                break;
            }
            let is_text = matches!(head.kind, Kind::About | Kind::Event | Kind::Segment);
            let mut payload = Vec::new();
            match is_text {
                true => drop(
                    self.file
                        .by_ref()
                        .take(head.length as u64)
                        .read_to_end(&mut payload)?,
                ),
                // Lengths are far below what an `i64` holds.
                false => self.file.seek_relative(head.length as i64)?,
            }
            self.at = next;
            let broken = |source| FormatError::Text { at, source };
            match head.kind {
                Kind::About if about.is_none() => {
                    about = Some(serde_json::from_slice(&payload).map_err(broken)?);
                }
                Kind::Segment => {
                    if segments.len() >= SEGMENTS_MAX {
                        return Err(FormatError::Segments);
                    }
                    if let Some(last) = segments.last_mut() {
                        last.end = at;
                    }
                    let side = |at: usize| match payload.get(at..at + 2) {
                        Some(&[low, high]) => u16::from_le_bytes([low, high]),
                        _ => 0,
                    };
                    segments.push(Segment {
                        time: head.time,
                        offset: at,
                        end: at,
                        width: side(0),
                        height: side(2),
                    });
                }
                Kind::Event if events.len() < EVENTS_MAX => events.push(EventAt {
                    time: head.time,
                    offset: payload_at,
                    length: head.length,
                    event: brief(serde_json::from_slice(&payload).map_err(broken)?),
                }),
                Kind::Index => {
                    finished = true;
                    break;
                }
                Kind::About | Kind::Event | Kind::Message => {}
            }
            duration = duration.max(head.time);
            end = next;
        }
        if let Some(last) = segments.last_mut() {
            last.end = end;
        }
        Ok(Contents {
            about: about.ok_or(FormatError::Empty)?,
            segments,
            events,
            duration,
            end,
            finished,
        })
    }

    /// The head of the next record, which is not passed yet; none at the end.
    fn head(&mut self) -> Result<Option<Head>, FormatError> {
        let mut bytes = [0; HEAD_BYTES];
        match self.file.read_exact(&mut bytes) {
            Ok(()) => Head::read(bytes, self.at).map(Some),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// An event with the beginnings of its texts.
fn brief(event: Event) -> Event {
    let cut = |text: String| text.chars().take(SHOWN_CHARS).collect();
    match event {
        Event::Tool(call) => Event::Tool(crate::ToolCall {
            name: cut(call.name),
            who: cut(call.who),
            arguments: cut(call.arguments),
            output: cut(call.output),
            ..call
        }),
        Event::Note { text } => Event::Note { text: cut(text) },
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;
    use crate::Writer;

    #[derive(Debug, Clone)]
    enum Step {
        Segment(u16, u16),
        Message(Vec<u8>),
        Note(String),
    }

    fn step() -> impl Strategy<Value = (u64, Step)> {
        let step = prop_oneof![
            (1u16..8192, 1u16..8192).prop_map(|(width, height)| Step::Segment(width, height)),
            proptest::collection::vec(any::<u8>(), 0..300).prop_map(Step::Message),
            ".{0,20}".prop_map(Step::Note),
        ];
        (0u64..1000, step)
    }

    fn about() -> About {
        About {
            session_id: "s-1".into(),
            started: 7,
        }
    }

    fn written(steps: &[(u64, Step)]) -> (Writer, Vec<u8>, u64) {
        let (mut writer, mut time) = (Writer::new(&about()), 0);
        for (pause, step) in steps {
            time += pause;
            match step {
                Step::Segment(width, height) => writer.segment(time, *width, *height).unwrap(),
                Step::Message(bytes) => writer.message(time, bytes).unwrap(),
                Step::Note(text) => writer.event(time, &Event::Note { text: text.clone() }),
            }
        }
        let bytes = writer.take();
        (writer, bytes, time)
    }

    fn records(bytes: &[u8]) -> Vec<Record> {
        let mut reader = Reader::open(Cursor::new(bytes)).unwrap();
        std::iter::from_fn(|| reader.next_record().unwrap()).collect()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(steps in proptest::collection::vec(step(), 0..20)) {
            let (mut writer, mut bytes, time) = written(&steps);
            writer.finish();
            bytes.extend(writer.take());
            prop_assert_eq!(writer.progress().bytes, bytes.len() as u64);
            prop_assert_eq!(records(&bytes).len(), steps.len() + 2);
            let mut reader = Reader::open(Cursor::new(&bytes)).unwrap();
            let contents = reader.contents().unwrap();
            prop_assert!(contents.finished && contents.about == about());
            prop_assert_eq!(contents.duration, time);
            for segment in &contents.segments {
                reader.go_to(segment.offset).unwrap();
                let first = reader.next_record().unwrap().unwrap();
                prop_assert_eq!((first.kind, first.time), (Kind::Segment, segment.time));
            }
            // The index says what was found.
            let index = records(&bytes).pop().unwrap();
            let numbers: Vec<u64> = index.payload.chunks(8).map(|n| u64::from_le_bytes(n.try_into().unwrap())).collect();
            let (entries, tail) = numbers.split_at(numbers.len() - 3);
            prop_assert_eq!(tail[0], time);
            prop_assert_eq!(tail[1], contents.end);
            let found: Vec<u64> = contents.segments.iter().flat_map(|it| [it.time, it.offset]).collect();
            prop_assert_eq!(entries, found);
        }

        #[test]
        fn a_file_that_was_cut_off_is_read_as_far_as_it_goes_and_goes_on(
            steps in proptest::collection::vec(step(), 1..20), at in any::<prop::sample::Index>(),
        ) {
            let (mut writer, mut bytes, _) = written(&steps);
            writer.finish();
            bytes.extend(writer.take());
            let first = 8 + HEAD_BYTES + serde_json::to_vec(&about()).unwrap().len();
            let cut = first + at.index(bytes.len() - first);
            let contents = Reader::open(Cursor::new(&bytes[..cut])).unwrap().contents().unwrap();
            prop_assert!(contents.end <= cut as u64 && !contents.finished);
            let mut whole = bytes[..contents.end as usize].to_vec();
            let mut writer = Writer::resume(&contents);
            writer.segment(1_000_000, 2, 2).unwrap();
            writer.finish();
            whole.extend(writer.take());
            let after = Reader::open(Cursor::new(&whole)).unwrap().contents().unwrap();
            prop_assert!(after.finished);
            prop_assert_eq!(after.segments.len(), contents.segments.len() + 1);
            prop_assert_eq!(after.duration, 1_000_000);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let bytes = [&MAGIC[..], &bytes].concat();
            let mut reader = Reader::open(Cursor::new(&bytes)).unwrap();
            let _ = reader.contents();
            reader.go_to(8).unwrap();
            while let Ok(Some(_)) = reader.next_record() {}
        }
    }

    /// The seed of `fuzz/`; `BERTH_UPDATE_SEEDS=1` writes it anew.
    #[test]
    fn the_seed_is_what_a_writer_writes() {
        let seeds = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
        let session = fs_err::read(seeds.join("canvas/deflated")).unwrap();
        let mut writer = Writer::new(&about());
        writer.segment(5, 64, 48).unwrap();
        let mut rest = &session[..];
        while let Some((length, after)) = rest.split_first_chunk() {
            let (message, after) = after.split_at(u32::from_le_bytes(*length) as usize);
            writer
                .message(10 + (session.len() - after.len()) as u64, message)
                .unwrap();
            rest = after;
        }
        let call = crate::ToolCall::new("shell", br#"{"command":"ls"}"#, b"a\nb");
        writer.event(9000, &Event::Tool(call));
        writer.segment(9100, 32, 24).unwrap();
        writer.finish();
        let (bytes, path) = (writer.take(), seeds.join("recording/whole"));
        if std::env::var_os("BERTH_UPDATE_SEEDS").is_some() {
            fs_err::write(&path, &bytes).unwrap();
        }
        let seed = fs_err::read(&path).unwrap();
        assert!(seed == bytes, "write the seed with BERTH_UPDATE_SEEDS=1");
    }

    #[test]
    fn a_time_is_not_believed() {
        let late = [&MAGIC[..], &[0, 0, 0, 0, 3], &[0xFF; 8]].concat();
        let mut reader = Reader::open(Cursor::new(&late)).unwrap();
        assert!(matches!(reader.next_record(), Err(FormatError::Time { .. })));
    }

    #[test]
    fn a_length_is_not_believed() {
        let head = [&MAGIC[..], &[0xFF, 0xFF, 0xFF, 0xFF, 3], &[0; 8]].concat();
        let mut reader = Reader::open(Cursor::new(&head)).unwrap();
        assert!(matches!(reader.next_record(), Err(FormatError::Length { .. })));
        assert!(matches!(
            Reader::open(Cursor::new(b"RIFF....")),
            Err(FormatError::Magic)
        ));
        assert!(matches!(Reader::open(Cursor::new(b"")), Err(FormatError::Magic)));
        let empty = Reader::open(Cursor::new(MAGIC)).unwrap().contents();
        assert!(matches!(empty, Err(FormatError::Empty)));
    }
}
