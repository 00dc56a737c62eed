//! Interpreters of one kind: the one that holds the session's variables, and the way to the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::interpreter::{Interpreter, Lost, Outcome, Start};
use super::language::Language;
use super::maker::Maker;
use super::{End, Event, Failure, RunError};
use crate::job::tree::now_ticks;
use crate::job::wire;

/// Runs that may wait for their turn, with the one that runs.
const RUNS_MAX: usize = 64;

/// Interpreters that may die between two runs before a third party is to blame.
const INTERPRETERS_TRIED: usize = 3;

/// How long an interrupted run may take to end before its interpreter is killed.
const GRACE: Duration = Duration::from_secs(2);

/// The class of the error with which a run ends that a client stopped.
const CANCELLED: &str = "Cancelled";

/// Keeps interpreters of one kind.
#[derive(Debug)]
pub(super) struct Interpreters {
    maker: Maker,
    places: Semaphore,
    /// The interpreter with the session's variables. Held for the length of a run: the lock is the queue.
    current: Mutex<Option<Interpreter>>,
    /// Waits to replace it, where one is kept waiting.
    spare: Mutex<Option<Interpreter>>,
    warm: AtomicBool,
}

/// What to run.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) language: Language,
    pub(super) code: Arc<str>,
    pub(super) timeout: Duration,
    /// Interrupts it before its timeout does.
    pub(super) stop: CancellationToken,
}

impl Interpreters {
    pub(super) fn new(maker: Maker) -> Self {
        Self {
            maker,
            places: Semaphore::new(RUNS_MAX),
            current: Mutex::new(None),
            spare: Mutex::new(None),
            warm: AtomicBool::new(false),
        }
    }

    /// Makes the first interpreter ready. An image without the language has nothing to wait for.
    pub(super) async fn warm_up(&self) {
        let mut spare = self.spare.lock().await;
        match self.fill(&mut spare).await {
            Ok(()) => {}
            Err(error @ RunError::Absent(_)) => tracing::info!(%error, "no warm interpreter"),
            Err(error) => tracing::warn!(%error, "no warm interpreter"),
        }
        self.warm.store(true, Ordering::Release);
    }

    /// Whether [`Interpreters::warm_up`] is over.
    pub(super) fn is_warm(&self) -> bool {
        self.warm.load(Ordering::Acquire)
    }

