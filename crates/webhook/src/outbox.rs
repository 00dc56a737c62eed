//! Where events wait for their delivery.

use std::error::Error;

use jiff::Timestamp;

/// An event that is to be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its id, the same in each attempt.
    pub id: String,
    /// What happened, such as `session.ended`.
    pub kind: String,
    /// The document that is sent: JSON.
    pub body: String,
    /// When it happened.
    pub created: Timestamp,
    /// Attempts that have failed.
    pub attempts: u32,
}

/// Events that must not get lost. An event that was taken and neither delivered nor put off comes back after a while.
pub trait Outbox: Send + Sync {
    /// Why it could not be reached.
    type Error: Error + Send + Sync + 'static;

    /// Takes up to `limit` events that are due at `now`; nobody else gets them for the next minute.
    fn due(&self, now: Timestamp, limit: u32)
    -> impl Future<Output = Result<Vec<Event>, Self::Error>> + Send;

    /// The event needs no more attempts.
    fn done(&self, id: &str) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// An attempt has failed; the next is due at `next_attempt`.
    fn failed(
        &self,
        id: &str,
        next_attempt: Timestamp,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}
