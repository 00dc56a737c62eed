//! `run_code`: code in the session's interpreter, which keeps its variables. In: code, language, timeout. Out:
//! results in the order they were shown, output, and the exception if there was one.
//!
//! An exception is not a tool error: the answer then carries what was printed before it as well.

use berth_guest_api::ToolResult;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::text::Text;
use super::{Spec, Tool, ToolError};
use crate::code::{EVENTS_MAX, Event, Request, Shown, TIMEOUT_S};
use crate::guest::Guest;
use crate::output::Captured;

/// Bytes of each of the two outputs that an answer holds; the middle of more is left out.
const OUTPUT_BYTES_MAX: usize = 4 << 20;

/// Bytes of all results together, as they stand in the answer.
const RESULTS_BYTES_MAX: usize = 36 << 20;

/// Results in one answer.
const RESULTS_MAX: usize = 500;

pub(super) struct RunCode;

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Args {
    /// The code. Variables, imports and definitions stay for the next call in the same language.
    code: Text,
    /// `python`, `javascript`, `typescript`, `java`, `r` or `bash`. JavaScript and TypeScript share their variables.
    language: Text,
    /// Seconds after which the run is interrupted; 60 if absent.
    #[schemars(range(min = 1, max = 86_400))]
    timeout_s: Option<u64>,
}

impl Tool for RunCode {
    const SPEC: Spec = Spec {
        name: "run_code",
        // Clients that find no tool list stream to this name.
        server: "wuying_codespace",
        description: "Runs code in an interpreter that keeps its state between calls, and returns results (text, HTML, \
                      images), standard output, standard error and the exception if there was one. The value of the \
                      last expression is a result; so are plots.",
    };
    type Args = Args;

    async fn run(args: Args, guest: Guest) -> Result<ToolResult, ToolError> {
        let request = Request::checked(args.code.0, &args.language.0, args.timeout_s.unwrap_or(TIMEOUT_S))?;
        let (events_to, mut events) = mpsc::channel(EVENTS_MAX);
        let code = guest.code.clone();
        let run = tokio::spawn(async move { code.run(request, events_to, CancellationToken::new()).await });
        let mut answer = Answer::default();
        while let Some(event) = events.recv().await {
            answer.take(event);
        }
        let end = run.await.map_err(|_| crate::code::RunError::Lost)??;
        let text = answer.into_json(
            end.execution_count,
            end.seconds,
            end.error.map(|error| error.summary()),
        )?;
        Ok(ToolResult::text(text))
    }
}

struct Answer {
    results: Vec<Box<RawValue>>,
    results_bytes: usize,
    left_out: usize,
    stdout: Captured,
    stderr: Captured,
}

/// The form that carries both an error and what was printed before it.
#[derive(Serialize)]
struct Json {
    result: Vec<Box<RawValue>>,
    stdout: Vec<String>,
    stderr: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    execution_count: Option<u64>,
    execution_time: f64,
    #[serde(rename = "executionError")]
    execution_error: String,
}

impl Default for Answer {
    fn default() -> Self {
        Self {
            results: Vec::new(),
            results_bytes: 0,
            left_out: 0,
            stdout: Captured::new(OUTPUT_BYTES_MAX),
            stderr: Captured::new(OUTPUT_BYTES_MAX),
        }
    }
}

impl Answer {
    fn take(&mut self, event: Event) {
        match event {
            Event::Stdout(text) => self.stdout.push(text.as_bytes()),
            Event::Stderr(text) => self.stderr.push(text.as_bytes()),
            Event::Result(shown) => self.take_result(shown),
        }
    }

    fn take_result(&mut self, shown: Shown) {
        let Ok(json) = serde_json::value::to_raw_value(&shown.flat()) else {
            return;
        };
        // The answer is text inside JSON, where each quote and backslash takes two bytes.
        let escapes = json
            .get()
            .bytes()
            .filter(|byte| matches!(byte, b'"' | b'\\'))
            .count();
        let bytes = json.get().len() + escapes;
        if self.results.len() == RESULTS_MAX || self.results_bytes + bytes > RESULTS_BYTES_MAX {
            self.left_out += 1;
            return;
        }
        self.results_bytes += bytes;
        self.results.push(json);
    }

    fn into_json(
        mut self,
        execution_count: Option<u64>,
        execution_time: f64,
        error: Option<String>,
    ) -> Result<String, ToolError> {
        if self.left_out > 0 {
            let note = format!(
                "[berth: {} results left out; an answer holds {RESULTS_MAX} results and {RESULTS_BYTES_MAX} bytes \
                 of them]\n",
                self.left_out
            );
            self.stderr.push(note.as_bytes());
        }
        let lines = |captured: Captured| {
            let text = captured.into_text();
            if text.is_empty() { Vec::new() } else { vec![text] }
        };
        Ok(serde_json::to_string(&Json {
            result: self.results,
            stdout: lines(self.stdout),
            stderr: lines(self.stderr),
            execution_count,
            execution_time,
            execution_error: error.unwrap_or_default(),
        })?)
    }
}
