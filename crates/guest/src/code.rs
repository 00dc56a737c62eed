//! Runs code in the session's interpreters, which keep their state between runs.
//!
//! In: a [`Request`]. Out: [`Event`]s in the order in which things happened, then one [`End`]. One run at a time for
//! each language; others wait their turn. An interpreter that is lost is replaced, and the run that lost it says why.
//!
//! Start reading at [`Code::run`]. [`interpreters`] keeps those of one kind, [`interpreter`] speaks to one; [`maker`]
//! makes them, from [`zygote`] or [`program`].

mod interpreter;
mod interpreters;
mod keeper;
mod language;
mod maker;
mod program;
mod wire;
mod zygote;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::job::{JobError, Jobs};
use crate::tools::ToolError;
use interpreters::{Interpreters, Order};
pub use language::{Kind, Language};
use maker::Maker;

/// Events that may wait for a slow reader; then the code's own output waits.
pub const EVENTS_MAX: usize = 64;

/// Timeout of a run that names none, in seconds.
pub const TIMEOUT_S: u64 = 60;

/// Longest timeout of a run.
const TIMEOUT_S_MAX: u64 = 24 * 3600;

/// Longest code of one run.
const CODE_BYTES_MAX: usize = 8 << 20;

/// Runs code; cheap to clone.
#[derive(Debug, Clone)]
pub struct Code {
    python: Arc<Interpreters>,
    javascript: Arc<Interpreters>,
    java: Arc<Interpreters>,
    r: Arc<Interpreters>,
    bash: Arc<Interpreters>,
}

/// A run that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    language: Language,
    code: String,
    timeout: Duration,
}

/// Something that happened during a run.
#[derive(Debug)]
pub enum Event {
    /// Written to standard output.
    Stdout(String),
    /// Written to standard error.
    Stderr(String),
    /// Shown.
    Result(Shown),
}

/// Something that the code showed, in one or more representations.
#[derive(Debug, serde::Deserialize)]
pub struct Shown {
    /// The value of the last expression, as against something that was displayed on the way.
    #[serde(rename = "main")]
    pub is_main: bool,
    /// By MIME type; base64 for images. JSON as the interpreter wrote it, unread.
    pub mime: BTreeMap<String, Box<RawValue>>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct End {
    /// The number of the run; absent when the interpreter was lost.
    pub execution_count: Option<u64>,
    /// How long it took.
    pub seconds: f64,
    /// Why it did not succeed.
    pub error: Option<Failure>,
}

/// An exception, or what the guest has to say in place of one.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Failure {
    /// The exception's class.
    pub name: String,
    /// Its text.
    pub value: String,
    /// Where it happened; may be empty.
    #[serde(default)]
    pub traceback: String,
}

/// Why a run could not even begin.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The image does not have the language.
    #[error("no {0} in this image; choose an image that has it, or install it")]
    Absent(Kind),
    /// The interpreter could not be started.
    #[error("{0} could not be started: {1}")]
    Start(Kind, String),
    /// No process for it.
    #[error("{0} could not be started: {1}")]
    Job(Kind, #[source] JobError),
    /// The queue is full.
    #[error("{0} runs are waiting already; try again when some have finished")]
    Busy(usize),
    /// The task of the run broke.
    #[error("the run was lost inside the guest; its log says more")]
    Lost,
}

impl Request {
    /// A request whose fields make sense, or an error that names the one that does not.
    pub fn checked(code: String, language: &str, timeout_s: u64) -> Result<Self, ToolError> {
        let field = |field, got: String, allowed| ToolError::Field { field, got, allowed };
        let language = Language::named(language)
            .ok_or_else(|| field("language", format!("`{}`", cut(language)), Language::ALLOWED))?;
        if code.trim().is_empty() {
            return Err(field("code", "empty".into(), "code to run"));
        }
        if code.len() > CODE_BYTES_MAX {
            let allowed = "at most 8388608 bytes; write data to a file and read it from the code";
            return Err(field("code", format!("{} bytes long", code.len()), allowed));
        }
        if !(1..=TIMEOUT_S_MAX).contains(&timeout_s) {
            return Err(field("timeout_s", timeout_s.to_string(), "1 to 86400 (seconds)"));
        }
        Ok(Self {
            language,
            code,
            timeout: Duration::from_secs(timeout_s),
        })
    }
}

