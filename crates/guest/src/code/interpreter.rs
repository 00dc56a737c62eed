//! One interpreter: its channel, its two outputs, and the task that keeps all three in order.
//!
//! Output and results come on different ways. The driver writes output before it sends a result, so the task empties
//! both pipes before it passes a result or the end of a run on; the driver then waits until the result has passed. So
//! what a reader sees is the order in which things happened.
//!
//! Between runs the task goes on reading, so that a server which the code left in the background never blocks on a
//! full pipe; what it writes then is forgotten.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Duration, sleep};
use tokio_util::sync::CancellationToken;

use super::keeper::Keeper;
use super::language::{Kind, Language};
use super::wire::{FromInterpreter, ToInterpreter};
use super::{End, Event, Failure};
use crate::cgroup;
use crate::frames::{FrameError, Frames};
use crate::job::Output;
use crate::job::wire::Exit;
use crate::output::{Decoder, discard, read_now, read_some};

/// A piece that does not end its line waits this long for the rest of it: `print` writes a text and its line end
/// apart.
const LINE_PATIENCE: Duration = Duration::from_millis(4);

/// Text of each output that one run may produce; then the rest is dropped and said to be.
const OUTPUT_BYTES_MAX: u64 = 256 << 20;

/// An interpreter that waits for a run, runs, or has ended.
#[derive(Debug)]
pub(super) struct Interpreter {
    /// Its process id.
    pub(super) pid: i32,
    /// Its maker, which also kills and buries it.
    pub(super) keeper: Keeper,
    process: OwnedFd,
    starts: mpsc::Sender<Start>,
}

/// A run to begin.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) language: Language,
    pub(super) timeout: Duration,
    pub(super) code: Arc<str>,
    pub(super) events: mpsc::Sender<Event>,
    /// Stops the passing on of events, when nobody reads them and the run must end.
    pub(super) give_up: CancellationToken,
    pub(super) done: oneshot::Sender<Outcome>,
}

/// What became of a run.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It ended.
    Ended(End),
    /// Its interpreter ended first.
    Lost(Lost),
    /// The interpreter was gone before the run reached it: another one may take it.
    NotBegun,
}

/// The interpreter ended in the middle of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lost {
    /// How, if that is known.
    pub(super) exit: Option<Exit>,
    /// It did not end but broke the rules of the connection, and is to be killed.
    pub(super) broken: Option<String>,
    /// The kernel killed something for want of memory during the run.
    pub(super) out_of_memory: bool,
}

impl Interpreter {
    /// Takes over a process that is ready for its first run.
    pub(super) fn new(
        kind: Kind,
        pid: i32,
        frames: Frames,
        output: Output,
        keeper: Keeper,
    ) -> io::Result<Self> {
        let raw = Pid::from_raw(pid).ok_or_else(|| io::Error::other(format!("{pid} is no process id")))?;
        let process = pidfd_open(raw, PidfdFlags::empty())?;
        let (starts, starts_from) = mpsc::channel(1);
        let task = Task {
            kind,
            pid,
            frames,
            // A pidfd can be polled like a pipe, and this is the safe way to have it polled. Nothing is ever read
            // from it.
            death: pipe::Receiver::from_owned_fd_unchecked(process.try_clone()?)?,
            stdout: Pipe::new(output.stdout),
            stderr: Pipe::new(output.stderr),
            keeper: keeper.clone(),
            starts: starts_from,
            current: None,
            runs: 0,
        };
        tokio::spawn(task.serve());
        Ok(Self {
            pid,
            keeper,
            process,
            starts,
        })
    }

    /// Whether it can take a run.
    pub(super) fn is_alive(&self) -> bool {
        !self.starts.is_closed()
    }

    /// Begins a run. False when the interpreter is gone.
    pub(super) async fn start(&self, start: Start) -> bool {
        self.starts.send(start).await.is_ok()
    }

    /// Sends a signal to exactly this process.
    pub(super) fn signal(&self, signal: Signal) {
        // Gone already is what any signal could have led to.
        let _ = pidfd_send_signal(&self.process, signal);
    }
}

struct Task {
    kind: Kind,
    pid: i32,
    frames: Frames,
    /// Readable when the process has ended.
    death: pipe::Receiver,
    stdout: Pipe,
    stderr: Pipe,
    keeper: Keeper,
    starts: mpsc::Receiver<Start>,
    current: Option<Current>,
    runs: u64,
}

struct Current {
    id: u64,
    events: mpsc::Sender<Event>,
    give_up: CancellationToken,
    done: oneshot::Sender<Outcome>,
    oom_kills: Option<u64>,
    /// Something came back, so the run has begun.
    answered: bool,
}

