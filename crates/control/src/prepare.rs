//! Starting a control plane: folders, lock, secret, guest binary, sandbox layer, adoption, reconcilers.

use std::collections::HashMap;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use berth_guest_api::ToolSpec;
use berth_sandbox::{Local, Sandboxes};
use berth_store::{Database, Options, Store};
use rustix::process::{Pid, Signal};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::Control;
use crate::config::Config;
use crate::error::{ControlError, StartError};
use crate::images::Images;
use crate::pool::Pool;
use crate::sandboxes::Maker;
use crate::secret::{Secret, new_id};

/// The lock file's name; it holds the server's process id.
const LOCK: &str = "server.lock";

/// Name of the file that holds this server's name.
const NODE: &str = "node";

/// How long a start waits for a data folder that is in use, and how often it tries.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Opens the store of a server, making it and the data folder if need be. The `berth key` commands use it beside a
/// running server.
pub async fn open_store(data: &Path, database: &Database, options: Options) -> Result<Store, StartError> {
    let prepare = |source| StartError::Prepare {
        path: data.display().to_string(),
        source,
    };
    fs_err::create_dir_all(data).map_err(prepare)?;
    // The folder holds the server's secret and the sockets of all guests.
    fs_err::set_permissions(data, PermissionsExt::from_mode(0o700)).map_err(prepare)?;
    Ok(Store::open(database, options).await?)
}

impl Control {
    /// Starts a control plane: when this returns, all sessions of the last server take calls again.
    pub async fn start(config: Config) -> Result<Arc<Self>, StartError> {
        let control = Self::open(config).await?;
        control.adopt().await.map_err(start_error)?;
        tokio::spawn(Arc::clone(&control).reap());
        tokio::spawn(Arc::clone(&control).run_down());
        tokio::spawn(Arc::clone(&control).watch_tickets());
        let fill =
            Arc::clone(&control.pool).keep_filled(Arc::clone(&control.maker), Arc::clone(&control.images));
        let stop = control.stop.clone();
        tokio::spawn(async move {
            // Dropped at a stop: a sandbox that is half-made then is cleared by the next start.
            tokio::select! { () = stop.cancelled() => {}, () = fill => {} }
        });
        Ok(control)
    }

    /// Ends every session of a data folder that no server uses, and removes all its sandboxes; how many sessions.
    pub async fn end_all(config: Config) -> Result<usize, StartError> {
        let control = Self::open(config).await?;
        let sessions = control.end_everything().await.map_err(start_error)?;
        control.shutdown().await;
        Ok(sessions)
    }

    async fn open(config: Config) -> Result<Arc<Self>, StartError> {
        let options = Options {
            events: config.events,
        };
        let store = open_store(&config.data, &config.database, options).await?;
        let lock = lock(&config.data).await?;
        let secret =
            Secret::load_or_make(&config.data.join("secret")).map_err(|source| StartError::Prepare {
                path: "secret".into(),
                source,
            })?;
        let guest_binary =
            install_guest(&config.guest_binary, &config.data).map_err(|source| StartError::Prepare {
                path: config.guest_binary.display().to_string(),
                source,
            })?;
        let tools = guest_tools(&guest_binary).await?;
        let node = node(&config.data).map_err(|source| StartError::Prepare {
            path: NODE.into(),
            source,
        })?;

        let sandbox_config = berth_sandbox::Config {
            runtime: config.runtime.clone(),
            ..berth_sandbox::Config::new(config.data.join("sandboxes"))
        };
        let sandboxes: Arc<dyn Sandboxes> =
            Arc::new(Local::start(sandbox_config).await.map_err(StartError::Sandbox)?);

        let control = Arc::new(Self {
            maker: Arc::new(Maker::new(store.clone(), node.clone(), sandboxes, guest_binary)),
            node,
            images: Arc::new(Images::new(&config.images)),
            pool: Arc::new(Pool::new(config.pool_size, &config.warm_images)),
            store,
            secret,
            tools,
            live: RwLock::new(HashMap::new()),
            quotas: Arc::default(),
            rundown: Notify::new(),
            keys: Notify::new(),
            stop: CancellationToken::new(),
            _lock: lock,
            config,
        });
        Ok(control)
    }
}

/// A failure of the first round, as a failure to start.
fn start_error(error: ControlError) -> StartError {
    match error {
        ControlError::Store(error) => StartError::Store(error),
        ControlError::Images(error) => StartError::Images(error),
        ControlError::Start(error) => StartError::Sandbox(error),
        other => StartError::Prepare {
            path: "sessions of the last run".into(),
            source: io::Error::other(other),
        },
    }
}

