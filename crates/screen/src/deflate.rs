//! One viewer's deflate stream: raw, and continued from update to update, because text repeats.

use flate2::{Compress, Compression, FlushCompress};

/// Most of what higher levels save, at a third of their time.
const LEVEL: u32 = 3;

/// Bytes that a sync flush adds at most, beyond what deflate may expand.
const FLUSH_BYTES: usize = 64;

/// A stream that is flushed after each piece, so that the page can draw it at once.
pub struct Deflate {
    stream: Compress,
}

impl Default for Deflate {
    fn default() -> Self {
        Self {
            stream: Compress::new(Compression::new(LEVEL), false),
        }
    }
}

impl Deflate {
    /// Appends `piece`, deflated and flushed, to `out`.
    pub fn append(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), flate2::CompressError> {
        let start = self.stream.total_in();
        out.reserve(piece.len() / 4 + FLUSH_BYTES);
        loop {
            // `total_in` rises by at most `piece.len()`, so the difference is an index into it.
            let read = (self.stream.total_in() - start) as usize;
            self.stream
                .compress_vec(&piece[read..], out, FlushCompress::Sync)?;
            let read = (self.stream.total_in() - start) as usize;
            // Room left over means that the flush is complete; without room, there may be more.
            if read == piece.len() && out.len() < out.capacity() {
                return Ok(());
            }
            out.reserve(out.len().max(FLUSH_BYTES));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Decompress, FlushDecompress};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_piece_inflates_by_itself(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5000), 1..8)
        ) {
            let (mut deflate, mut inflate) = (Deflate::default(), Decompress::new(false));
            for piece in pieces {
                let mut message = Vec::new();
                deflate.append(&piece, &mut message).unwrap();
                let mut plain = Vec::with_capacity(piece.len() + 1);
                let before = inflate.total_in();
                inflate.decompress_vec(&message, &mut plain, FlushDecompress::Sync).unwrap();
                prop_assert_eq!(&plain, &piece);
                prop_assert_eq!((inflate.total_in() - before) as usize, message.len());
            }
        }
    }
}
