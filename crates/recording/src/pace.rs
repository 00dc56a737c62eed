//! How fast a view is read. A session chooses what it sends: whatever that is, reading it costs so much and no more. Nothing is
//! lost by it, for what is not read yet waits at the sender's.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// Bytes of a connection in a second. A first picture, which has at most 32 MiB, comes within the time that it has.
const BYTES: usize = 8 << 20;

const SECOND: Duration = Duration::from_secs(1);

/// So much in each second: when it is spent, the next second is waited for.
#[derive(Debug)]
pub(crate) struct Pace {
    each: usize,
    left: usize,
    second: Pin<Box<Sleep>>,
}

impl Pace {
    pub(crate) fn of(each: usize) -> Self {
        Self {
            each,
            left: each,
            second: Box::pin(sleep(SECOND)),
        }
    }

    /// Something is left to be spent.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.left == 0 {
            ready!(self.second.as_mut().poll(cx));
            self.left = self.each;
            self.second.as_mut().reset(Instant::now() + SECOND);
        }
        Poll::Ready(())
    }

    pub(crate) fn spend(&mut self, much: usize) {
        self.left = self.left.saturating_sub(much);
    }
}

/// A connection to a session that is not read faster than a recording needs: a message can be made of any number of
/// small pieces, which only its bytes bound.
#[derive(Debug)]
pub struct Paced<R> {
    reader: R,
    pace: Pace,
}

impl<R> Paced<R> {
    /// Reads `reader`.
    pub fn new(reader: R) -> Self {
        let pace = Pace::of(BYTES);
        Self { reader, pace }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Paced<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.pace.poll_ready(cx));
        let had = buffer.filled().len();
        ready!(Pin::new(&mut self.reader).poll_read(cx, buffer))?;
        self.pace.spend(buffer.filled().len() - had);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_never_ends_is_read_so_fast_and_no_faster() {
        let mut paced = Paced::new(tokio::io::repeat(7));
        let (mut buffer, mut read) = (vec![0; 100 << 10], 0);
        let reading = async {
            loop {
                read += paced.read(&mut buffer).await.unwrap();
            }
        };
        let never = tokio::time::timeout(SECOND * 7 / 2, reading).await;
        assert!(never.is_err());
        assert!((4 * BYTES..5 * BYTES).contains(&read), "{read}");
    }
}