enum Next {
    Frame(Result<Option<FromInterpreter>, FrameError>),
    Output,
    Dead,
    Start(Start),
    Abandoned,
}

impl Task {
    async fn serve(mut self) {
        let broken = loop {
            match self.next().await {
                Next::Output => self.pass_output(false).await,
                Next::Frame(Ok(Some(frame))) => {
                    self.pass_output(true).await;
                    if let Err(error) = self.take(frame).await {
                        break Some(error.to_string());
                    }
                }
                Next::Frame(Ok(None)) | Next::Dead => break None,
                Next::Frame(Err(error)) => {
                    if error.is_unread() {
                        self.give_back();
                    }
                    break Some(error.to_string());
                }
                Next::Start(start) => {
                    if let Err(error) = self.begin(start).await {
                        break Some(error.to_string());
                    }
                }
                Next::Abandoned => break None,
            }
        };
        self.finish(broken).await;
    }

    async fn next(&mut self) -> Next {
        tokio::select! {
            biased;
            frame = self.frames.next() => Next::Frame(frame),
            _ = self.death.readable() => Next::Dead,
            () = self.stdout.more() => Next::Output,
            () = self.stderr.more() => Next::Output,
            start = self.starts.recv(), if self.current.is_none() => match start {
                Some(start) => Next::Start(start),
                None => Next::Abandoned,
            },
        }
    }

    async fn begin(&mut self, start: Start) -> Result<(), FrameError> {
        // What was written between the runs belongs to none of them.
        self.stdout.forget();
        self.stderr.forget();
        self.runs += 1;
        let message = ToInterpreter::Run {
            id: self.runs,
            language: start.language.name(),
            timeout_ms: u64::try_from(start.timeout.as_millis()).unwrap_or(u64::MAX),
            code: &start.code,
        };
        // Killed between two runs, it is still listened to for a moment. Nothing was run then.
        if self.has_ended() {
            let _ = start.done.send(Outcome::NotBegun);
            return Ok(());
        }
        if let Err(error) = self.frames.send(&message).await {
            let _ = start.done.send(Outcome::NotBegun);
            return Err(error);
        }
        self.current = Some(Current {
            id: self.runs,
            events: start.events,
            give_up: start.give_up,
            done: start.done,
            oom_kills: cgroup::oom_kills(),
            answered: false,
        });
        Ok(())
    }

    /// The interpreter died with something unread. If that was the run, it never began, and another may take it.
    fn give_back(&mut self) {
        if let Some(current) = self.current.take_if(|current| !current.answered) {
            let _ = current.done.send(Outcome::NotBegun);
        }
    }

    /// Asks the kernel: news of an end may not have come up yet.
    fn has_ended(&self) -> bool {
        let mut handle = [PollFd::new(&self.death, PollFlags::IN)];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        !matches!(poll(&mut handle, Some(&now)), Ok(0))
    }

    /// Passes on what the pipes have given. Before a frame that is everything they hold, finished line or not.
    async fn pass_output(&mut self, all: bool) {
        if all {
            self.stdout.take_now();
            self.stderr.take_now();
        } else if self.stdout.in_line() || self.stderr.in_line() {
            tokio::select! {
                () = sleep(LINE_PATIENCE) => {}
                () = self.stdout.more() => {}
                () = self.stderr.more() => {}
            }
        }
        let (out, err) = (self.stdout.text(), self.stderr.text());
        if let Some(text) = out {
            self.deliver(Event::Stdout(text)).await;
        }
        if let Some(text) = err {
            self.deliver(Event::Stderr(text)).await;
        }
    }

    async fn deliver(&mut self, event: Event) {
        let Some(current) = &self.current else { return };
        tokio::select! {
            // An error means that the reader has gone; the run goes on without it.
            _ = current.events.send(event) => {}
            () = current.give_up.cancelled() => {}
        }
    }

    async fn take(&mut self, frame: FromInterpreter) -> Result<(), FrameError> {
        if let Some(current) = &mut self.current {
            current.answered = true;
        }
        let id = self.current.as_ref().map(|current| current.id);
        match frame {
            FromInterpreter::Result(shown) => {
                let number = shown.number;
                // A thread that outlived its run has nobody to show things to, but it gets its answer.
                if id == Some(shown.id) {
                    self.deliver(Event::Result(shown.into())).await;
                }
                self.frames.send(&ToInterpreter::Shown(number)).await?;
            }
            FromInterpreter::End(end) if id == Some(end.id) => {
                self.stdout.finish();
                self.stderr.finish();
                self.pass_output(true).await;
                if let Some(current) = self.current.take() {
                    let _ = current.done.send(Outcome::Ended(End {
                        execution_count: Some(end.execution_count),
                        seconds: end.seconds,
                        error: end.error,
                    }));
                }
            }
            FromInterpreter::End(_) => {}
        }
        Ok(())
    }

