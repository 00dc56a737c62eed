//! The recorder: a viewer that takes everything, does nothing, and writes it down.
//!
//! A picture needs all that was sent since its connection began, so that a recording could only be played from its
//! start. Therefore a new connection is opened now and then, while the old one goes on; when the new one has shown
//! its first picture, it becomes the next segment and the old one ends. Nothing is missed in between.
//!
//! Two things happen side by side. [`watch`] reads and answers views, and is held up by whatever a session does: sends without
//! end, or reads nothing. [`film`] has the file, writes what the host noted before what a session sends, and is held up by neither.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use crate::event::Event;
use crate::file::{HELLO, Recording, RecordingError};
use crate::pace::Pace;
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

/// Messages that are read in a second, of any kind: far more than a screen that moves sends.
const MESSAGES: usize = 1000;

/// What is to go to the file waits for more, at most for so long.
const PENDING_TIME: Duration = Duration::from_secs(1);

/// A live view's connection. [`next`](Self::next) is cancelled and called again.
pub trait View {
    /// What breaks it.
    type Error;

    /// What it tells next. It is asked one thing at a time, so that what is of no use is counted too.
    fn next(&mut self) -> impl Future<Output = Result<Told, Self::Error>> + Send;

    /// Sends a binary message.
    fn send(&mut self, message: Bytes) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// What a view tells.
#[derive(Debug)]
pub enum Told {
    /// A binary message of the live view's server.
    Message(Bytes),
    /// Something that happened beside the screen.
    Event(Event),
    /// Nothing of use.
    Nothing,
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

    fn add(&mut self, message: &[u8]) {
        self.bytes += message.len() as u64;
        let now = self.since.elapsed().as_secs();
        if update(message).is_some() && std::mem::replace(&mut self.second, now) != now {
            self.active += 1;
        }
    }

