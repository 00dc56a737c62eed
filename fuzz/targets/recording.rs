//! A recording: it is read as far as it goes, and what is said of its parts is true.
#![no_main]

use std::io::Cursor;

use berth_recording::format::{Kind, TIME_MAX};
use berth_recording::{Reader, Writer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(mut reader) = Reader::open(Cursor::new(data)) else {
        return;
    };
    while let Ok(Some(record)) = reader.next_record() {
        assert!(record.payload.len() <= record.kind.bytes_max() && record.time <= TIME_MAX);
        assert!(reader.position() <= data.len() as u64);
    }
    let Ok(contents) = reader.contents() else { return };
    assert!(contents.end <= data.len() as u64 && contents.duration <= TIME_MAX);
    for segment in &contents.segments {
        assert!(segment.offset < segment.end && segment.end <= contents.end);
        reader.go_to(segment.offset).expect("a place in memory");
        let record = reader
            .next_record()
            .expect("what was read before")
            .expect("a record");
        assert_eq!((record.kind, record.time), (Kind::Segment, segment.time));
    }
    for event in &contents.events {
        assert!(event.offset + event.length as u64 <= contents.end);
    }
    // Cut to its end, it can be gone on with.
    let mut whole = data[..contents.end as usize].to_vec();
    let mut writer = Writer::resume(&contents);
    writer.finish();
    whole.extend(writer.take());
    let again = Reader::open(Cursor::new(&whole)).and_then(|mut reader| reader.contents());
    let again = again.expect("what was read before and ended");
    assert!(again.finished && again.segments == contents.segments && again.duration == contents.duration);
});
