//! Why the control plane refused. Knows nothing of HTTP; the server gives each variant its status and code.

use berth_guest_client::GuestError;
use berth_images::Error as ImageError;
use berth_sandbox::{InvalidId, SandboxError};
use berth_store::StoreError;
use jiff::Timestamp;

use crate::life::End;
use crate::quota::QuotaLimit;

/// A refusal or a failure, as callers of [`Control`](crate::Control) see it.
///
/// The texts for a session that cannot be used hold the words that clients look for: `session`, `not found`, `expired`.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No session of this id belongs to the caller. Also the answer for a session of another key.
    #[error("session `{id}` not found: the id is invalid, or the session has expired")]
    UnknownSession {
        /// The id as it was asked for.
        id: String,
    },
    /// The token is not that of the session.
    #[error(
        "the session token is not that of session `{id}`; `getSession` tells a session's owner its token"
    )]
    WrongToken {
        /// The id as it was asked for.
        id: String,
    },
    /// No port link has this name. Not shown: a part of it may be a secret.
    #[error("this port link is not valid; `getLink` tells the session's owner the link of a port")]
    UnknownLink,
    /// No picture has this URL. Not shown: a part of it may be a secret.
    #[error("this picture's URL is not valid; `system_screenshot` takes a picture and tells its URL")]
    UnknownPicture,
    /// The session is over.
    #[error("session `{id}` not found or expired: {end}{}", .at.map(|at| format!(" at {at:.0}")).unwrap_or_default())]
    EndedSession {
        /// The session.
        id: String,
        /// Why it ended.
        end: End,
        /// When it ended, once nothing is left of it.
        at: Option<Timestamp>,
    },
    /// The session lives, but another server that shares the store runs it.
    #[error("session `{id}` runs on another server of this installation (`{node}`); ask that one")]
    Elsewhere {
        /// The session.
        id: String,
        /// The server's name for itself.
        node: String,
    },
    /// A limit of the key is reached.
    #[error(
        "the API key `{key}` may have {allowed} {limit}, and this would be more ({used} are in use); {remedy}"
    )]
    Quota {
        /// Which limit.
        limit: QuotaLimit,
        /// The key's name.
        key: String,
        /// How much it allows.
        allowed: u64,
        /// How much is in use, or would be.
        used: u64,
        /// What to do.
        remedy: &'static str,
    },
    /// The server has no such image.
    #[error("`imageId` is `{name}`, which is not on this server; available: {available}")]
    UnknownImage {
        /// The name as it was asked for.
        name: String,
        /// The names there are.
        available: String,
    },
    /// A field that is not allowed.
    #[error("`{field}` is {got}; allowed: {allowed}")]
    Invalid {
        /// The field's name in the API.
        field: &'static str,
        /// What it held.
        got: String,
        /// What it may hold.
        allowed: String,
    },
    /// A session has as many shared tickets as it may have.
    #[error(
        "the session has {allowed} shared tickets that are good, which is as many as are allowed; revoke some first"
    )]
    TooManyTickets {
        /// How many it may have.
        allowed: u64,
    },
    /// No room for another session.
    #[error(
        "this machine has no room for another session: {free_mib} MiB of {what} are free, {needed_mib} MiB are \
         needed; release a session or add {what}"
    )]
    Full {
        /// What it lacks: memory or disk space.
        what: &'static str,
        /// How much is free.
        free_mib: u64,
        /// How much must be free.
        needed_mib: u64,
    },
    /// An id that no sandbox can have; the store is damaged.
    #[error("the server's database names an impossible sandbox")]
    SandboxId(#[from] InvalidId),
    /// The sandbox could not be made.
    #[error("the session's sandbox could not be started")]
    Start(#[source] SandboxError),
    /// The sandbox started, its guest did not answer.
    #[error("image `{image}` failed: its sandbox started, but its guest did not answer{log}")]
    Silent {
        /// The image.
        image: String,
        /// The end of the guest's log, as part of the sentence; empty if it wrote nothing.
        log: String,
        /// The cause.
        source: GuestError,
    },
    /// The processes of a session could not be frozen or thawed.
    #[error("the session's processes could not be frozen or thawed; try again")]
    Freeze(#[source] SandboxError),
    /// The store failed.
    #[error("the server's database failed: {0}")]
    Store(StoreError),
    /// The image store failed.
    #[error("the image store failed")]
    Images(#[from] ImageError),
}

impl From<StoreError> for ControlError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file or folder of the server could not be used.
    #[error("could not prepare `{path}`")]
    Prepare {
        /// What was being prepared.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// Another server uses this data folder.
    #[error("another server is using `{0}`; stop it, or choose another folder with `--data`")]
    InUse(String),
    /// The guest's binary is missing or does not run.
    #[error("the guest `{path}` does not run on this machine: {reason}")]
    Guest {
        /// Where it should be.
        path: String,
        /// What happened.
        reason: String,
    },
    /// The sandbox layer could not start.
    #[error("could not start the sandbox layer; `berth doctor` says what this machine lacks")]
    Sandbox(#[source] SandboxError),
    /// The store failed.
    #[error("could not use the database")]
    Store(#[from] StoreError),
    /// The image store failed.
    #[error("could not use the image store")]
    Images(#[from] ImageError),
}
