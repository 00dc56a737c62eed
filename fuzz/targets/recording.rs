//! A recording: it is read as far as it goes, what is said of its parts is true, and it becomes a video or is refused.
#![no_main]

use std::io::Cursor;

use berth_recording::format::{Kind, TIME_MAX};
use berth_recording::{Contents, Export, Reader, Writer, export};
use libfuzzer_sys::fuzz_target;

/// What is made into a video in here: a longer or a larger one finds nothing more, and slowly.
const DURATION_MAX: u64 = 10_000;
const SIDE_MAX: u16 = 128;

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
    if is_small(&contents) {
        let _ = export(
            &mut reader,
            &contents,
            Cursor::new(Vec::new()),
            Export { fps: 1 },
            |_| {},
        );
    }
});

fn is_small(contents: &Contents) -> bool {
    let mut segments = contents.segments.iter();
    contents.duration <= DURATION_MAX && segments.all(|it| it.width <= SIDE_MAX && it.height <= SIDE_MAX)
}
