//! What programs write: read without blocking, kept within bounds, cut only between characters.

use std::os::fd::AsFd;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

/// Bytes read at once; also what a pipe holds by default.
const READ_BYTES: usize = 64 << 10;

/// Reads what a pipe holds at this moment, at most as much as it held when the call began: a program that goes on
/// writing cannot keep the caller here.
pub fn read_now(pipe: &pipe::Receiver, mut take: impl FnMut(&[u8])) {
    let mut left = rustix::io::ioctl_fionread(pipe.as_fd()).unwrap_or(0);
    let mut buffer = vec![0; READ_BYTES];
    while left > 0 {
        match rustix::io::read(pipe.as_fd(), &mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(count) => {
                take(&buffer[..count]);
                left = left.saturating_sub(count as u64);
            }
        }
    }
}

/// The next bytes from `pipe`, or `None` at its end. Cancel safe.
pub async fn read_some(pipe: &mut pipe::Receiver) -> Option<BytesMut> {
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    match pipe.read_buf(&mut buffer).await {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(buffer),
    }
}

/// Reads a pipe to its end and forgets what it says, so that a program that is left running can go on writing.
pub fn discard(mut pipe: pipe::Receiver) {
    tokio::spawn(async move { while read_some(&mut pipe).await.is_some() {} });
}

/// Output with a bound: the beginning and the end are kept, the middle is counted.
#[derive(Debug)]
pub struct Captured {
    head: Vec<u8>,
    tail: Vec<u8>,
    half: usize,
    left_out: u64,
}

impl Captured {
    /// Keeps at most `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            head: Vec::new(),
            tail: Vec::new(),
            half: bytes_max / 2,
            left_out: 0,
        }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        let room = self.half - self.head.len();
        let (head, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(head);
        self.tail.extend_from_slice(rest);
        // Trimmed at twice its size, so that every byte is moved once on average.
        if self.tail.len() > 2 * self.half {
            self.trim();
        }
    }

    fn trim(&mut self) {
        let too_many = self.tail.len().saturating_sub(self.half);
        self.tail.drain(..too_many);
        self.left_out += too_many as u64;
    }

    /// The text: bytes that are not UTF-8 become replacement characters, and what was left out is said in its place.
    pub fn into_text(mut self) -> String {
        self.trim();
        if self.left_out == 0 {
            self.head.append(&mut self.tail);
            return into_lossy(self.head);
        }
        let end = self.head.len() - unfinished(&self.head);
        let begin = self
            .tail
            .iter()
            .take(3)
            .take_while(|byte| **byte & 0xC0 == 0x80)
            .count();
        let left_out = self.left_out + (self.head.len() - end) as u64 + begin as u64;
        format!(
            "{}\n[berth: {left_out} bytes left out here; write long output to a file and read the part you need]\n{}",
            String::from_utf8_lossy(&self.head[..end]),
            String::from_utf8_lossy(&self.tail[begin..]),
        )
    }
}

fn into_lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Decodes a stream of bytes piece by piece; a character that is cut by a piece's end waits for the next one.
#[derive(Debug, Default)]
pub struct Decoder {
    waiting: Vec<u8>,
}

impl Decoder {
    /// The text that `bytes` complete.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        let mut all = std::mem::take(&mut self.waiting);
        all.extend_from_slice(bytes);
        let end = all.len() - unfinished(&all);
        self.waiting = all.split_off(end);
        into_lossy(all)
    }

    /// What is left when nothing more comes.
    pub fn finish(&mut self) -> String {
        into_lossy(std::mem::take(&mut self.waiting))
    }
}

/// How many bytes at the end begin a character that may still be completed.
fn unfinished(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let byte = bytes[bytes.len() - back];
        if byte & 0xC0 == 0x80 {
            continue;
        }
        let needed = match byte {
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            _ => 1,
        };
        return if needed > back { back } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn short_output_is_whole() {
        let mut captured = Captured::new(10);
        captured.push(b"hello");
        captured.push("wörl".as_bytes());
        assert_eq!(captured.into_text(), "hellowörl");
    }

    #[test]
    fn long_output_keeps_both_ends_and_says_what_is_missing() {
        let mut captured = Captured::new(8);
        for letter in b'a'..=b'z' {
            captured.push(&[letter]);
        }
        let text = captured.into_text();
        assert!(text.starts_with("abcd\n[berth: 18 bytes left out"), "{text}");
        assert!(text.ends_with("\nwxyz"), "{text}");
    }

    proptest! {
        #[test]
        fn memory_stays_within_three_halves_and_ends_are_right(
            pieces in proptest::collection::vec(proptest::collection::vec(97u8..122, 0..50), 0..60),
        ) {
            let all: Vec<u8> = pieces.concat();
            let mut captured = Captured::new(64);
            for piece in &pieces {
                captured.push(piece);
                prop_assert!(captured.tail.len() <= 64 + 50);
            }
            let text = captured.into_text();
            let all = String::from_utf8(all).unwrap();
            if all.len() <= 64 {
                prop_assert_eq!(text, all);
            } else {
                prop_assert!(text.starts_with(&all[..32]));
                prop_assert!(text.ends_with(&all[all.len() - 32..]));
            }
        }

        #[test]
        fn decoded_pieces_join_to_the_text(
            text in any::<String>(),
            cuts in proptest::collection::vec(1usize..5, 0..200),
        ) {
            let bytes = text.as_bytes();
            let (mut decoder, mut joined, mut at) = (Decoder::default(), String::new(), 0);
            for cut in cuts {
                let end = (at + cut).min(bytes.len());
                joined += &decoder.push(&bytes[at..end]);
                at = end;
            }
            joined += &decoder.push(&bytes[at..]);
            joined += &decoder.finish();
            prop_assert_eq!(joined, text);
        }

        #[test]
        fn bytes_that_are_no_text_never_stop_the_decoder(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut decoder = Decoder::default();
            for byte in &bytes {
                decoder.push(&[*byte]);
                prop_assert!(decoder.waiting.len() <= 3);
            }
            decoder.finish();
        }
    }
}