    /// Runs what `order` says when its turn has come.
    pub(super) async fn run(
        self: &Arc<Self>,
        order: Order,
        events: mpsc::Sender<Event>,
    ) -> Result<End, RunError> {
        let _place = self.places.try_acquire().map_err(|_| RunError::Busy(RUNS_MAX))?;
        let mut current = tokio::select! {
            current = self.current.lock() => current,
            () = order.stop.cancelled() => return Ok(End {
                execution_count: None,
                seconds: 0.0,
                error: Some(Failure::of_guest(CANCELLED, "the run was stopped before it began".into())),
            }),
        };
        for _ in 0..INTERPRETERS_TRIED {
            let interpreter = match current.take().filter(Interpreter::is_alive) {
                Some(interpreter) => interpreter,
                None => self.take_ready().await?,
            };
            let (start, ended, give_up) = start(&order, events.clone());
            if !interpreter.start(start).await {
                continue;
            }
            let Some(end) = self.attend(&interpreter, ended, &order, &give_up).await else {
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
        let why = "every interpreter was killed before it could begin".into();
        Err(RunError::Start(self.maker.kind(), why))
    }

    /// Watches over a run until it has ended, by itself or by force. `None` when it never began.
    async fn attend(
        &self,
        interpreter: &Interpreter,
        mut ended: oneshot::Receiver<Outcome>,
        order: &Order,
        give_up: &CancellationToken,
    ) -> Option<End> {
        let (began, began_ticks) = (Instant::now(), now_ticks());
        let lost = |lost: Option<Lost>| {
            let lost = lost.unwrap_or(Lost {
                exit: None,
                broken: None,
                out_of_memory: false,
            });
            End {
                execution_count: None,
                seconds: began.elapsed().as_secs_f64(),
                error: Some(lost.failure(self.maker.kind())),
            }
        };
        let (kind, why) = tokio::select! {
            end = &mut ended => return match end {
                Ok(Outcome::Ended(end)) => Some(end),
                Ok(Outcome::Lost(why)) => Some(lost(Some(why))),
                Ok(Outcome::NotBegun) => None,
                Err(_) => Some(lost(None)),
            },
            () = sleep_until(began + order.timeout) => {
                ("TimeoutError", format!("timed out after {} s", order.timeout.as_secs()))
            }
            () = order.stop.cancelled() => (CANCELLED, "was stopped".into()),
        };
        let killed_at = Instant::now() + GRACE;
        // Politely first: the variables are worth it.
        interpreter.signal(Signal::INT);
        let interrupted = tokio::select! {
            end = &mut ended => Some(end),
            () = sleep_until(killed_at) => None,
        };
        let fate = match interrupted {
            Some(Ok(Outcome::Ended(mut end))) => {
                self.end_what_it_started(interpreter, began_ticks).await;
                let value = format!("the run {why} and was interrupted; variables are kept");
                end.error = Some(Failure::of_guest(kind, value));
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
                interpreter.keeper.end(below).await;
                interpreter.signal(Signal::KILL);
                give_up.cancel();
                let _ = ended.await;
                "did not stop when it was interrupted and was killed"
            }
        };
        self.end_what_it_started(interpreter, began_ticks).await;
        let value = format!(
            "the run {why}; the {} interpreter {fate}; its variables are lost, and the next run \
             starts with a new interpreter",
            self.maker.kind()
        );
        Some(End {
            execution_count: None,
            seconds: began.elapsed().as_secs_f64(),
            error: Some(Failure::of_guest(kind, value)),
        })
    }

    /// Kills processes that the run started, also those that left the interpreter's family.
    async fn end_what_it_started(&self, interpreter: &Interpreter, since_ticks: u64) {
        let spare = self.spare.lock().await.as_ref().map(|spare| spare.pid);
        let keep = [Some(interpreter.pid), interpreter.keeper.pid(), spare];
        interpreter
            .keeper
            .end(wire::End {
                root: None,
                keep: keep.into_iter().flatten().collect(),
                since_ticks: Some(since_ticks),
            })
            .await;
    }

    /// The interpreter that waits, or a new one; another one will wait soon.
    async fn take_ready(self: &Arc<Self>) -> Result<Interpreter, RunError> {
        let mut spare = self.spare.lock().await;
        self.fill(&mut spare).await?;
        let interpreter = spare.take().ok_or(RunError::Lost)?;
        drop(spare);
        self.prepare_next();
        Ok(interpreter)
    }

    /// Makes an interpreter wait, beside whatever goes on, where that costs little.
    fn prepare_next(self: &Arc<Self>) {
        if !self.maker.keeps_spare() {
            return;
        }
        let interpreters = Arc::clone(self);
        tokio::spawn(async move {
            let mut spare = interpreters.spare.lock().await;
            if let Err(error) = interpreters.fill(&mut spare).await {
                tracing::warn!(%error, "no interpreter could be kept ready");
            }
        });
    }

    /// Sees to it that an interpreter waits.
    async fn fill(&self, spare: &mut Option<Interpreter>) -> Result<(), RunError> {
        if !spare.as_ref().is_some_and(Interpreter::is_alive) {
            *spare = None;
            *spare = Some(self.maker.make().await?);
        }
        Ok(())
    }
}

fn start(
    order: &Order,
    events: mpsc::Sender<Event>,
) -> (Start, oneshot::Receiver<Outcome>, CancellationToken) {
    let (done, ended) = oneshot::channel();
    let give_up = CancellationToken::new();
    (
        Start {
            language: order.language,
            timeout: order.timeout,
            code: Arc::clone(&order.code),
            events,
            give_up: give_up.clone(),
            done,
        },
        ended,
        give_up,
    )
}