impl Code {
    /// Runs code with interpreters that start in `home`. Their drivers are in `drivers`; `python` is where Python is, if
    /// not where it usually is.
    pub fn new(jobs: &Jobs, python: Option<PathBuf>, drivers: &Path, home: &str) -> Self {
        let python = python.or_else(zygote::default_python);
        let programs = |kind| {
            Arc::new(Interpreters::new(Maker::Program {
                jobs: jobs.clone(),
                program: program::program(kind, drivers, python.as_deref()),
                home: home.to_owned(),
            }))
        };
        Self {
            javascript: programs(Kind::JavaScript),
            java: programs(Kind::Java),
            r: programs(Kind::R),
            bash: programs(Kind::Bash),
            python: Arc::new(Interpreters::new(Maker::Forks {
                jobs: jobs.clone(),
                binary: python,
                driver: drivers.join("berth_driver.py").display().to_string(),
                home: home.to_owned(),
                zygote: tokio::sync::Mutex::default(),
            })),
        }
    }

    /// Makes ready what most sessions use first. Takes a second or two.
    pub async fn warm_up(&self) {
        self.python.warm_up().await;
    }

    /// Runs `request`, telling `events` what happens. A receiver that is gone does not stop the run; `stop` interrupts it.
    pub async fn run(
        &self,
        request: Request,
        events: mpsc::Sender<Event>,
        stop: CancellationToken,
    ) -> Result<End, RunError> {
        let interpreters = match request.language.kind() {
            Kind::Python => &self.python,
            Kind::JavaScript => &self.javascript,
            Kind::Java => &self.java,
            Kind::R => &self.r,
            Kind::Bash => &self.bash,
        };
        let order = Order {
            language: request.language,
            code: request.code.into(),
            timeout: request.timeout,
            stop,
        };
        interpreters.run(order, events).await
    }

    /// Whether there is nothing left to warm up: interpreters wait, or cannot be had at all.
    pub fn is_warm(&self) -> bool {
        self.python.is_warm()
    }
}

/// As much of a wrong name as an error should repeat.
fn cut(name: &str) -> String {
    name.chars().take(100).collect()
}

impl Failure {
    /// As the guest itself explains the end of a run.
    fn of_guest(name: &str, value: String) -> Self {
        Self {
            name: name.into(),
            value,
            traceback: String::new(),
        }
    }

    /// One line: class and text.
    pub fn summary(&self) -> String {
        if self.value.is_empty() {
            self.name.clone()
        } else {
            format!("{}: {}", self.name, self.value)
        }
    }
}

impl Shown {
    /// The form of the tool's answer.
    pub fn flat(&self) -> impl Serialize + '_ {
        use serde::ser::{SerializeMap, Serializer};
        struct Members<'a>(&'a Shown);
        impl Serialize for Members<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut map = serializer.serialize_map(Some(self.0.mime.len() + 1))?;
                for (mime, value) in &self.0.mime {
                    map.serialize_entry(mime, value)?;
                }
                map.serialize_entry("isMainResult", &self.0.is_main)?;
                map.end()
            }
        }
        Members(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_refused_with_the_field_and_what_is_allowed() {
        let refused = |code: &str, language, timeout| {
            Request::checked(code.into(), language, timeout)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            refused("1", "cobol", 1),
            "`language` is `cobol`; allowed: `python`, `javascript`, `typescript`, `java`, `r`, `bash`"
        );
        assert!(refused(" \n", "python", 1).contains("`code` is empty"));
        assert!(refused("1", "python", 0).contains("`timeout_s` is 0"));
        assert!(Request::checked("# only a comment".into(), " PY ", 60).is_ok());
    }

    #[test]
    fn a_result_is_one_flat_object() {
        let shown: Shown =
            serde_json::from_str(r#"{"main":true,"mime":{"text/plain":"42","application/json":{"a":[1]}}}"#)
                .unwrap();
        let json = serde_json::to_string(&shown.flat()).unwrap();
        assert_eq!(
            json,
            r#"{"application/json":{"a":[1]},"text/plain":"42","isMainResult":true}"#
        );
    }
}