    fn is_over(&self) -> bool {
        self.since.elapsed() >= SEGMENT_AGE
            && (self.bytes >= SEGMENT_BYTES || self.active >= SEGMENT_ACTIVE_SECONDS)
    }
}

/// What is to be written of what views have told.
enum Seen {
    /// Messages of one moment.
    Messages(Vec<Bytes>),
    Event(Event),
}

/// Records one view, and those that follow it, until it breaks, the file is full, or `stop` completes. The file can be
/// gone on with afterwards, or finished.
///
/// # Errors
///
/// When the file cannot be written, or what came does not fit into one.
pub async fn film<V: View, F: Future<Output = Result<V, V::Error>>>(
    file: &mut Recording,
    view: V,
    open: impl Fn() -> F,
    events: &mut mpsc::Receiver<Event>,
    stop: impl Future<Output = ()>,
    mut tell: impl FnMut(Progress),
) -> Result<End<V::Error>, RecordingError> {
    let (sender, mut seen) = mpsc::channel(1);
    let (mut stop, mut watching) = (pin!(stop), pin!(watch(view, open, sender)));
    let end = loop {
        let flush = file.waits_since().map(|since| since + PENDING_TIME);
        tokio::select! {
            biased;
            () = &mut stop => break End::Stopped,
            Some(event) = events.recv() => file.event(&event).await?,
            () = until(flush) => {
                file.flush().await?;
                tell(file.progress());
            }
            Some(seen) = seen.recv() => write(file, seen).await?,
            error = &mut watching => break End::Broken(error),
        }
        if file.is_full() {
            break End::Full;
        }
    };
    // What was seen, and calls that were over, before this.
    while !file.is_full()
        && let Ok(last) = seen.try_recv()
    {
        write(file, last).await?;
    }
    while let Ok(event) = events.try_recv() {
        file.event(&event).await?;
    }
    file.flush().await?;
    Ok(end)
}

async fn write(file: &mut Recording, seen: Seen) -> Result<(), RecordingError> {
    match seen {
        Seen::Messages(messages) => {
            let time = file.time();
            for message in &messages {
                file.message(time, message).await?;
            }
            Ok(())
        }
        Seen::Event(event) => file.event(&event).await,
    }
}

/// What a watcher does next.
enum Step<E> {
    Told(Result<Told, E>),
    Coming(Result<Told, E>),
    Whole,
    Open,
}

/// Watches a view, and those that follow it, until one breaks.
async fn watch<V: View, F: Future<Output = Result<V, V::Error>>>(
    mut view: V,
    open: impl Fn() -> F,
    seen: mpsc::Sender<Seen>,
) -> V::Error {
    // Whoever takes what is seen drops this first.
    let see = async |what| drop(seen.send(what).await);
    if let Err(error) = view.send(hello()).await {
        return error;
    }
    let mut pace = Pace::of(MESSAGES);
    let (mut age, mut coming, mut retry) = (Age::new(), None::<Coming<V>>, Instant::now());
    loop {
        poll_fn(|cx| pace.poll_ready(cx)).await;
        // Looked at after each step, so that nothing wakes up while nothing moves.
        let wants = coming.is_none() && age.is_over() && retry <= Instant::now();
        let whole = coming.as_ref().and_then(Coming::due);
        let next = async {
            match &mut coming {
                Some(coming) => coming.view.next().await,
                None => std::future::pending().await,
            }
        };
        // The old view last: it may have something to say without end, and the new one has bounds.
        let step = tokio::select! {
            biased;
            told = next => Step::Coming(told),
            () = until(whole) => Step::Whole,
            () = std::future::ready(()), if wants => Step::Open,
            told = view.next() => Step::Told(told),
        };
        if matches!(step, Step::Told(_) | Step::Coming(_)) {
            pace.spend(1);
        }
        match step {
            Step::Told(Err(error)) => return error,
            Step::Told(Ok(Told::Message(message))) => {
                if let Err(error) = acknowledge(&mut view, &message).await {
                    return error;
                }
                // A new picture begins, as when the screen changes its size.
                if message.first() == Some(&HELLO) {
                    age = Age::new();
                }
                age.add(&message);
                see(Seen::Messages(vec![message])).await;
            }
            Step::Told(Ok(Told::Event(event))) | Step::Coming(Ok(Told::Event(event))) => {
                see(Seen::Event(event)).await;
            }
            Step::Told(Ok(Told::Nothing)) | Step::Coming(Ok(Told::Nothing)) => {}
            Step::Coming(Ok(Told::Message(message))) => {
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
                    see(Seen::Messages(whole.messages)).await;
                    (view, age) = (whole.view, Age::new());
                }
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::sleep;

    use super::*;
    use crate::Reader;

    /// A session that says the same for ever.
    struct Session {
        says: fn() -> Told,
        every: Duration,
        /// It does not read what it is sent after the hello.
        is_deaf: bool,
        said: Arc<AtomicUsize>,
    }

    impl View for Session {
        type Error = ();

        async fn next(&mut self) -> Result<Told, ()> {
            if !self.every.is_zero() {
                sleep(self.every).await;
            }
            // It ends, so that a test that fails does.
            match self.said.fetch_add(1, Ordering::Relaxed) {
                5_000_000.. => Err(()),
                _ => Ok((self.says)()),
            }
        }

        async fn send(&mut self, message: Bytes) -> Result<(), ()> {
            match self.is_deaf && message.first() != Some(&HELLO) {
                true => std::future::pending().await,
                false => Ok(()),
            }
        }
    }

    /// How often a session has said something within a minute in which a host notes something ten times a second, all of
    /// which is in the file.
    async fn said_in_a_minute(says: fn() -> Told, every: Duration, is_deaf: bool) -> usize {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.berthrec");
        let mut file = Recording::create(&path, "s-1", 1 << 30).await.unwrap();
        let said = Arc::<AtomicUsize>::default();
        let session = Session {
            says,
            every,
            is_deaf,
            said: said.clone(),
        };
        let (sender, mut events) = mpsc::channel(2);
        let host = tokio::spawn(async move {
            for n in 0..600 {
                let text = format!("{n}");
                sender.try_send(Event::Note { text }).expect("room for it");
                sleep(Duration::from_millis(100)).await;
            }
        });
        let stop = async { host.await.unwrap() };
        let end = film(
            &mut file,
            session,
            std::future::pending,
            &mut events,
            stop,
            |_| {},
        )
        .await;
        assert!(matches!(end, Ok(End::Stopped)), "{end:?}");
        file.finish().await.unwrap();
        let contents = Reader::open(fs_err::File::open(&path).unwrap())
            .and_then(|mut reader| reader.contents())
            .unwrap();
        assert_eq!(contents.events.len(), 600);
        said.load(Ordering::Relaxed)
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_talks_without_end_is_read_slowly_and_crowds_out_no_note() {
        for says in [
            || Told::Nothing,
            || Told::Message(Bytes::new()),
            || Told::Message(Bytes::from_static(&[6; 100])),
            || Told::Message(Bytes::from_static(&[3, 1, 0, 0, 0])),
        ] as [fn() -> Told; 4]
        {
            let said = said_in_a_minute(says, Duration::ZERO, false).await;
            assert!((MESSAGES..=61 * MESSAGES).contains(&said), "{said}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_does_not_listen_holds_no_note_up() {
        let update = || Told::Message(Bytes::from_static(&[3, 1, 0, 0, 0]));
        assert_eq!(said_in_a_minute(update, Duration::ZERO, true).await, 1);
        // Enough for a new segment, whose view does not open.
        let large = || Told::Message([&[3, 1, 0, 0, 0][..], &[0; 64 << 10]].concat().into());
        let said = said_in_a_minute(large, Duration::from_secs(1), false).await;
        assert!((30..60).contains(&said), "{said}");
    }
}
