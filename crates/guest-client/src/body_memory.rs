//! Reads bodies into memory, and no more of them at one time than a machine bears.
//!
//! Who sends a body decides how long it is and how slowly it comes; who reads an answer, for how long it stays. So large ones
//! share a budget, and one that finds it spent is refused. A body keeps its share for as long as its bytes are held by anyone.

use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// Bytes that one permit of the budget stands for.
const SHARE_BYTES: usize = 1 << 20;

/// Shorter bodies are not counted: connections cost about as much.
const SMALL_BYTES: usize = 256 << 10;

/// How long a body may take altogether, and to go on after a pause.
const BODY_TIMEOUT: Duration = Duration::from_secs(300);
const PAUSE_TIMEOUT: Duration = Duration::from_secs(30);

/// A budget for bodies.
#[derive(Debug, Clone)]
pub struct BodyMemory(Arc<Semaphore>);

/// Why a body is not read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is longer than it may be.
    #[error("the body is longer than {0} bytes")]
    TooLong(usize),
    /// Others hold what there is for bodies.
    #[error("too many large bodies are on their way at this moment")]
    Full,
    /// It did not go on.
    #[error("the body did not come in time")]
    Slow,
    /// The connection broke.
    #[error("the body broke off")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
}

/// A body and its share of the budget.
struct Held {
    bytes: Vec<u8>,
    share: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl BodyMemory {
    /// A budget of so many bytes, counted in MiB.
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes / SHARE_BYTES)))
    }

    /// Reads a whole body of at most `bytes_max` bytes.
    ///
    /// # Errors
    ///
    /// See [`BodyError`].
    pub async fn read<B>(&self, body: B, bytes_max: usize) -> Result<Bytes, BodyError>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut body = pin!(body);
        let told = body.size_hint().lower();
        if told > bytes_max as u64 {
            return Err(BodyError::TooLong(bytes_max));
        }
        let over = Instant::now() + BODY_TIMEOUT;
        // Most bodies are one piece, and stay what they are.
        let mut first = Bytes::new();
        let mut held = Held {
            bytes: Vec::new(),
            share: self.share(0)?,
        };
        loop {
            let next = over.min(Instant::now() + PAUSE_TIMEOUT);
            let frame = match timeout_at(next, body.frame()).await {
                Ok(None) if held.bytes.is_empty() => return Ok(first),
                Ok(None) => return Ok(Bytes::from_owner(held)),
                Ok(Some(frame)) => frame.map_err(|error| BodyError::Broken(error.into()))?,
                Err(_) => return Err(BodyError::Slow),
            };
            let Ok(piece) = frame.into_data() else {
                continue;
            };
            let length = first.len() + held.bytes.len() + piece.len();
            if length > bytes_max {
                return Err(BodyError::TooLong(bytes_max));
            }
            if first.is_empty() && held.bytes.is_empty() && piece.len() <= SMALL_BYTES {
                first = piece;
                continue;
            }
            if length > SMALL_BYTES {
                let more = length
                    .div_ceil(SHARE_BYTES)
                    .saturating_sub(held.share.num_permits());
                held.share.merge(self.share(more)?);
            }
            if held.bytes.is_empty() {
                // At most `bytes_max`, and not touched before there is something to write.
                held.bytes.reserve_exact(length.max(told as usize));
            }
            held.bytes.extend_from_slice(&std::mem::take(&mut first));
            held.bytes.extend_from_slice(&piece);
        }
    }

    /// So many permits. Never waited for: who holds a part while waiting for the rest would keep others from theirs.
    fn share(&self, permits: usize) -> Result<OwnedSemaphorePermit, BodyError> {
        let permits = u32::try_from(permits).map_err(|_| BodyError::Full)?;
        let share = Arc::clone(&self.0).try_acquire_many_owned(permits);
        share.map_err(|_| BodyError::Full)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;

    use super::*;

    fn pieces(lengths: &'static [usize]) -> impl Body<Data = Bytes, Error = Infallible> {
        let frames = lengths
            .iter()
            .map(|length| Ok(Frame::data(Bytes::from(vec![7; *length]))));
        StreamBody::new(futures_util::stream::iter(frames))
    }

    #[tokio::test]
    async fn a_body_is_read_whole_and_keeps_its_share() {
        let memory = BodyMemory::new(4 << 20);
        let short = memory.read(Full::from("short"), 100).await.unwrap();
        assert_eq!(short, "short");
        assert_eq!(
            memory.read(pieces(&[3, 4, 0, 5]), 100).await.unwrap(),
            vec![7; 12]
        );

        let large = memory.read(pieces(&[1 << 20, 2 << 20]), 8 << 20).await.unwrap();
        assert_eq!(large.len(), 3 << 20);
        let part = large.slice(5..9);
        drop(large);
        let refused = memory.read(pieces(&[2 << 20]), 8 << 20).await;
        assert!(matches!(refused, Err(BodyError::Full)), "{refused:?}");
        assert!(memory.read(pieces(&[100_000]), 8 << 20).await.is_ok());
        drop(part);
        assert!(memory.read(pieces(&[4 << 20]), 8 << 20).await.is_ok());
        assert!(memory.read(pieces(&[4 << 20]), 8 << 20).await.is_ok());
    }

    #[tokio::test]
    async fn too_long_a_body_is_refused_by_its_word_or_by_its_length() {
        let memory = BodyMemory::new(64 << 20);
        for body in [&[101][..], &[60, 41], &[100, 0, 1]] {
            let refused = memory.read(pieces(body), 100).await;
            assert!(matches!(refused, Err(BodyError::TooLong(100))), "{refused:?}");
        }
        let refused = memory.read(Full::from(vec![0; 101]), 100).await;
        assert!(matches!(refused, Err(BodyError::TooLong(100))), "{refused:?}");
        assert_eq!(memory.read(pieces(&[60, 40]), 100).await.unwrap().len(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_or_trickles_is_given_up() {
        let memory = BodyMemory::new(4 << 20);
        let silent = StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>());
        let began = Instant::now();
        assert!(matches!(memory.read(silent, 100).await, Err(BodyError::Slow)));
        assert_eq!(began.elapsed().as_secs(), PAUSE_TIMEOUT.as_secs());

        let drop = async |()| {
            tokio::time::sleep(Duration::from_secs(20)).await;
            Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"x"))), ()))
        };
        let trickle = StreamBody::new(futures_util::stream::unfold((), drop));
        let began = Instant::now();
        assert!(matches!(memory.read(trickle, 100).await, Err(BodyError::Slow)));
        assert_eq!(began.elapsed().as_secs(), BODY_TIMEOUT.as_secs());
    }
}
