//! Python interpreters: one that holds the session's variables, one that waits to replace it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::interpreter::{Interpreter, Lost, Start};
use super::zygote::{Zygote, default_python};
use super::{End, Event, Failure, RunError};
use crate::job::Jobs;
use crate::job::tree::now_ticks;
use crate::job::wire;

/// Runs that may wait for their turn, with the one that runs.
const RUNS_MAX: usize = 64;

/// How long an interrupted run may take to end before its interpreter is killed.
const GRACE: Duration = Duration::from_secs(2);

/// Keeps interpreters.
#[derive(Debug)]
pub struct Python {
    jobs: Jobs,
    binary: Option<PathBuf>,
    driver: String,
    home: String,
    places: Semaphore,
    /// The interpreter with the session's variables. Held for the length of a run: the lock is the queue.
    current: Mutex<Option<Interpreter>>,
    ready: Mutex<Ready>,
    warm: AtomicBool,
}

/// What is ready for the next interpreter.
#[derive(Debug, Default)]
struct Ready {
    zygote: Option<Arc<Zygote>>,
    spare: Option<Interpreter>,
}

impl Python {
    /// Interpreters from `binary`, or from where Python usually is, driven by the program `driver`. Code starts in `home`.
    pub fn new(jobs: Jobs, binary: Option<PathBuf>, driver: PathBuf, home: String) -> Self {
        Self {
            jobs,
            binary: binary.or_else(default_python),
            driver: driver.display().to_string(),
            home,
            places: Semaphore::new(RUNS_MAX),
            current: Mutex::new(None),
            ready: Mutex::new(Ready::default()),
            warm: AtomicBool::new(false),
        }
    }

    /// Makes the first interpreter ready. Without Python there is nothing to wait for either.
    pub async fn warm_up(&self) {
        let mut ready = self.ready.lock().await;
        if let Err(error) = self.fill(&mut ready).await {
            tracing::warn!(%error, "no python in this session");
        }
        self.warm.store(true, Ordering::Release);
    }

    /// Whether [`Python::warm_up`] is over.
    pub fn is_warm(&self) -> bool {
        self.warm.load(Ordering::Acquire)
    }

    /// Runs `code` when its turn has come.
    pub async fn run(
        self: &Arc<Self>,
        code: String,
        timeout: Duration,
        events: mpsc::Sender<Event>,
    ) -> Result<End, RunError> {
        let _place = self.places.try_acquire().map_err(|_| RunError::Busy(RUNS_MAX))?;
        let mut current = self.current.lock().await;
        let (mut start, ended, give_up) = order(code, events);
        // An interpreter may die between two runs; the run then goes to the next one, which has no variables.
        let interpreter = loop {
            let interpreter = match current.take().filter(Interpreter::is_alive) {
                Some(interpreter) => interpreter,
                None => self.take_ready().await?,
            };
            match interpreter.start(start).await {
                Ok(()) => break interpreter,
                Err(refused) => start = refused,
            }
        };
        let end = self.attend(&interpreter, ended, timeout, &give_up).await;
        if interpreter.is_alive() {
            *current = Some(interpreter);
        }
        Ok(end)
    }