/// Stops the server that uses a data folder, and waits until it has; its process id, if there was one.
pub async fn stop_server(data: &Path) -> Result<Option<u32>, StartError> {
    let Some(server) = running_server(data)? else {
        return Ok(None);
    };
    server.signal(Signal::TERM)?;
    let pid = server.pid.as_raw_nonzero().get().unsigned_abs();
    // Granted when the server's last breath has closed its file.
    let waited = tokio::task::spawn_blocking(move || server.lock.file().lock()).await;
    waited
        .map_err(io::Error::other)
        .flatten()
        .map_err(|source| StartError::Prepare {
            path: data.join(LOCK).display().to_string(),
            source,
        })?;
    Ok(Some(pid))
}

/// Tells the server that uses a data folder, if there is one, that a key may have been revoked.
pub fn tell_of_keys(data: &Path) -> Result<(), StartError> {
    match running_server(data)? {
        Some(server) => server.signal(Signal::HUP),
        None => Ok(()),
    }
}

/// A server that runs beside this process.
struct RunningServer {
    path: PathBuf,
    lock: fs_err::File,
    pid: Pid,
}

impl RunningServer {
    fn signal(&self, signal: Signal) -> Result<(), StartError> {
        rustix::process::kill_process(self.pid, signal).map_err(|error| StartError::Prepare {
            path: self.path.display().to_string(),
            source: error.into(),
        })
    }
}

/// The server that holds a data folder's lock.
fn running_server(data: &Path) -> Result<Option<RunningServer>, StartError> {
    let path = data.join(LOCK);
    let prepare = |source| StartError::Prepare {
        path: path.display().to_string(),
        source,
    };
    if !fs_err::exists(&path).map_err(prepare)? {
        return Ok(None);
    }
    let mut options = fs_err::OpenOptions::new();
    let lock = options.read(true).write(true).open(&path).map_err(prepare)?;
    if lock.file().try_lock().is_ok() {
        return Ok(None);
    }
    // The holder of the lock wrote its id into the file, and lives as long as it holds it.
    let text = fs_err::read_to_string(&path).map_err(prepare)?;
    let pid = text.trim().parse().ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| {
        let what = format!("expected a process id, found {text:?}");
        prepare(io::Error::new(io::ErrorKind::InvalidData, what))
    })?;
    Ok(Some(RunningServer { path, lock, pid }))
}

/// Takes the data folder for this process.
///
/// A child that a killed server had just forked holds the server's lock until it runs its program, so a folder that is
/// taken may be free a moment later.
async fn lock(data: &Path) -> Result<fs_err::File, StartError> {
    let patience = Instant::now() + LOCK_PATIENCE;
    loop {
        match try_lock(data) {
            Err(StartError::InUse(_)) if Instant::now() < patience => tokio::time::sleep(LOCK_PAUSE).await,
            taken => return taken,
        }
    }
}

fn try_lock(data: &Path) -> Result<fs_err::File, StartError> {
    let path = data.join(LOCK);
    let prepare = |source| StartError::Prepare {
        path: path.display().to_string(),
        source,
    };
    let mut file = fs_err::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(prepare)?;
    match file.file().try_lock() {
        Ok(()) => {
            file.set_len(0)
                .and_then(|()| writeln!(file, "{}", std::process::id()))
                .map_err(prepare)?;
            Ok(file)
        }
        Err(std::fs::TryLockError::WouldBlock) => Err(StartError::InUse(data.display().to_string())),
        Err(std::fs::TryLockError::Error(source)) => Err(prepare(source)),
    }
}

/// This server's name among those that share a store; made at the first start.
fn node(data: &Path) -> io::Result<String> {
    let path = data.join(NODE);
    if !fs_err::exists(&path)? {
        let unfinished = data.join("node.new");
        fs_err::write(&unfinished, new_id("n"))?;
        fs_err::rename(&unfinished, &path)?;
    }
    Ok(fs_err::read_to_string(&path)?.trim().to_owned())
}

/// Copies the guest's binary to a name by its digest. Running sessions have an older one mounted, and keep it.
fn install_guest(binary: &Path, data: &Path) -> io::Result<PathBuf> {
    let bytes = fs_err::read(binary)?;
    let digest: String = Sha256::digest(&bytes)
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let folder = data.join("guest").join(digest);
    let installed = folder.join("berth-guest");
    if fs_err::exists(&installed)? {
        return Ok(installed);
    }
    fs_err::create_dir_all(&folder)?;
    let unfinished = folder.join("new");
    fs_err::write(&unfinished, bytes)?;
    fs_err::set_permissions(&unfinished, PermissionsExt::from_mode(0o755))?;
    fs_err::rename(&unfinished, &installed)?;
    Ok(installed)
}

/// The tools that the guest's own table lists.
async fn guest_tools(binary: &Path) -> Result<Vec<ToolSpec>, StartError> {
    let fail = |reason: String| StartError::Guest {
        path: binary.display().to_string(),
        reason,
    };
    let output = tokio::process::Command::new(binary)
        .arg("tools")
        .output()
        .await
        .map_err(|error| fail(error.to_string()))?;
    if !output.status.success() {
        return Err(fail(format!(
            "{}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| fail(error.to_string()))
}
