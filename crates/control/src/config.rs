//! What a server may be told.

use std::fmt::Debug;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use berth_store::Database;

use crate::life::EndReason;

/// Settings of the control plane. The `berth` binary reads them from flags, environment and file.
#[derive(Debug, Clone)]
pub struct Config {
    /// The server's own folder: database, secret, sandboxes.
    pub data: PathBuf,
    /// The image store, which servers on one machine share.
    pub images: PathBuf,
    /// The OCI runtime: a name on `PATH`, or a path.
    pub runtime: String,
    /// The guest's binary; it is copied into the data folder, so that an upgrade does not touch running sessions.
    pub guest_binary: PathBuf,
    /// Where the store is.
    pub database: Database,
    /// Should the store note events for webhooks?
    pub events: bool,
    /// Ready sandboxes to keep for each image that was used, or is named in [`Config::warm_images`] without a number.
    pub pool_size: usize,
    /// Images whose pool is filled at start.
    pub warm_images: Vec<WarmImage>,
    /// What becomes of a session that nobody uses.
    pub idle_action: IdleAction,
    /// Idle release when the caller names none.
    pub idle_timeout: Duration,
    /// The longest idle release that a caller may ask for.
    pub idle_timeout_max: Duration,
    /// A session ends this long after it was made, used or not. Zero: never.
    pub lifetime: Duration,
    /// How long a live view URL is valid.
    pub view_url_ttl: Duration,
    /// Ports of a session that may be reached from outside. The first one is what a caller who names none gets.
    pub ports: RangeInclusive<u16>,
    /// Hears of what becomes of sessions.
    pub observer: Option<Arc<dyn Observer>>,
}

/// Hears of what becomes of sessions, whoever caused it. Called when it is in the store; must not block for long.
pub trait Observer: Debug + Send + Sync {
    /// A session of this key has changed.
    fn session_changed(&self, session_id: &str, key_id: &str, change: Change);
}

/// What has become of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Its processes are being frozen.
    Paused,
    /// They go on.
    Resumed,
    /// It takes no calls any more.
    Ended(EndReason),
}

/// An image that is kept ready from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarmImage {
    /// The image.
    pub name: String,
    /// Ready sandboxes to keep, if not [`Config::pool_size`].
    pub size: Option<usize>,
}

/// What becomes of a session at the end of its idle timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdleAction {
    /// It is released.
    Release,
    /// Its processes are frozen until the next call. Its lifetime goes on.
    Pause,
}
