//! The recorder: a viewer that takes everything, does nothing, and writes it down.
//!
//! A picture needs all that was sent since its connection began, so that a recording could only be played from its
//! start. Therefore a new connection is opened now and then, while the old one goes on; when the new one has shown
//! its first picture, it becomes the next segment and the old one ends. Nothing is missed in between.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use crate::event::Event;
use crate::file::{HELLO, Recording, RecordingError};
use crate::writer::Progress;

/// A segment that is older, and has so many bytes or so many seconds in which something moved, is followed by another.
const SEGMENT_AGE: Duration = Duration::from_secs(30);
const SEGMENT_BYTES: u64 = 256 << 10;
const SEGMENT_ACTIVE_SECONDS: u32 = 60;

/// After an attempt at a new connection that failed.
const RETRY: Duration = Duration::from_secs(10);

/// How long an attempt may take.
const OPEN_TIME_MAX: Duration = Duration::from_secs(20);

/// A first picture may come in several parts, or as video that is made exact when it rests. It counts as whole when
/// nothing came for this long, or after the most, for where things move there is always more.
const PICTURE_QUIET: Duration = Duration::from_millis(600);
const PICTURE_TIME_MAX: Duration = Duration::from_secs(4);

/// Bytes and messages of a first picture, which waits in memory. Screens of the largest size have less.
const PICTURE_BYTES_MAX: usize = 32 << 20;
const PICTURE_MESSAGES_MAX: usize = 10_000;

/// What is to go to the file waits for more, at most for so long.
const PENDING_TIME: Duration = Duration::from_secs(1);

/// A live view's connection. [`next`](Self::next) is cancelled and called again.
pub trait View {
    /// What breaks it.
    type Error;

    /// The next binary message.
    fn next(&mut self) -> impl Future<Output = Result<Bytes, Self::Error>> + Send;

    /// Sends a binary message.
    fn send(&mut self, message: Bytes) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// Why it was over.
#[derive(Debug)]
pub enum End<E> {
    /// The file has as many bytes as it may have.
    Full,
    /// It was asked to stop.
    Stopped,
    /// The view broke.
    Broken(E),
}

/// The recorder's hello: version 1, a window, that it takes deflate and video.
fn hello() -> Bytes {
    let (width, height) = (1280u16.to_le_bytes(), 720u16.to_le_bytes());
    Bytes::copy_from_slice(&[1, 1, width[0], width[1], height[0], height[1], 3])
}

/// The number of an update.
fn update(message: &[u8]) -> Option<u32> {
    match message {
        &[2..=4, a, b, c, d, ..] => Some(u32::from_le_bytes([a, b, c, d])),
        _ => None,
    }
}

/// Acknowledges an update, both ways: nothing is painted here, and it costs nothing.
async fn acknowledge<V: View>(view: &mut V, message: &[u8]) -> Result<(), V::Error> {
    if let Some(seq) = update(message) {
        for kind in [2, 3] {
            let [a, b, c, d] = seq.to_le_bytes();
            view.send(Bytes::copy_from_slice(&[kind, a, b, c, d])).await?;
        }
    }
    Ok(())
}

/// A connection whose first picture is not whole yet.
struct Coming<V> {
    view: V,
    messages: Vec<Bytes>,
    bytes: usize,
    /// When its first and its last update came.
    updates: Option<(Instant, Instant)>,
}

impl<V: View> Coming<V> {
    fn new(view: V) -> Self {
        Self {
            view,
            messages: Vec::new(),
            bytes: 0,
            updates: None,
        }
    }

    /// When it counts as whole, unless something comes until then.
    fn due(&self) -> Option<Instant> {
        let (first, last) = self.updates?;
        Some((last + PICTURE_QUIET).min(first + PICTURE_TIME_MAX))
    }

    /// Takes its next message. False: it is of no use.
    async fn take(&mut self, message: Bytes) -> bool {
        if acknowledge(&mut self.view, &message).await.is_err() {
            return false;
        }
        if update(&message).is_some() {
            let now = Instant::now();
            self.updates = Some((self.updates.map_or(now, |(first, _)| first), now));
        }
        self.bytes += message.len();
        self.messages.push(message);
        self.bytes <= PICTURE_BYTES_MAX && self.messages.len() <= PICTURE_MESSAGES_MAX
    }
}

/// What is known of the segment that is being written.
struct Age {
    since: Instant,
    bytes: u64,
    active: u32,
    /// The last second in which something moved.
    second: u64,
}

impl Age {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            bytes: 0,
            active: 0,
            second: u64::MAX,
        }
    }

    fn add(&mut self, message: &[u8], time: u64) {
        self.bytes += message.len() as u64;
        if update(message).is_some() && std::mem::replace(&mut self.second, time / 1000) != time / 1000 {
            self.active += 1;
        }
    }

    fn is_over(&self) -> bool {
        self.since.elapsed() >= SEGMENT_AGE
            && (self.bytes >= SEGMENT_BYTES || self.active >= SEGMENT_ACTIVE_SECONDS)
    }
}

