//! Frames on a Unix stream socket, or on a pair of pipes: a length (u32, little endian), then that many bytes of JSON. Descriptors may ride
//! on a frame's first byte, where there is a socket.
//!
//! The other end is code of the session or was started by it, so a length is checked before anything is kept.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::{Buf, BytesMut};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

/// Descriptors on one frame at most.
const FDS_MAX: usize = 3;

/// Why a frame could not be sent or read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The socket failed.
    #[error("the connection broke")]
    Io(#[from] io::Error),
    /// The peer announced more than it may send.
    #[error("a frame of {got} bytes; at most {allowed} are allowed")]
    TooLong {
        /// Announced bytes.
        got: usize,
        /// Limit of this connection.
        allowed: usize,
    },
    /// The peer ended inside a frame.
    #[error("the connection ended inside a frame")]
    Cut,
    /// Not the JSON that is expected here.
    #[error("a frame that has no meaning here")]
    Meaningless(#[from] serde_json::Error),
}

impl FrameError {
    /// Whether the peer went away with something unread: a Unix socket tells its other end so.
    pub fn is_unread(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::ConnectionReset)
    }
}

/// One end of a connection.
#[derive(Debug)]
pub struct Frames {
    way: Way,
    received: BytesMut,
    bytes_max: usize,
}

#[derive(Debug)]
enum Way {
    Socket(UnixStream),
    Pipes { from: pipe::Receiver, to: pipe::Sender },
}

impl Frames {
    /// Speaks on `stream`; a frame that comes in holds at most `bytes_max` bytes.
    pub fn new(stream: UnixStream, bytes_max: usize) -> Self {
        Self::over(Way::Socket(stream), bytes_max)
    }

    /// Hears on `from` and speaks on `to`.
    pub fn over_pipes(from: pipe::Receiver, to: pipe::Sender, bytes_max: usize) -> Self {
        Self::over(Way::Pipes { from, to }, bytes_max)
    }

    fn over(way: Way, bytes_max: usize) -> Self {
        Self {
            way,
            received: BytesMut::new(),
            bytes_max,
        }
    }

    /// The next frame, or `None` when the peer is gone. Cancel safe: what was read stays here.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        loop {
            if let Some(frame) = self.take_frame()? {
                return Ok(Some(frame));
            }
            let got = match &mut self.way {
                Way::Socket(stream) => stream.read_buf(&mut self.received).await?,
                Way::Pipes { from, .. } => from.read_buf(&mut self.received).await?,
            };
            if got == 0 {
                return if self.received.is_empty() {
                    Ok(None)
                } else {
                    Err(FrameError::Cut)
                };
            }
        }
    }

    fn take_frame<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        let Some(head) = self.received.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*head) as usize;
        if length > self.bytes_max {
            return Err(FrameError::TooLong {
                got: length,
                allowed: self.bytes_max,
            });
        }
        if self.received.len() < 4 + length {
            self.received.reserve(4 + length - self.received.len());
            return Ok(None);
        }
        self.received.advance(4);
        let body = self.received.split_to(length);
        if self.received.is_empty() {
            // Otherwise one large frame would hold its memory for ever.
            self.received = BytesMut::new();
        }
        Ok(Some(serde_json::from_slice(&body)?))
    }

    /// Sends one frame.
    pub async fn send<T: Serialize>(&mut self, message: &T) -> Result<(), FrameError> {
        let frame = encode(message)?;
        self.write(&frame).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), FrameError> {
        match &mut self.way {
            Way::Socket(stream) => stream.write_all(bytes).await?,
            Way::Pipes { to, .. } => to.write_all(bytes).await?,
        }
        Ok(())
    }

    /// Sends one frame with descriptors, which only a socket can carry.
    pub async fn send_with<T: Serialize>(
        &mut self,
        message: &T,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), FrameError> {
        let frame = encode(message)?;
        let Way::Socket(stream) = &self.way else {
            return Err(io::Error::from(io::ErrorKind::Unsupported).into());
        };
        let sent = stream
            .async_io(Interest::WRITABLE, || {
                Ok(send_with_fds(stream.as_fd(), &frame, fds)?)
            })
            .await?;
        self.write(&frame[sent..]).await
    }
}

fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let body = frame.len() - 4;
    let length = u32::try_from(body).map_err(|_| FrameError::TooLong {
        got: body,
        allowed: u32::MAX as usize,
    })?;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    Ok(frame)
}

fn send_with_fds(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> rustix::io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(rustix::io::Errno::INVAL);
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)
}

/// Reads one frame and its descriptors from a socket in blocking mode: for a process that has nothing else to do yet.
pub fn read_first<T: DeserializeOwned>(
    socket: BorrowedFd<'_>,
    bytes_max: usize,
) -> Result<(T, Vec<OwnedFd>), FrameError> {
    let mut fds = Vec::new();
    let mut head = [0; 4];
    read_exactly(socket, &mut head, &mut fds)?;
    let length = u32::from_le_bytes(head) as usize;
    if length > bytes_max {
        return Err(FrameError::TooLong {
            got: length,
            allowed: bytes_max,
        });
    }
    let mut body = vec![0; length];
    read_exactly(socket, &mut body, &mut fds)?;
    Ok((serde_json::from_slice(&body)?, fds))
}

