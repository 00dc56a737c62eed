//! What a server may be told.

use std::path::PathBuf;
use std::time::Duration;

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
    /// Ready sandboxes to keep for each image that was used or is named in [`Config::warm_images`].
    pub pool_size: usize,
    /// Images whose pool is filled at start.
    pub warm_images: Vec<String>,
    /// Idle release when the caller names none.
    pub idle_timeout: Duration,
    /// The longest idle release that a caller may ask for.
    pub idle_timeout_max: Duration,
    /// A session ends this long after it was made, used or not. Zero: never.
    pub lifetime: Duration,
    /// How long a live view URL is valid.
    pub view_url_ttl: Duration,
}
