//! The file that is being written, and its clock. Only its owner may read it: a screen shows secrets, and so do tool calls.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::fs::{File, OpenOptions};
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use crate::event::Event;
use crate::format::{About, FormatError, SIDE_MAX};
use crate::reader::Reader;
use crate::writer::{Progress, Writer};

/// Bytes that wait in memory before they go to the file.
const PENDING_BYTES: usize = 64 << 10;

/// Kind of a live view's hello.
pub(crate) const HELLO: u8 = 1;

/// Why a recording failed.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The file could not be made or written.
    #[error("could not write the recording `{path}`")]
    Io {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It is none, or what came does not fit into one.
    #[error(transparent)]
    Format(#[from] FormatError),
}

/// A recording under way.
#[derive(Debug)]
pub struct Recording {
    path: String,
    writer: Writer,
    file: File,
    /// Milliseconds on the clock when `opened` was now.
    base: u64,
    opened: Instant,
    bytes_max: u64,
    /// Since when something waits.
    waiting: Option<Instant>,
    /// Bytes that are in the file, all of them whole records.
    written: u64,
    failed: bool,
}

/// Kinds of messages that are about the picture, or about who looks and does what; those with a clipboard's content or
/// sound are left out.
fn is_kept(kind: u8) -> bool {
    matches!(kind, HELLO..=5 | 7 | 8)
}

fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Milliseconds since 1970 fit for half a billion years.
    now.as_millis() as u64
}

impl Recording {
    /// A new file of at most about `bytes_max` bytes. What is there is not replaced.
    ///
    /// # Errors
    ///
    /// When there is one already, or it cannot be made.
    pub async fn create(path: &Path, session_id: &str, bytes_max: u64) -> Result<Self, RecordingError> {
        let mut options = OpenOptions::new();
        let opened = options.write(true).create_new(true).mode(0o600).open(path).await;
        let path = path.display().to_string();
        let about = About {
            session_id: session_id.to_owned(),
            started: unix_ms(),
        };
        match opened {
            Ok(file) => Ok(Self::of(path, file, Writer::new(&about), (0, 0), bytes_max)),
            Err(source) => Err(RecordingError::Io { path, source }),
        }
    }

    /// Goes on with a file of the same session, after a restart say, or makes one.
    ///
    /// # Errors
    ///
    /// When it is no recording, or cannot be written.
    pub async fn resume(path: &Path, session_id: &str, bytes_max: u64) -> Result<Self, RecordingError> {
        if !tokio::fs::try_exists(path).await.unwrap_or_default() {
            return Self::create(path, session_id, bytes_max).await;
        }
        let shown = path.display().to_string();
        let failed = |source| RecordingError::Io {
            path: shown.clone(),
            source,
        };
        let options = OpenOptions::new().read(true).write(true).open(path).await;
        let file = options.map_err(failed)?.into_std().await;
        let read = tokio::task::spawn_blocking(move || {
            let contents = Reader::open(&file)?.contents()?;
            file.set_len(contents.end)?;
            io::Seek::seek(&mut &file, io::SeekFrom::Start(contents.end))?;
            Ok::<_, FormatError>((contents, file))
        });
        let (contents, file) = read.await.map_err(|error| failed(error.into()))??;
        let base = unix_ms()
            .saturating_sub(contents.about.started)
            .max(contents.duration);
        let (writer, begin) = (Writer::resume(&contents), (base, contents.end));
        Ok(Self::of(shown, File::from_std(file), writer, begin, bytes_max))
    }

    fn of(path: String, file: File, writer: Writer, (base, written): (u64, u64), bytes_max: u64) -> Self {
        Self {
            path,
            writer,
            file,
            base,
            opened: Instant::now(),
            bytes_max,
            waiting: None,
            written,
            failed: false,
        }
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        Progress {
            time: self.time(),
            ..self.writer.progress()
        }
    }

    /// Says why something is missing, for whoever plays it.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub async fn note(&mut self, text: &str) -> Result<(), RecordingError> {
        let text = text.to_owned();
        self.event(&Event::Note { text }).await
    }

    /// Ends the file with its index. One that could not be written has none: it is read as far as it goes.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub async fn finish(mut self) -> Result<Progress, RecordingError> {
        if self.failed {
            return Ok(self.progress());
        }
        if self.is_full() {
            let most = self.bytes_max >> 20;
            self.note(&format!(
                "The recording ends here: it has reached its limit of {most} MiB."
            ))
            .await?;
        }
        self.writer.finish();
        self.flush().await?;
        Ok(self.progress())
    }

    /// Whether a picture is in it.
    pub fn has_pictures(&self) -> bool {
        self.writer.has_segments()
    }

    /// Whether it has as many bytes as it may have.
    pub fn is_full(&self) -> bool {
        self.writer.progress().bytes >= self.bytes_max
    }

    pub(crate) fn time(&self) -> u64 {
        let elapsed: Duration = self.opened.elapsed();
        self.base + elapsed.as_millis() as u64
    }

    pub(crate) fn waits_since(&self) -> Option<Instant> {
        self.waiting
    }

    /// Writes a message at `time`. A hello begins a segment, wherever it comes.
    pub(crate) async fn message(&mut self, time: u64, message: &[u8]) -> Result<(), RecordingError> {
        match *message {
            [HELLO, _, w0, w1, h0, h1, ..] => {
                let (width, height) = (u16::from_le_bytes([w0, w1]), u16::from_le_bytes([h0, h1]));
                if (1..=SIDE_MAX).contains(&width) && (1..=SIDE_MAX).contains(&height) {
                    self.writer.segment(time, width, height)?;
                }
            }
            [kind, ..] if is_kept(kind) => {}
            _ => return Ok(()),
        }
        self.writer.message(time, message)?;
        self.written().await
    }

    pub(crate) async fn event(&mut self, event: &Event) -> Result<(), RecordingError> {
        self.writer.event(self.time(), event);
        self.written().await
    }

    async fn written(&mut self) -> Result<(), RecordingError> {
        self.waiting.get_or_insert_with(Instant::now);
        match self.writer.pending() >= PENDING_BYTES {
            true => self.flush().await,
            false => Ok(()),
        }
    }

    pub(crate) async fn flush(&mut self) -> Result<(), RecordingError> {
        self.waiting = None;
        let bytes = self.writer.take();
        let written = async {
            self.file.write_all(&bytes).await?;
            self.file.flush().await
        };
        let Err(source) = written.await else {
            self.written += bytes.len() as u64;
            return Ok(());
        };
        self.failed = true;
        // Part of a record would swallow whatever is written behind it. If this fails too, a reader finds it cut off.
        let _ = self.file.set_len(self.written).await;
        Err(RecordingError::Io {
            path: self.path.clone(),
            source,
        })
    }
}