/// Writes one frame to a socket in blocking mode: the last word of a process that then lets go of it.
pub fn write_last<T: Serialize>(socket: BorrowedFd<'_>, message: &T) -> Result<(), FrameError> {
    let frame = encode(message)?;
    let mut sent = 0;
    while sent < frame.len() {
        sent += send_with_fds(socket, &frame[sent..], &[]).map_err(io::Error::from)?;
    }
    Ok(())
}

fn read_exactly(socket: BorrowedFd<'_>, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> Result<(), FrameError> {
    let mut filled = 0;
    while filled < buffer.len() {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let into = &mut [IoSliceMut::new(&mut buffer[filled..])];
        let message = rustix::net::recvmsg(socket, into, &mut control, RecvFlags::CMSG_CLOEXEC)
            .map_err(io::Error::from)?;
        if message.bytes == 0 {
            return Err(FrameError::Cut);
        }
        filled += message.bytes;
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = part {
                fds.extend(received);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn frames_arrive_however_the_bytes_are_cut(
            messages in proptest::collection::vec(any::<String>(), 1..20),
            cuts in proptest::collection::vec(1usize..50, 1..50),
        ) {
            let bytes: Vec<u8> = messages.iter().flat_map(|message| encode(message).unwrap()).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let heard = runtime.block_on(async {
                let (mut left, right) = UnixStream::pair().unwrap();
                let mut right = Frames::new(right, 1 << 20);
                let sending = async {
                    let mut rest = &bytes[..];
                    for cut in cuts.iter().cycle() {
                        let (piece, after) = rest.split_at((*cut).min(rest.len()));
                        left.write_all(piece).await.unwrap();
                        tokio::task::yield_now().await;
                        rest = after;
                        if rest.is_empty() {
                            break;
                        }
                    }
                    drop(left);
                };
                let hearing = async {
                    let mut heard = Vec::new();
                    while let Some(message) = right.next::<String>().await.unwrap() {
                        heard.push(message);
                    }
                    heard
                };
                tokio::join!(sending, hearing).1
            });
            prop_assert_eq!(heard, messages);
        }

        #[test]
        fn bytes_that_are_no_frames_are_an_error_and_never_more(bytes in proptest::collection::vec(any::<u8>(), 1..300)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (mut left, right) = UnixStream::pair().unwrap();
                let mut right = Frames::new(right, 100);
                left.write_all(&bytes).await.unwrap();
                drop(left);
                // Ends, with an error or without: it neither hangs nor keeps what was announced.
                while let Ok(Some(_)) = right.next::<serde_json::Value>().await {}
            });
        }
    }

    #[tokio::test]
    async fn frames_arrive_whole_and_in_order() {
        let (left, right) = UnixStream::pair().unwrap();
        let (mut left, mut right) = (Frames::new(left, 1 << 20), Frames::new(right, 1 << 20));
        let long = "x".repeat(300_000);
        let sender = async {
            left.send(&"a").await.unwrap();
            left.send(&long).await.unwrap();
            drop(left);
        };
        let receiver = async {
            assert_eq!(right.next::<String>().await.unwrap().unwrap(), "a");
            assert_eq!(right.next::<String>().await.unwrap().unwrap(), long);
            assert!(right.next::<String>().await.unwrap().is_none());
        };
        tokio::join!(sender, receiver);
    }

    #[tokio::test]
    async fn a_length_beyond_the_limit_is_refused_before_it_is_read() {
        let (mut left, right) = UnixStream::pair().unwrap();
        let mut right = Frames::new(right, 100);
        left.write_all(&101_u32.to_le_bytes()).await.unwrap();
        let error = right.next::<String>().await.unwrap_err();
        assert!(matches!(
            error,
            FrameError::TooLong {
                got: 101,
                allowed: 100
            }
        ));
    }

    #[tokio::test]
    async fn an_end_inside_a_frame_is_an_error() {
        let (mut left, right) = UnixStream::pair().unwrap();
        let mut right = Frames::new(right, 100);
        left.write_all(&[9, 0, 0, 0, b'"']).await.unwrap();
        drop(left);
        assert!(matches!(
            right.next::<String>().await.unwrap_err(),
            FrameError::Cut
        ));
    }

    #[tokio::test]
    async fn descriptors_ride_on_a_frame() {
        let (left, right) = std::os::unix::net::UnixStream::pair().unwrap();
        left.set_nonblocking(true).unwrap();
        let (pipe_read, pipe_write) = rustix::pipe::pipe().unwrap();
        let mut left = Frames::new(UnixStream::from_std(left).unwrap(), 100);
        left.send_with(&7, &[pipe_write.as_fd()]).await.unwrap();
        let (number, fds): (u32, _) = read_first(right.as_fd(), 100).unwrap();
        assert_eq!((number, fds.len()), (7, 1));
        rustix::io::write(&fds[0], b"hi").unwrap();
        let mut got = [0; 2];
        rustix::io::read(&pipe_read, &mut got).unwrap();
        assert_eq!(&got, b"hi");
    }
}
