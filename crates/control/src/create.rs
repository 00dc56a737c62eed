//! Creating a session: check everything, take a ready sandbox or make one, write it down, hand it over.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use berth_images::Image;
use berth_sandbox::{Ending, Priority, Sandbox};
use berth_store::KeyRow;
use jiff::Timestamp;
use tracing::{Instrument, info, warn};

use crate::error::ControlError;
use crate::life::{End, EndReason};
use crate::quota::Admission;
use crate::secret::{new_id, new_ticket};
use crate::session::{Parts, Session};
use crate::{Control, config, note_session, whole};

/// The part of a log line that an error's text holds.
const LINE_CHARS_MAX: usize = 200;

/// What a caller asks for.
#[derive(Debug)]
pub struct NewSession<'a> {
    /// The image's name.
    pub image: &'a str,
    /// Labels, already checked.
    pub labels: BTreeMap<String, String>,
    /// Idle release in seconds; `None` or 0 means the server's default.
    pub idle_timeout_s: Option<i64>,
    /// Name of a policy, kept as given.
    pub policy: Option<&'a str>,
    /// How many contexts the caller wants mounted.
    pub contexts: usize,
}

/// What was asked for, checked.
struct Order {
    admission: Admission,
    key_id: String,
    image: Image,
    labels: BTreeMap<String, String>,
    idle_timeout: Duration,
    policy: Option<String>,
}

impl Control {
    /// Makes a session for a key. Also returns the secret of its first live view ticket.
    pub async fn create(
        self: &Arc<Self>,
        key: &KeyRow,
        new: NewSession<'_>,
    ) -> Result<(Arc<Session>, String), ControlError> {
        let idle_timeout = idle_timeout(new.idle_timeout_s, &self.config)?;
        if new.contexts > 0 {
            return Err(ControlError::Invalid {
                field: "persistenceDataList",
                got: format!("a list of {}", new.contexts),
                allowed:
                    "none: this version of the server has no contexts yet; leave out `context_syncs` and \
                          `browser_context`"
                        .to_owned(),
            });
        }
        let image = self.images.get(new.image).await?;
        let memory_bytes = image.facts.limits.memory_bytes;
        let order = Order {
            admission: self.quotas.admit(key, memory_bytes, Timestamp::now())?,
            key_id: key.id.clone(),
            image,
            labels: new.labels,
            idle_timeout,
            policy: new.policy.map(str::to_owned),
        };
        // A task of its own: a caller that goes away in the middle must not leave a sandbox that belongs to nobody.
        let creation = Arc::clone(self).carry_out(order).in_current_span();
        let created = whole(tokio::spawn(creation)).await?;
        note_session(&created.0);
        Ok(created)
    }

    async fn carry_out(self: Arc<Self>, order: Order) -> Result<(Arc<Session>, String), ControlError> {
        let Order {
            admission,
            key_id,
            image,
            labels,
            idle_timeout,
            policy,
        } = order;
        let taken = self.pool.take(&image);
        for dead in taken.dead {
            self.maker.end(&dead).await;
        }
        let memory_bytes = image.facts.limits.memory_bytes;
        let (sandbox, warm) = match taken.sandbox {
            Some(sandbox) => {
                // It waited with a low one. Slow is better than none, so this is no reason to refuse it.
                if let Err(error) = sandbox.set_priority(Priority::Normal).await {
                    let error = &error as &dyn std::error::Error;
                    warn!(
                        error,
                        "could not raise the priority of sandbox {}",
                        sandbox.id().as_str()
                    );
                }
                (sandbox, true)
            }
            None => (self.maker.make(&image, false).await?, false),
        };

        let id = new_id("s");
        let ticket = new_ticket();
        let written = self
            .store
            .insert_session(&berth_store::NewSession {
                id: &id,
                key_id: &key_id,
                node: &self.node,
                image: &image.name,
                sandbox_id: sandbox.id().as_str(),
                policy: policy.as_deref(),
                idle_timeout_ms: u64::try_from(idle_timeout.as_millis()).unwrap_or(u64::MAX),
                memory_bytes,
                labels: &labels,
                ticket: (&ticket, self.ticket_expiry()),
            })
            .await;
        if let Err(error) = written {
            self.maker.end(sandbox.id().as_str()).await;
            return Err(error.into());
        }
        let session = Session::new(Parts {
            id,
            key_id,
            image: image.name,
            created: Timestamp::now(),
            idle_timeout,
            memory_bytes,
            paused: false,
            sandbox,
            admission,
        });
        self.enlist(&session);
        info!(
            session.id = %session.id, sandbox.id = session.sandbox_id(), image = %session.image, warm,
            "session {} begins", session.id
        );
        let warm = if warm { "true" } else { "false" };
        metrics::counter!("berth_sessions_created_total", "image" => session.image.clone(), "warm" => warm)
            .increment(1);
        Ok((session, ticket))
    }

    /// Lets a session take calls, and watches its sandbox.
    pub(crate) fn enlist(self: &Arc<Self>, session: &Arc<Session>) {
        self.live
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(session.id.clone(), Arc::clone(session));
        tokio::spawn(Arc::clone(self).watch(Arc::clone(session)));
    }

    /// Ends the session when its sandbox ends by itself.
    async fn watch(self: Arc<Self>, session: Arc<Session>) {
        let sandbox: Sandbox = session.sandbox.clone();
        let ending = tokio::select! {
            ending = sandbox.ended() => ending,
            _ = session.ended() => return,
            () = self.stop.cancelled() => return,
        };
        let log = sandbox.log_tail();
        warn!(
            session.id = %session.id, sandbox.id = %sandbox.id().as_str(), ?ending, ?log,
            "the guest of session {} ended by itself", session.id
        );
        let end = end_of_guest(
            ending,
            sandbox.memory_peak().await.ok(),
            log.last().map(String::as_str),
        );
        while let Err(error) = self.end(&session, end.clone()).await {
            warn!(
                error = &error as &dyn std::error::Error,
                "could not write the end of session {}", session.id
            );
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// What a session ends with whose guest ended by itself.
fn end_of_guest(ending: Ending, memory_peak_bytes: Option<u64>, last_line: Option<&str>) -> End {
    let (reason, how) = match ending {
        Ending::OutOfMemory => (EndReason::OutOfMemory, None),
        Ending::Exited(code) => (EndReason::Crashed, Some(format!("exit code {code}"))),
        Ending::Signalled(signal) => (EndReason::Crashed, Some(format!("signal {signal}"))),
        Ending::Unknown | Ending::Destroyed => (EndReason::Crashed, None),
    };
    let peak = memory_peak_bytes.map(|bytes| format!("memory peak {} MiB", bytes >> 20));
    let last_line = last_line.map(|line| {
        let line: String = line.chars().take(LINE_CHARS_MAX).collect();
        format!("its log ends with: {line}")
    });
    let detail: Vec<String> = [how, peak, last_line].into_iter().flatten().collect();
    End {
        reason,
        detail: (!detail.is_empty()).then(|| detail.join("; ").into()),
    }
}

fn idle_timeout(asked_s: Option<i64>, config: &config::Config) -> Result<Duration, ControlError> {
    let max_s = config.idle_timeout_max.as_secs();
    match asked_s {
        None | Some(0) => Ok(config.idle_timeout),
        Some(asked) => match u64::try_from(asked) {
            Ok(seconds) if seconds <= max_s => Ok(Duration::from_secs(seconds)),
            _ => Err(ControlError::Invalid {
                field: "timeout",
                got: asked.to_string(),
                allowed: format!("1 to {max_s} seconds, or 0 for the server's default"),
            }),
        },
    }
}