    /// The interpreter is gone or is to go: tells the run how.
    async fn finish(mut self, broken: Option<String>) {
        self.starts.close();
        self.stdout.take_now();
        self.stderr.take_now();
        self.stdout.finish();
        self.stderr.finish();
        self.pass_output(true).await;
        // A process that lets go of its channel is no interpreter any more, whatever else it does.
        let _ = pidfd_send_signal(self.death.as_fd(), Signal::KILL);
        let exit = self.keeper.exit_of(self.pid).await;
        tracing::info!(
            kind = %self.kind,
            pid = self.pid,
            exit = exit.map(tracing::field::display),
            broken,
            "an interpreter ended"
        );
        if let Some(current) = self.current.take() {
            let out_of_memory = match (current.oom_kills, cgroup::oom_kills()) {
                (Some(before), Some(after)) => after > before,
                _ => false,
            };
            let _ = current.done.send(Outcome::Lost(Lost {
                exit,
                broken,
                out_of_memory,
            }));
        }
        // Its children may go on writing.
        self.stdout.let_go();
        self.stderr.let_go();
    }
}

/// One output and the text of it that was not passed on yet.
struct Pipe {
    pipe: Option<pipe::Receiver>,
    decoder: Decoder,
    text: String,
    total: u64,
    open: bool,
}

impl Pipe {
    fn new(pipe: pipe::Receiver) -> Self {
        Self {
            pipe: Some(pipe),
            decoder: Decoder::default(),
            text: String::new(),
            total: 0,
            open: true,
        }
    }

    /// Waits for output. Never returns after the end of the pipe. Cancel safe.
    async fn more(&mut self) {
        if let (true, Some(pipe)) = (self.open, &mut self.pipe) {
            match read_some(pipe).await {
                Some(bytes) => return self.push(&bytes),
                None => self.open = false,
            }
        }
        std::future::pending().await
    }

    fn take_now(&mut self) {
        let Some(pipe) = self.pipe.take() else { return };
        read_now(&pipe, |bytes| self.push(bytes));
        self.pipe = Some(pipe);
    }

    fn push(&mut self, bytes: &[u8]) {
        let before = self.total;
        self.total = self.total.saturating_add(bytes.len() as u64);
        if self.total <= OUTPUT_BYTES_MAX {
            self.text += &self.decoder.push(bytes);
        } else if before <= OUTPUT_BYTES_MAX {
            self.text +=
                &format!("\n[berth: output of this run beyond {OUTPUT_BYTES_MAX} bytes is dropped]\n");
        }
    }

    /// Whether the text stops inside a line.
    fn in_line(&self) -> bool {
        !self.text.is_empty() && !self.text.ends_with('\n')
    }

    fn text(&mut self) -> Option<String> {
        (!self.text.is_empty()).then(|| std::mem::take(&mut self.text))
    }

    fn finish(&mut self) {
        self.text += &self.decoder.finish();
    }

    /// Starts anew for a run.
    fn forget(&mut self) {
        self.take_now();
        self.decoder = Decoder::default();
        self.text.clear();
        self.total = 0;
    }

    fn let_go(&mut self) {
        if let Some(pipe) = self.pipe.take() {
            discard(pipe);
        }
    }
}

impl Lost {
    /// What the caller is told.
    pub(super) fn failure(&self, kind: Kind) -> Failure {
        let after = "its variables are lost, and the next run starts with a new interpreter";
        let how = match (self.out_of_memory, self.exit, &self.broken) {
            (true, Some(Exit::Signal(9)), _) => {
                let limit = cgroup::memory_limit().map_or_else(String::new, |bytes| {
                    format!(" (the session has {} MiB)", bytes >> 20)
                });
                format!("was killed because memory ran out{limit}")
            }
            (_, _, Some(rule)) => format!("was ended because it broke the connection to the guest ({rule})"),
            (_, Some(Exit::Code(code)), None) => format!("ended itself with exit code {code}"),
            (_, Some(signal), None) => format!("was killed by {signal}"),
            (_, None, None) => "was killed".into(),
        };
        Failure::of_guest(
            "InterpreterLost",
            format!("the {kind} interpreter {how}; {after}"),
        )
    }
}
