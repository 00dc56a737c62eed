//! A WebM file with one VP8 track: as much of Matroska as players need, no more.
//!
//! Elements are an id, a length and a content. The length of the whole, its duration and the place of the list of key
//! frames are known at the end, so they have room that is filled then.

use std::io::{self, Seek, SeekFrom, Write};

const EBML: u32 = 0x1A45_DFA3;
const SEGMENT: u32 = 0x1853_8067;
const SEEK_HEAD: u32 = 0x114D_9B74;
const INFO: u32 = 0x1549_A966;
const TRACKS: u32 = 0x1654_AE6B;
const CLUSTER: u32 = 0x1F43_B675;
const CUES: u32 = 0x1C53_BB6B;

/// Block times are signed 16 bits after their cluster's.
const CLUSTER_MS_MAX: u64 = 30_000;

/// Bytes of a cluster that wait in memory.
const CLUSTER_BYTES_MAX: usize = 4 << 20;

/// A file under way.
pub struct Webm<W> {
    out: W,
    /// Where the segment's content begins, from which places are counted.
    start: u64,
    at: u64,
    /// Where the duration is.
    duration_at: u64,
    cues_at: u64,
    cluster: Vec<u8>,
    cluster_time: u64,
    /// Time of each cluster that begins with a key frame, and its place.
    keys: Vec<(u64, u64)>,
}

/// An element with a content.
fn element(id: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes: Vec<u8> = id
        .to_be_bytes()
        .into_iter()
        .skip_while(|byte| *byte == 0)
        .collect();
    // Eight bytes for every length: the first of them says so.
    bytes.extend((0x0100_0000_0000_0000 | content.len() as u64).to_be_bytes());
    bytes.extend(content);
    bytes
}

fn number(id: u32, value: u64) -> Vec<u8> {
    element(id, &value.to_be_bytes())
}

impl<W: Write + Seek> Webm<W> {
    /// A file for pictures of this size.
    pub fn new(mut out: W, width: u64, height: u64) -> io::Result<Self> {
        let head = [
            number(0x4286, 1),
            number(0x42F7, 1),
            number(0x42F2, 4),
            number(0x42F3, 8),
            element(0x4282, b"webm"),
            number(0x4287, 2),
            number(0x4285, 2),
        ];
        let mut head = element(EBML, &head.concat());
        head.extend(element(SEGMENT, &[]));
        let start = head.len() as u64;
        // Always as long: the place is a number of eight bytes.
        let seek_head = seek_head(0);
        let info = [
            number(0x2A_D7B1, 1_000_000),
            element(0x4D80, b"berth"),
            element(0x5741, b"berth"),
            element(0x4489, &0f64.to_be_bytes()),
        ]
        .concat();
        let info = element(INFO, &info);
        let video = element(0xE0, &[number(0xB0, width), number(0xBA, height)].concat());
        let track = [
            number(0xD7, 1),
            number(0x73C5, 1),
            number(0x9C, 0),
            element(0x86, b"V_VP8"),
            number(0x83, 1),
            video,
        ];
        let tracks = element(TRACKS, &element(0xAE, &track.concat()));
        let duration_at = start + (seek_head.len() + info.len()) as u64 - 8;
        head.extend([seek_head, info, tracks].concat());
        out.write_all(&head)?;
        Ok(Self {
            out,
            start,
            at: head.len() as u64,
            duration_at,
            cues_at: start,
            cluster: Vec::new(),
            cluster_time: 0,
            keys: Vec::new(),
        })
    }

    /// A picture that is shown from `time` on. Times rise.
    pub fn picture(&mut self, time: u64, is_key: bool, packet: &[u8]) -> io::Result<()> {
        let full = time - self.cluster_time > CLUSTER_MS_MAX || self.cluster.len() > CLUSTER_BYTES_MAX;
        if is_key || full {
            self.end_cluster()?;
        }
        if self.cluster.is_empty() {
            self.cluster_time = time;
            if is_key {
                self.keys.push((time, self.at - self.start));
            }
            self.cluster.extend(number(0xE7, time));
        }
        // A cluster spans less than what an `i16` holds.
        let [high, low] = ((time - self.cluster_time) as u16).to_be_bytes();
        let head = [0x81, high, low, if is_key { 0x80 } else { 0 }];
        let block = element(0xA3, &[&head[..], packet].concat());
        self.cluster.extend(block);
        Ok(())
    }