    /// Watches over a run until it has ended, by itself or by force.
    async fn attend(
        &self,
        interpreter: &Interpreter,
        mut ended: oneshot::Receiver<Result<End, Lost>>,
        timeout: Duration,
        give_up: &CancellationToken,
    ) -> End {
        let (began, began_ticks) = (Instant::now(), now_ticks());
        let deadline = began + timeout;
        let lost = |lost: Option<Lost>| {
            let lost = lost.unwrap_or(Lost { exit: None, broken: None, out_of_memory: false });
            End { execution_count: None, seconds: began.elapsed().as_secs_f64(), error: Some(lost.failure()) }
        };
        tokio::select! {
            end = &mut ended => return match end {
                Ok(Ok(end)) => end,
                Ok(Err(why)) => lost(Some(why)),
                Err(_) => lost(None),
            },
            () = sleep_until(deadline) => {}
        }
        // Politely first: the variables are worth it.
        interpreter.signal(Signal::INT);
        let interrupted = tokio::select! {
            end = &mut ended => Some(end),
            () = sleep_until(deadline + GRACE) => None,
        };
        let seconds = timeout.as_secs();
        let fate = match interrupted {
            Some(Ok(Ok(mut end))) => {
                self.end_what_it_started(interpreter, began_ticks).await;
                let value = format!("the run timed out after {seconds} s and was interrupted; variables are kept");
                end.error = Some(Failure::of_guest("TimeoutError", value));
                return end;
            }
            Some(Ok(Err(_)) | Err(_)) => "ended when it was interrupted",
            None => {
                // Stopped first: it must not start anything more while its children are being killed.
                interpreter.signal(Signal::STOP);
                let below = wire::End { root: Some(interpreter.pid), ..wire::End::default() };
                interpreter.zygote.end(below).await;
                interpreter.signal(Signal::KILL);
                give_up.cancel();
                let _ = ended.await;
                "did not stop when it was interrupted and was killed"
            }
        };
        self.end_what_it_started(interpreter, began_ticks).await;
        let value = format!(
            "the run timed out after {seconds} s; the python interpreter {fate}; its variables are lost, and the next \
             run starts with a new interpreter"
        );
        End {
            execution_count: None,
            seconds: began.elapsed().as_secs_f64(),
            error: Some(Failure::of_guest("TimeoutError", value)),
        }
    }

    /// Kills processes that the run started, also those that left the interpreter's family.
    async fn end_what_it_started(&self, interpreter: &Interpreter, since_ticks: u64) {
        let spare = self.ready.lock().await.spare.as_ref().map(|spare| spare.pid);
        let keep = [interpreter.zygote.pid, interpreter.pid].into_iter().chain(spare).collect();
        interpreter.zygote.end(wire::End { root: None, keep, since_ticks: Some(since_ticks) }).await;
    }

    /// The interpreter that waits, or a new one; another one will wait soon.
    async fn take_ready(self: &Arc<Self>) -> Result<Interpreter, RunError> {
        let mut ready = self.ready.lock().await;
        self.fill(&mut ready).await?;
        let interpreter = ready.spare.take().ok_or(RunError::Lost)?;
        drop(ready);
        let python = Arc::clone(self);
        tokio::spawn(async move {
            let mut ready = python.ready.lock().await;
            if let Err(error) = python.fill(&mut ready).await {
                tracing::warn!(%error, "no python interpreter could be kept ready");
            }
        });
        Ok(interpreter)
    }

    /// Sees to it that an interpreter waits.
    async fn fill(&self, ready: &mut Ready) -> Result<(), RunError> {
        if ready.spare.as_ref().is_some_and(Interpreter::is_alive) {
            return Ok(());
        }
        ready.spare = None;
        if let Some(zygote) = ready.zygote.take().filter(|zygote| zygote.is_alive()) {
            match zygote.fork().await {
                Ok(spare) => {
                    *ready = Ready { zygote: Some(zygote), spare: Some(spare) };
                    return Ok(());
                }
                // The session may kill or stop it at any moment; a new one is worth one try.
                Err(error) => tracing::warn!(%error, "the warm python process is of no use any more"),
            }
        }
        let binary = self
            .binary
            .as_ref()
            .ok_or_else(|| RunError::Start("no `python3` in this image; choose an image with Python".into()))?;
        let zygote = Zygote::start(&self.jobs, &binary.display().to_string(), &self.driver, &self.home).await?;
        let zygote = Arc::new(zygote);
        let spare = zygote.fork().await?;
        *ready = Ready { zygote: Some(zygote), spare: Some(spare) };
        Ok(())
    }
}

fn order(
    code: String,
    events: mpsc::Sender<Event>,
) -> (Start, oneshot::Receiver<Result<End, Lost>>, CancellationToken) {
    let (done, ended) = oneshot::channel();
    let give_up = CancellationToken::new();
    (Start { code, events, give_up: give_up.clone(), done }, ended, give_up)
}