/// What happens next.
enum Step<E> {
    Message(Result<Bytes, E>),
    Coming(Result<Bytes, E>),
    Event(Event),
    Whole,
    Flush,
    Open,
    Stop,
}

/// Records one view, and those that follow it, until it breaks, the file is full, or `stop` completes. The file can be
/// gone on with afterwards, or finished.
///
/// # Errors
///
/// When the file cannot be written, or what came does not fit into one.
pub async fn film<V: View, F: Future<Output = Result<V, V::Error>>>(
    file: &mut Recording,
    mut view: V,
    open: impl Fn() -> F,
    events: &mut mpsc::Receiver<Event>,
    stop: impl Future<Output = ()>,
    mut tell: impl FnMut(Progress),
) -> Result<End<V::Error>, RecordingError> {
    let mut stop = pin!(stop);
    if let Err(error) = view.send(hello()).await {
        return Ok(End::Broken(error));
    }
    let (mut age, mut coming, mut retry) = (Age::new(), None::<Coming<V>>, Instant::now());
    let end = loop {
        // Looked at after each step, so that nothing wakes up while nothing moves.
        let wants = coming.is_none() && age.is_over() && retry <= Instant::now();
        let flush = file.waits_since().map(|since| since + PENDING_TIME);
        let whole = coming.as_ref().and_then(Coming::due);
        let next = async {
            match &mut coming {
                Some(coming) => coming.view.next().await,
                None => std::future::pending().await,
            }
        };
        let step = tokio::select! {
            biased;
            () = &mut stop => Step::Stop,
            message = view.next() => Step::Message(message),
            message = next => Step::Coming(message),
            Some(event) = events.recv() => Step::Event(event),
            () = until(whole) => Step::Whole,
            () = until(flush) => Step::Flush,
            () = std::future::ready(()), if wants => Step::Open,
        };
        match step {
            Step::Message(Ok(message)) => {
                if let Err(error) = acknowledge(&mut view, &message).await {
                    break End::Broken(error);
                }
                let time = file.time();
                // A new picture begins, as when the screen changes its size.
                if message.first() == Some(&HELLO) {
                    age = Age::new();
                }
                age.add(&message, time);
                file.message(time, &message).await?;
            }
            Step::Message(Err(error)) => break End::Broken(error),
            Step::Coming(Ok(message)) => {
                let good = match &mut coming {
                    Some(coming) => coming.take(message).await,
                    None => false,
                };
                if !good {
                    (coming, retry) = (None, Instant::now() + RETRY);
                }
            }
            Step::Coming(Err(_)) => (coming, retry) = (None, Instant::now() + RETRY),
            // The old view waits meanwhile: what it has to say is fetched right after.
            Step::Open => match timeout(OPEN_TIME_MAX, greeted(open())).await {
                Ok(Ok(opened)) => coming = Some(Coming::new(opened)),
                Ok(Err(_)) | Err(_) => retry = Instant::now() + RETRY,
            },
            Step::Whole => {
                if let Some(whole) = coming.take() {
                    let time = file.time();
                    for message in &whole.messages {
                        file.message(time, message).await?;
                    }
                    (view, age) = (whole.view, Age::new());
                }
            }
            Step::Event(event) => file.event(&event).await?,
            Step::Flush => {
                file.flush().await?;
                tell(file.progress());
            }
            Step::Stop => break End::Stopped,
        }
        if file.is_full() {
            break End::Full;
        }
    };
    // Calls that were over before this.
    while let Ok(event) = events.try_recv() {
        file.event(&event).await?;
    }
    file.flush().await?;
    Ok(end)
}

/// A new connection that has said hello.
async fn greeted<V: View>(opened: impl Future<Output = Result<V, V::Error>>) -> Result<V, V::Error> {
    let mut view = opened.await?;
    view.send(hello()).await?;
    Ok(view)
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
