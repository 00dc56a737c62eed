//! Code in a session's interpreters, which keep their variables between runs.

use std::collections::BTreeMap;
use std::future::IntoFuture;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::tools::MARGIN;
use crate::{Error, RunStream, Session};

/// What the tool is called.
pub(crate) const RUN_CODE: &str = "run_code";

/// Where a result says that it is the value of the run's last expression.
const IS_MAIN: &str = "isMainResult";

/// Runs code. Variables, imports and definitions stay for the next run in the same language.
///
/// ```no_run
/// # async fn example(session: berth_client::Session) -> Result<(), berth_client::Error> {
/// let run = session.code().run("print('hello')\n6 * 7", "python").await?;
/// assert_eq!(run.text(), "42");
/// assert_eq!(run.logs.stdout, ["hello\n"]);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Code<'a> {
    session: &'a Session,
}

impl<'a> Code<'a> {
    pub(crate) fn of(session: &'a Session) -> Self {
        Self { session }
    }

    /// Runs code. Await it for the whole result, or [`stream`](Run::stream) it.
    pub fn run(&self, code: impl Into<String>, language: impl Into<String>) -> Run<'a> {
        Run {
            session: self.session,
            code: code.into(),
            language: language.into(),
            timeout: Duration::from_secs(60),
        }
    }
}

/// A run of code that begins when it is awaited or streamed.
#[derive(Debug, Clone)]
#[must_use = "it runs when it is awaited or streamed"]
pub struct Run<'a> {
    pub(crate) session: &'a Session,
    pub(crate) code: String,
    pub(crate) language: String,
    pub(crate) timeout: Duration,
}

impl<'a> Run<'a> {
    /// Interrupt it after this time, in whole seconds; 60 s if not said.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Begins the run and hears its output while it runs.
    ///
    /// # Errors
    ///
    /// [`Error::SessionEnded`] when the session is over.
    pub async fn stream(self) -> Result<RunStream, Error> {
        RunStream::open(self).await
    }

    async fn whole(self) -> Result<EnhancedCodeExecutionResult, Error> {
        let args = Args {
            code: &self.code,
            language: &self.language,
            timeout_s: self.timeout.as_secs(),
        };
        let limit = self.timeout.saturating_add(MARGIN);
        let text = self
            .session
            .call_tool(RUN_CODE, &args, limit)
            .await?
            .ok(RUN_CODE)?;
        let told: Told = serde_json::from_str(&text)
            .map_err(|error| Error::Protocol(format!("the answer of `{RUN_CODE}`: {error}")))?;
        Ok(told.into())
    }
}

impl<'a> IntoFuture for Run<'a> {
    type Output = Result<EnhancedCodeExecutionResult, Error>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.whole())
    }
}

#[derive(Serialize)]
struct Args<'a> {
    code: &'a str,
    language: &'a str,
    timeout_s: u64,
}

/// What came of a run. An exception in the code is no [`Error`]: what was printed before it is here as well.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EnhancedCodeExecutionResult {
    /// What was shown, in this order.
    pub results: Vec<ExecutionResult>,
    /// What was printed.
    pub logs: ExecutionLogs,
    /// The exception that ended it.
    pub error: Option<ExecutionError>,
    /// The how-manyth run of this interpreter.
    pub execution_count: Option<u64>,
    /// Seconds.
    pub execution_time: f64,
}

impl EnhancedCodeExecutionResult {
    /// Whether there was no exception.
    pub fn success(&self) -> bool {
        self.error.is_none()
    }

    /// The text of the last expression's value, else of the first result, else nothing.
    pub fn text(&self) -> &str {
        let main = self.results.iter().find(|result| result.is_main_result);
        main.or(self.results.first())
            .and_then(ExecutionResult::text)
            .unwrap_or_default()
    }
}

/// What a run printed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ExecutionLogs {
    /// Pieces of standard output.
    pub stdout: Vec<String>,
    /// Pieces of standard error.
    pub stderr: Vec<String>,
}

/// One thing that a run showed, in all the forms in which it can be shown.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionResult {
    /// It is the value of the last expression.
    pub is_main_result: bool,
    /// Its forms, by MIME type. Pictures are base64, except SVG.
    pub mime: BTreeMap<String, Value>,
}

impl ExecutionResult {
    /// As plain text.
    pub fn text(&self) -> Option<&str> {
        self.form("text/plain")
    }

    /// As HTML.
    pub fn html(&self) -> Option<&str> {
        self.form("text/html")
    }

    /// As Markdown.
    pub fn markdown(&self) -> Option<&str> {
        self.form("text/markdown")
    }

