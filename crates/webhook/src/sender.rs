//! The sender: takes what is due, posts it, writes down how it went.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use berth_store::{EventRow, Store, StoreError};
use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use rand::RngExt;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Url, redirect};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::pace::Pace;
use crate::secret::Secret;

/// Attempts that are under way at the same time.
const AT_ONCE: u32 = 8;

/// The pause after the store could not be reached.
const STORE_PAUSE: Duration = Duration::from_secs(5);

/// How long attempts that are under way may take after a stop was asked for.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// Where events are posted to.
#[derive(Clone)]
pub struct Target(Url);

/// Text that is no target.
#[derive(Debug, thiserror::Error)]
#[error("allowed: a URL that begins with http:// or https://, and holds no user or password")]
pub struct TargetError;

impl std::str::FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let url = Url::parse(text).map_err(|_| TargetError)?;
        let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
        // The signature says who sends; a password in a URL ends in logs.
        match is_web && url.username().is_empty() && url.password().is_none() {
            true => Ok(Self(url)),
            false => Err(TargetError),
        }
    }
}

/// Scheme and host only: paths of webhook URLs are often secret.
impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.origin().ascii_serialization())
    }
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Target({self})")
    }
}

/// The HTTP client could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("could not prepare to send webhooks")]
pub struct SetUpError(#[source] reqwest::Error);

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error("the receiver answered {0}; 2xx was expected")]
    Status(reqwest::StatusCode),
    #[error("no answer from the receiver")]
    NoAnswer(#[source] reqwest::Error),
}

/// Delivers the events of one store to one target. Several may work on one store: each event is taken by one of them.
pub struct Sender {
    store: Store,
    target: Target,
    secret: Secret,
    pace: Pace,
    client: Client,
    /// The last attempt failed: told once, not with every attempt.
    is_failing: AtomicBool,
}

impl Sender {
    /// A sender, which does nothing until it is [run](Self::run).
    pub fn new(store: Store, target: Target, secret: Secret, pace: Pace) -> Result<Self, SetUpError> {
        // One implementation of the primitives for the whole process; whoever comes second finds it there.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .user_agent(concat!("berth/", env!("CARGO_PKG_VERSION")))
            .timeout(pace.timeout)
            // Where a redirect leads was not configured by anyone.
            .redirect(redirect::Policy::none())
            .build()
            .map_err(SetUpError)?;
        Ok(Self {
            store,
            target,
            secret,
            pace,
            client,
            is_failing: AtomicBool::new(false),
        })
    }

    /// Delivers until `stop` is cancelled. An attempt that is cut off then is repeated after the next start.
    pub async fn run(self, stop: CancellationToken) {
        info!("events of sessions are posted to {}", self.target);
        let overdue = async {
            stop.cancelled().await;
            tokio::time::sleep(STOP_GRACE).await;
        };
        let rounds = async {
            while !stop.is_cancelled() {
                let pause = match self.round().await {
                    Ok(0) => self.pace.look_every,
                    Ok(_) => continue,
                    Err(error) => {
                        warn!(
                            error = &error as &dyn std::error::Error,
                            "could not look for events to deliver; trying again"
                        );
                        STORE_PAUSE
                    }
                };
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(pause) => {}
                }
            }
        };
        tokio::select! {
            () = rounds => {}
            () = overdue => debug!("webhooks were still under way at the stop"),
        }
    }

    /// Tries what is due now; how many events that were.
    async fn round(&self) -> Result<usize, StoreError> {
        let events = self.store.due_events(Timestamp::now(), AT_ONCE).await?;
        let count = events.len();
        stream::iter(events.into_iter().map(|event| self.deliver(event)))
            .buffer_unordered(AT_ONCE as usize)
            .fold(Ok(count), async |all, one| {
                all.and_then(|count| one.map(|()| count))
            })
            .await
    }

    async fn deliver(&self, event: EventRow) -> Result<(), StoreError> {
        let next = match self.attempt(&event).await {
            Ok(()) => {
                if self.is_failing.swap(false, Ordering::Relaxed) {
                    info!("{} takes webhooks again", self.target);
                }
                None
            }
            Err(error) => self.next_attempt(&event, &error),
        };
        match next {
            None => self.store.event_delivered(&event.id).await,
            Some(next) => self.store.event_failed(&event.id, next).await,
        }
    }

    /// When an event is tried again that was not taken; `None` when it is given up.
    fn next_attempt(&self, event: &EventRow, error: &AttemptError) -> Option<Timestamp> {
        let now = Timestamp::now();
        let age = Duration::try_from(now.duration_since(event.created)).unwrap_or_default();
        let chance = rand::rng().random_range(0.0..1.0);
        let cause = error as &dyn std::error::Error;
        let Some(pause) = self.pace.pause(event.attempts, age, chance) else {
            warn!(
                error = cause,
                "gave up event {} ({}), which {} has not taken for {age:.0?}",
                event.id,
                event.kind,
                self.target
            );
            return None;
        };
        if self.is_failing.swap(true, Ordering::Relaxed) {
            debug!(error = cause, "event {} comes again in {pause:.0?}", event.id);
        } else {
            warn!(
                error = cause,
                "{} did not take event {}; it comes again, as do others that follow, without a further line",
                self.target,
                event.id
            );
        }
        let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX);
        Some(now.checked_add(pause).unwrap_or(Timestamp::MAX))
    }

    /// Posts an event once. The answer counts when its head is there; its body is not read.
    async fn attempt(&self, event: &EventRow) -> Result<(), AttemptError> {
        let timestamp = Timestamp::now().as_second();
        let answer = self
            .client
            .post(self.target.0.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &event.id)
            .header("webhook-timestamp", timestamp)
            .header(
                "webhook-signature",
                self.secret.sign(&event.id, timestamp, &event.body),
            )
            .body(event.body.clone())
            .send()
            .await
            .map_err(|error| AttemptError::NoAnswer(error.without_url()))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(AttemptError::Status(status)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_web_address_without_a_password_and_shows_no_path() {
        let target: Target = "https://hooks.example.com/T0/secret?token=x".parse().unwrap();
        assert_eq!(target.to_string(), "https://hooks.example.com");
        for bad in [
            "",
            "hooks.example.com",
            "ftp://h/",
            "https://",
            "https://user@h/",
            "https://:p@h/",
        ] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }
}
