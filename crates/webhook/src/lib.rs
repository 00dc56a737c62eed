//! Webhooks: tells a program of the operator's what happens to sessions, signed as the Standard Webhooks specification
//! says.
//!
//! In: events from the store, which wrote each together with what it tells of. Out: one `POST` per event, repeated
//! until it is answered with 2xx, for at most a day. A receiver can get an event twice, and events in another order than
//! they happened in; `webhook-id` tells doubles.
//!
//! Never: a redirect followed, an answer's body read, a secret in a log line.
//!
//! Start reading at [`Sender`].

mod pace;
mod secret;
mod sender;

pub use pace::Pace;
pub use secret::{Secret, SecretError};
pub use sender::{Sender, SetUpError, Target, TargetError};