    /// Any form that is text.
    pub fn form(&self, mime: &str) -> Option<&str> {
        self.mime.get(mime)?.as_str()
    }

    /// The bytes of a form: decoded for a picture that came as base64.
    pub fn bytes(&self, mime: &str) -> Option<Vec<u8>> {
        let text = self.form(mime)?;
        match mime.strip_prefix("image/") {
            Some(kind) if kind != "svg+xml" => STANDARD.decode(text.replace(['\n', '\r'], "")).ok(),
            _ => Some(text.as_bytes().to_vec()),
        }
    }

    /// From the object that the tool answers with: its forms, and among them whether it is the main one.
    fn flat(value: Value) -> Self {
        match value {
            Value::Object(mut members) => {
                let main = members.remove(IS_MAIN);
                Self {
                    is_main_result: main.and_then(|main| main.as_bool()).unwrap_or(false),
                    mime: members.into_iter().collect(),
                }
            }
            Value::String(text) => Self::plain(text),
            other => Self::plain(other.to_string()),
        }
    }

    /// From the object that the stream sends: the forms in a member of their own.
    pub(crate) fn nested(mut value: Value) -> Self {
        match value.get_mut("mime").map(Value::take) {
            Some(Value::Object(forms)) => Self {
                is_main_result: value.get(IS_MAIN).and_then(Value::as_bool).unwrap_or(false),
                mime: forms.into_iter().collect(),
            },
            _ => Self::plain(value.to_string()),
        }
    }

    fn plain(text: String) -> Self {
        Self {
            is_main_result: false,
            mime: BTreeMap::from([("text/plain".to_owned(), Value::String(text))]),
        }
    }
}

/// An exception that ended a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ExecutionError {
    /// Its class.
    pub name: String,
    /// Its message.
    pub value: String,
    /// Where it happened; only streamed runs tell.
    pub traceback: String,
}

impl ExecutionError {
    /// From the one line that the tool answers with.
    pub(crate) fn summary(text: &str) -> Option<Self> {
        if text.is_empty() {
            return None;
        }
        let (name, value) = text.split_once(": ").unwrap_or((text, ""));
        Some(Self {
            name: name.to_owned(),
            value: value.to_owned(),
            traceback: String::new(),
        })
    }
}

/// `NameError: name 'x' is not defined`.
impl std::fmt::Display for ExecutionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.value.as_str() {
            "" => f.write_str(&self.name),
            value => write!(f, "{}: {value}", self.name),
        }
    }
}

/// The tool's answer.
#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    result: Vec<Value>,
    #[serde(default)]
    stdout: Vec<String>,
    #[serde(default)]
    stderr: Vec<String>,
    execution_count: Option<u64>,
    #[serde(default)]
    execution_time: f64,
    #[serde(default, rename = "executionError")]
    execution_error: String,
}

impl From<Told> for EnhancedCodeExecutionResult {
    fn from(told: Told) -> Self {
        Self {
            results: told.result.into_iter().map(ExecutionResult::flat).collect(),
            logs: ExecutionLogs {
                stdout: told.stdout,
                stderr: told.stderr,
            },
            error: ExecutionError::summary(&told.execution_error),
            execution_count: told.execution_count,
            execution_time: told.execution_time,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_has_results_output_and_the_exception() {
        let told: Told = serde_json::from_value(json!({
            "result": [
                {"text/plain": "<Figure>", "image/png": "aGVs\nbG8=", "isMainResult": false},
                {"text/plain": "42", "isMainResult": true},
                7,
            ],
            "stdout": ["hello\n"], "stderr": [], "execution_count": 3, "execution_time": 0.25,
            "executionError": "KeyError: 'a: b'",
        }))
        .unwrap();
        let run = EnhancedCodeExecutionResult::from(told);
        assert_eq!(run.text(), "42");
        assert_eq!(run.results[0].bytes("image/png").unwrap(), b"hello");
        assert_eq!(run.results[2].text(), Some("7"));
        let error = run.error.unwrap();
        assert_eq!(
            (error.name.as_str(), error.value.as_str()),
            ("KeyError", "'a: b'")
        );
        assert_eq!(error.to_string(), "KeyError: 'a: b'");
    }

    #[test]
    fn a_streamed_result_has_its_forms_in_a_member() {
        let result =
            ExecutionResult::nested(json!({"isMainResult": true, "mime": {"image/svg+xml": "<svg/>"}}));
        assert!(result.is_main_result && result.text().is_none());
        assert_eq!(result.bytes("image/svg+xml").unwrap(), b"<svg/>");
        assert_eq!(ExecutionResult::nested(json!("x")).text(), Some("\"x\""));
    }
}
