//! Code that ran on streams, told to a recorder that writes it down beside the screen.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use berth_guest_api::{STREAM_RUN_ARGUMENTS_MAX, STREAM_RUN_OUTPUT_MAX, StreamRun, VIEW_RUN};
use bytes::Bytes;
use tokio::sync::broadcast;

/// Runs that wait for a recorder which is slow; beyond that it misses the oldest.
const WAITING_MAX: usize = 64;

/// Tells of runs when they are over.
#[derive(Debug)]
pub struct Runs {
    messages: broadcast::Sender<Bytes>,
    count: AtomicU64,
}

impl Default for Runs {
    fn default() -> Self {
        Self {
            messages: broadcast::Sender::new(WAITING_MAX),
            count: AtomicU64::new(0),
        }
    }
}

impl Runs {
    /// The messages, from here on.
    pub fn listen(&self) -> broadcast::Receiver<Bytes> {
        self.messages.subscribe()
    }

    /// A run begins.
    pub fn begin(&self, arguments: &str) -> Run<'_> {
        let mut told = StreamRun::default();
        told.cut += keep(&mut told.arguments, arguments, STREAM_RUN_ARGUMENTS_MAX);
        Run {
            runs: self,
            told,
            started: Instant::now(),
        }
    }
}

/// A run that is under way, and the beginning of what it said.
pub struct Run<'a> {
    runs: &'a Runs,
    told: StreamRun,
    started: Instant,
}

impl Run<'_> {
    /// It says something.
    pub fn says(&mut self, text: &str) {
        self.told.cut += keep(&mut self.told.output, text, STREAM_RUN_OUTPUT_MAX);
    }

    /// It is over; `failure` says why it failed, if it did.
    pub fn end(mut self, failure: Option<&str>) {
        if let Some(failure) = failure {
            self.says(failure);
        }
        let number = self.runs.count.fetch_add(1, Ordering::Relaxed) + 1;
        let run = StreamRun {
            number,
            failed: failure.is_some(),
            // Runs have time limits.
            duration_ms: self.started.elapsed().as_millis() as u64,
            ..self.told
        };
        let mut message = vec![VIEW_RUN];
        // Plain fields: they can be written. Nobody listens unless the session is recorded.
        if serde_json::to_writer(&mut message, &run).is_ok() {
            let _ = self.runs.messages.send(message.into());
        }
    }
}

/// Appends what there is room for; gives how many bytes were left out. Once something was, nothing more is taken.
fn keep(held: &mut String, text: &str, most: usize) -> u64 {
    let room = most.saturating_sub(held.len());
    let taken = text.floor_char_boundary(room);
    held.push_str(&text[..taken]);
    (text.len() - taken) as u64
}

#[cfg(test)]
mod tests {
    use berth_guest_api::STREAM_RUN_BYTES_MAX;

    use super::*;

    #[test]
    fn a_run_is_told_within_bounds() {
        let runs = Runs::default();
        let mut told = runs.listen();
        // What JSON makes six bytes of one.
        let mut run = runs.begin(&"\u{1}".repeat(10_000));
        for _ in 0..100 {
            run.says(&"\u{1}".repeat(1_000));
        }
        run.end(Some("it broke"));
        let message = told.try_recv().unwrap();
        assert!(message[0] == VIEW_RUN && message.len() <= STREAM_RUN_BYTES_MAX);
        let run: StreamRun = serde_json::from_slice(&message[1..]).unwrap();
        assert_eq!((run.number, run.failed), (1, true));
        assert_eq!(run.arguments.len(), STREAM_RUN_ARGUMENTS_MAX);
        assert_eq!(run.output.len(), STREAM_RUN_OUTPUT_MAX);
        let said = 10_000 + 100_000 + "it broke".len();
        assert_eq!(
            run.cut as usize,
            said - STREAM_RUN_ARGUMENTS_MAX - STREAM_RUN_OUTPUT_MAX
        );
        let mut short = runs.begin("{}");
        short.says("ä");
        short.end(None);
        let run: StreamRun = serde_json::from_slice(&told.try_recv().unwrap()[1..]).unwrap();
        assert_eq!(
            (run.number, &*run.output, run.failed, run.cut),
            (2, "ä", false, 0)
        );
    }
}
