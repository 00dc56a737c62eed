//! Python interpreters: one that holds the session's variables, one that waits to replace it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::interpreter::{Interpreter, Lost, Outcome, Start};
use super::zygote::{Zygote, default_python};
use super::{End, Event, Failure, RunError};
use crate::job::Jobs;
use crate::job::tree::now_ticks;
use crate::job::wire;

/// Runs that may wait for their turn, with the one that runs.
const RUNS_MAX: usize = 64;

/// Interpreters that may die between two runs before a third party is to blame.
const INTERPRETERS_TRIED: usize = 3;

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
    /// Interpreters from `binary`, or from where Python usually is, driven by the program `driver`. Code starts in
    /// `home`.
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
        match self.fill(&mut ready).await {
            Ok(()) => {}
            Err(error) if self.binary.is_none() => tracing::info!(%error, "no python in this session"),
            Err(error) => tracing::warn!(%error, "no python in this session"),
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
        let code: Arc<str> = code.into();
        for _ in 0..INTERPRETERS_TRIED {
            let interpreter = match current.take().filter(Interpreter::is_alive) {
                Some(interpreter) => interpreter,
                None => self.take_ready().await?,
            };
            let (start, ended, give_up) = order(Arc::clone(&code), events.clone());
            if !interpreter.start(start).await {
                continue;
            }
            let Some(end) = self.attend(&interpreter, ended, timeout, &give_up).await else {
                continue;
            };
            if interpreter.is_alive() {
                *current = Some(interpreter);
            } else {
                // What ended it may have ended the one that waits, too.
                self.prepare_next();
            }
            return Ok(end);
        }
        Err(RunError::Start(
            "every interpreter was killed before it could begin".into(),
        ))
    }

    /// Watches over a run until it has ended, by itself or by force. `None` when it never began.
    async fn attend(
        &self,
        interpreter: &Interpreter,
        mut ended: oneshot::Receiver<Outcome>,
        timeout: Duration,
        give_up: &CancellationToken,
    ) -> Option<End> {
        let (began, began_ticks) = (Instant::now(), now_ticks());
        let deadline = began + timeout;
        let lost = |lost: Option<Lost>| {
            let lost = lost.unwrap_or(Lost {
                exit: None,
                broken: None,
                out_of_memory: false,
            });
            End {
                execution_count: None,
                seconds: began.elapsed().as_secs_f64(),
                error: Some(lost.failure()),
            }
        };
        tokio::select! {
            end = &mut ended => return match end {
                Ok(Outcome::Ended(end)) => Some(end),
                Ok(Outcome::Lost(why)) => Some(lost(Some(why))),
                Ok(Outcome::NotBegun) => None,
                Err(_) => Some(lost(None)),
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
            Some(Ok(Outcome::Ended(mut end))) => {
                self.end_what_it_started(interpreter, began_ticks).await;
                let value =
                    format!("the run timed out after {seconds} s and was interrupted; variables are kept");
                end.error = Some(Failure::of_guest("TimeoutError", value));
                return Some(end);
            }
            Some(Ok(Outcome::Lost(_) | Outcome::NotBegun) | Err(_)) => "ended when it was interrupted",
            None => {
                // Stopped first: it must not start anything more while its children are being killed.
                interpreter.signal(Signal::STOP);
                let below = wire::End {
                    root: Some(interpreter.pid),
                    ..wire::End::default()
                };
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
        Some(End {
            execution_count: None,
            seconds: began.elapsed().as_secs_f64(),
            error: Some(Failure::of_guest("TimeoutError", value)),
        })
    }

    /// Kills processes that the run started, also those that left the interpreter's family.
    async fn end_what_it_started(&self, interpreter: &Interpreter, since_ticks: u64) {
        let spare = self.ready.lock().await.spare.as_ref().map(|spare| spare.pid);
        let keep = [interpreter.zygote.pid, interpreter.pid]
            .into_iter()
            .chain(spare)
            .collect();
        interpreter
            .zygote
            .end(wire::End {
                root: None,
                keep,
                since_ticks: Some(since_ticks),
            })
            .await;
    }

    /// The interpreter that waits, or a new one; another one will wait soon.
    async fn take_ready(self: &Arc<Self>) -> Result<Interpreter, RunError> {
        let mut ready = self.ready.lock().await;
        self.fill(&mut ready).await?;
        let interpreter = ready.spare.take().ok_or(RunError::Lost)?;
        drop(ready);
        self.prepare_next();
        Ok(interpreter)
    }

    /// Makes an interpreter wait, beside whatever goes on.
    fn prepare_next(self: &Arc<Self>) {
        let python = Arc::clone(self);
        tokio::spawn(async move {
            let mut ready = python.ready.lock().await;
            if let Err(error) = python.fill(&mut ready).await {
                tracing::warn!(%error, "no python interpreter could be kept ready");
            }
        });
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
                    *ready = Ready {
                        zygote: Some(zygote),
                        spare: Some(spare),
                    };
                    return Ok(());
                }
                // The session may kill or stop it at any moment; a new one is worth one try.
                Err(error) => tracing::warn!(%error, "the warm python process is of no use any more"),
            }
        }
        let binary = self.binary.as_ref().ok_or_else(|| {
            RunError::Start("no `python3` in this image; choose an image with Python".into())
        })?;
        let zygote = Zygote::start(
            &self.jobs,
            &binary.display().to_string(),
            &self.driver,
            &self.home,
        )
        .await?;
        let zygote = Arc::new(zygote);
        let spare = zygote.fork().await?;
        *ready = Ready {
            zygote: Some(zygote),
            spare: Some(spare),
        };
        Ok(())
    }
}

fn order(
    code: Arc<str>,
    events: mpsc::Sender<Event>,
) -> (Start, oneshot::Receiver<Outcome>, CancellationToken) {
    let (done, ended) = oneshot::channel();
    let give_up = CancellationToken::new();
    (
        Start {
            code,
            events,
            give_up: give_up.clone(),
            done,
        },
        ended,
        give_up,
    )
}
