//! Commands in a session's shell.

use std::collections::BTreeMap;
use std::future::IntoFuture;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::tools::MARGIN;
use crate::{Error, Session};

/// What the tool is called.
const SHELL: &str = "shell";

/// Runs commands: each in a fresh shell, so only files persist.
///
/// ```no_run
/// # async fn example(session: berth_client::Session) -> Result<(), berth_client::Error> {
/// let done = session.command().execute("make test").cwd("/home/user/project").env("CI", "1").await?;
/// if !done.success() {
///     eprintln!("exit code {}: {}", done.exit_code, done.stderr);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Command<'a> {
    session: &'a Session,
}

impl<'a> Command<'a> {
    pub(crate) fn of(session: &'a Session) -> Self {
        Self { session }
    }

    /// Runs a command line. Await it for the result; before that, say more about it.
    pub fn execute(&self, command: impl Into<String>) -> Execute<'a> {
        Execute {
            session: self.session,
            command: command.into(),
            timeout: Duration::from_secs(60),
            cwd: None,
            envs: BTreeMap::new(),
        }
    }
}

/// A command that will run when it is awaited.
#[derive(Debug, Clone)]
#[must_use = "it runs when it is awaited"]
pub struct Execute<'a> {
    session: &'a Session,
    command: String,
    timeout: Duration,
    cwd: Option<String>,
    envs: BTreeMap<String, String>,
}

/// How a command ended and what it wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandResult {
    /// 0 for success; 124 when it was killed for its timeout.
    pub exit_code: i32,
    /// What it wrote to standard output. The middle of very much is left out, and a line says so.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl CommandResult {
    /// Whether the exit code is 0.
    pub fn success(&self) -> bool {
        self.exit_code == 0
    }

    /// Standard output, then standard error.
    pub fn output(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

#[derive(Serialize)]
struct Args {
    command: String,
    timeout_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cwd: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    envs: BTreeMap<String, String>,
}

impl<'a> Execute<'a> {
    /// Kill it after this time, with everything it started; 60 s if not said.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Run it in this directory, an absolute path; the home directory if not said.
    pub fn cwd(mut self, path: impl Into<String>) -> Self {
        self.cwd = Some(path.into());
        self
    }

    /// With this variable in its environment, too.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.envs.insert(name.into(), value.into());
        self
    }

    async fn run(self) -> Result<CommandResult, Error> {
        let args = Args {
            command: self.command,
            timeout_ms: u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX),
            cwd: self.cwd,
            envs: self.envs,
        };
        let limit = self.timeout.saturating_add(MARGIN);
        let answer = self.session.call_tool(SHELL, &args, limit).await?;
        // A command that failed is an error of the tool, with the same JSON; any other text is one of Berth's.
        match serde_json::from_str(&answer.text) {
            Ok(result) => Ok(result),
            Err(_) if answer.is_error => Err(Error::Tool {
                tool: SHELL.into(),
                message: answer.text,
            }),
            Err(error) => Err(Error::Protocol(format!("the answer of `{SHELL}`: {error}"))),
        }
    }
}

impl<'a> IntoFuture for Execute<'a> {
    type Output = Result<CommandResult, Error>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