    /// The end, at `duration`: fills in what was not known.
    pub fn finish(mut self, duration: u64) -> io::Result<()> {
        self.end_cluster()?;
        self.cues_at = self.at - self.start;
        let points = self.keys.iter().map(|(time, place)| {
            let positions = element(0xB7, &[number(0xF7, 1), number(0xF1, *place)].concat());
            element(0xBB, &[number(0xB3, *time), positions].concat())
        });
        let cues = element(CUES, &points.collect::<Vec<_>>().concat());
        self.write(&cues)?;
        let length = 0x0100_0000_0000_0000 | (self.at - self.start);
        self.fill(self.start - 8, &length.to_be_bytes())?;
        self.fill(self.start, &seek_head(self.cues_at))?;
        self.fill(self.duration_at, &(duration as f64).to_be_bytes())?;
        self.out.flush()
    }

    fn end_cluster(&mut self) -> io::Result<()> {
        if self.cluster.is_empty() {
            return Ok(());
        }
        let cluster = element(CLUSTER, &std::mem::take(&mut self.cluster));
        self.write(&cluster)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    fn fill(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.out.seek(SeekFrom::Start(at))?;
        self.out.write_all(bytes)
    }
}

/// Says where the list of key frames is.
fn seek_head(cues_at: u64) -> Vec<u8> {
    let seek = [element(0x53AB, &CUES.to_be_bytes()), number(0x53AC, cues_at)];
    element(SEEK_HEAD, &element(0x4DBB, &seek.concat()))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// Ids, places and contents of the elements in `bytes`.
    fn elements(bytes: &[u8]) -> Vec<(u32, usize, &[u8])> {
        let (mut found, mut at) = (Vec::new(), 0);
        while at < bytes.len() {
            let length = bytes[at].leading_zeros() as usize + 1;
            let id = bytes[at..at + length]
                .iter()
                .fold(0, |id, byte| id << 8 | u32::from(*byte));
            let size = u64::from_be_bytes(bytes[at + length..][..8].try_into().unwrap()) & !(1 << 56);
            let content = at + length + 8;
            found.push((id, at, &bytes[content..content + size as usize]));
            at = content + size as usize;
        }
        found
    }

    #[test]
    fn the_parts_are_where_the_file_says() {
        let mut out = Cursor::new(Vec::new());
        let mut webm = Webm::new(&mut out, 640, 480).unwrap();
        for n in 0..100u64 {
            webm.picture(n * 1000, n % 40 == 0, &[n as u8; 30]).unwrap();
        }
        webm.finish(100_000).unwrap();
        let bytes = out.into_inner();
        let outer = elements(&bytes);
        assert_eq!(outer.iter().map(|it| it.0).collect::<Vec<_>>(), [EBML, SEGMENT]);
        let inner = elements(outer[1].2);
        let ids: Vec<u32> = inner.iter().map(|it| it.0).collect();
        assert_eq!(ids[..3], [SEEK_HEAD, INFO, TRACKS]);
        assert_eq!(*ids.last().unwrap(), CUES);
        let seek = elements(elements(inner[0].2)[0].2);
        let place = u64::from_be_bytes(seek[1].2.try_into().unwrap());
        assert_eq!(place as usize, inner.last().unwrap().1);
        let info = elements(inner[1].2);
        assert_eq!(
            f64::from_be_bytes(info.last().unwrap().2.try_into().unwrap()),
            100_000.0
        );
        let points = elements(inner.last().unwrap().2);
        assert_eq!(points.len(), 3);
        for (n, (_, _, point)) in points.iter().enumerate() {
            let point = elements(point);
            let time = u64::from_be_bytes(point[0].2.try_into().unwrap());
            assert_eq!(time, n as u64 * 40_000);
            let place = u64::from_be_bytes(elements(point[1].2)[1].2.try_into().unwrap());
            let cluster = inner.iter().find(|it| it.1 == place as usize).unwrap();
            let parts = elements(cluster.2);
            assert_eq!((cluster.0, parts[0].0), (CLUSTER, 0xE7));
            assert_eq!(parts[0].2, time.to_be_bytes());
        }
        let blocks: usize = inner
            .iter()
            .filter(|it| it.0 == CLUSTER)
            .map(|it| elements(it.2).len() - 1)
            .sum();
        assert_eq!(blocks, 100);
    }
}
