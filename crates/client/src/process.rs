//! Programs that outlive the call which started them, and terminals.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::socket::{Limits, Socket};
use crate::{Error, Session};

const LIMITS: Limits = Limits {
    message_bytes_max: 4 << 20,
    ping_pause: Duration::from_secs(15),
    pings_max: 2,
};

/// First byte of input, of standard output or the terminal, and of standard error.
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;

/// Characters of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Characters in a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

/// What to start; see [`Session::start_process`].
#[derive(Debug, Clone, Default, Serialize)]
pub struct StartProcess {
    /// The command line; a login shell if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Where it starts; the home directory if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Its terminal; pipes if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminal: Option<TerminalSize>,
}

/// What is known of a process.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct ProcessInfo {
    /// What it is asked for by.
    pub process_id: String,
    /// What was started.
    pub command: String,
    /// Its number inside the session.
    pub pid: i32,
    /// It still runs.
    pub running: bool,
    /// As a shell counts it, when it has ended.
    pub exit_code: Option<i32>,
}

/// What comes from a process.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProcessEvent {
    /// Standard output, or what its terminal shows.
    Output(Bytes),
    /// Standard error.
    ErrorOutput(Bytes),
    /// So many bytes are missing here: they were too old, or came too fast.
    Gap(u64),
    /// An order was refused, and why.
    Refused(String),
    /// It has ended, with this code as a shell counts it. Nothing follows.
    Exited(i32),
}

/// The connection to a process. Dropping it leaves the process running.
///
/// ```no_run
/// use berth_client::{ProcessEvent, StartProcess, TerminalSize};
///
/// # async fn example(session: berth_client::Session) -> Result<(), berth_client::Error> {
/// let terminal = Some(TerminalSize { columns: 80, rows: 24 });
/// let started = session.start_process(&StartProcess { terminal, ..Default::default() }).await?;
/// let mut process = session.attach_process(&started.process_id, None).await?;
/// process.write(b"echo hello; exit\n").await?;
/// while let Some(event) = process.next().await? {
///     if let ProcessEvent::Output(bytes) = event {
///         print!("{}", String::from_utf8_lossy(&bytes));
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct ProcessStream {
    socket: Socket,
    position: u64,
    over: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Told {
    Attached { position: u64 },
    Gap(u64),
    Error(String),
    Exited { exit_code: i32 },
}

impl Session {
    /// Starts a program that goes on running until it ends or is ended.
    ///
    /// # Errors
    ///
    /// [`Error::Tool`] when it cannot be started, [`Error::SessionEnded`] when the session is over.
    pub async fn start_process(&self, start: &StartProcess) -> Result<ProcessInfo, Error> {
        let text = self.call_mcp_tool("start_process", start).await?;
        serde_json::from_str(&text)
            .map_err(|error| Error::Protocol(format!("`start_process` answered {text:?}: {error}")))
    }

    /// The programs that were started, running or not.
    ///
    /// # Errors
    ///
    /// [`Error::SessionEnded`] when the session is over.
    pub async fn list_processes(&self) -> Result<Vec<ProcessInfo>, Error> {
        let text = self.call_mcp_tool("list_processes", &json!({})).await?;
        serde_json::from_str(&text)
            .map_err(|error| Error::Protocol(format!("`list_processes` answered {text:?}: {error}")))
    }

    /// Connects to a program: what it writes, from `position` on or from the oldest that is kept, and its input.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] when there is no such process, [`Error::SessionEnded`] when the session is over.
    pub async fn attach_process(
        &self,
        process_id: &str,
        position: Option<u64>,
    ) -> Result<ProcessStream, Error> {
        let mut url = format!("{}/processes/{process_id}", self.ws_url());
        if let Some(position) = position {
            url += &format!("?position={position}");
        }
        Ok(ProcessStream {
            socket: Socket::open(self, &url, LIMITS).await?,
            position: position.unwrap_or(0),
            over: false,
        })
    }
}

impl ProcessStream {
    /// Where the output that comes next begins: what [`Session::attach_process`] takes to go on after a break.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// What comes next; `None` when the process has ended. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Error::Disconnected`] when the connection broke, [`Error::SessionEnded`] when that was the session's end.
    pub async fn next(&mut self) -> Result<Option<ProcessEvent>, Error> {
        while !self.over {
            let event = match self.socket.next().await? {
                Message::Binary(bytes) => self.output(&bytes),
                Message::Text(text) => self.told(text.as_str())?,
                _ => None,
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    fn output(&mut self, bytes: &Bytes) -> Option<ProcessEvent> {
        let tag = *bytes.first()?;
        let bytes = bytes.slice(1..);
        self.position += bytes.len() as u64;
        match tag {
            STDOUT => Some(ProcessEvent::Output(bytes)),
            STDERR => Some(ProcessEvent::ErrorOutput(bytes)),
            _ => None,
        }
    }

    fn told(&mut self, text: &str) -> Result<Option<ProcessEvent>, Error> {
        let told = serde_json::from_str(text)
            .map_err(|error| Error::Protocol(format!("a message about a process: {error}")))?;
        Ok(match told {
            Told::Attached { position } => {
                let gap = position.saturating_sub(self.position);
                self.position = position;
                (gap > 0).then_some(ProcessEvent::Gap(gap))
            }
            Told::Gap(bytes) => {
                self.position += bytes;
                Some(ProcessEvent::Gap(bytes))
            }
            Told::Error(why) => Some(ProcessEvent::Refused(why)),
            Told::Exited { exit_code } => {
                self.over = true;
                Some(ProcessEvent::Exited(exit_code))
            }
        })
    }

    /// Writes to its standard input, or types at its terminal.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.socket
            .send(Message::Binary([&[STDIN], bytes].concat().into()))
            .await
    }

    /// Gives its terminal another size.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub async fn resize(&mut self, size: TerminalSize) -> Result<(), Error> {
        self.socket
            .send(Message::text(json!({ "resize": size }).to_string()))
            .await
    }
}
