//! Sandboxes on this machine, made by an OCI runtime.
//!
//! [`Local`] is the server's side of it: what all its sandboxes share, and the order of calls for one id. What is done to
//! the machine is in `launch` and `removal`, which block and run on threads of their own.

mod launch;
mod places;
mod record;
pub(crate) mod registry;
mod removal;
mod running;

use std::{
    collections::{BTreeSet, HashMap},
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::{OwnedMutexGuard, RwLock, Semaphore, oneshot};

use crate::{
    AddressBlock, Failures, GuestAddress, Sandbox, SandboxError, SandboxId, Sandboxes, Spec, StepError,
    cgroup::Cgroups,
    network::{
        dns::{Forwarder, Resolvers},
        firewall::Firewall,
        uplink::Uplinks,
    },
    root::{disk::Templates, layers::Layers, stage::Stage},
    runtime::Runtime,
};

use self::{
    places::{Places, lock_within, make_folder, remove_tree},
    record::Record,
    registry::Registry,
    running::LocalSandbox,
};

/// Sandboxes that are put together at once; the work is the processor's.
const LAUNCHES: usize = 4;

/// How long a server that is just ending, or a process that it was about to start, may still hold the directory.
const LOCK_LIMIT: Duration = Duration::from_secs(2);

/// How sandboxes are run on this machine.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folders of sandboxes with their disks. Belongs to one server, and no session can write to it.
    pub state_dir: PathBuf,
    /// Sockets and claims, common to all servers of the machine.
    pub run_dir: PathBuf,
    /// Name or path of the OCI runtime.
    pub runtime: String,
    /// Addresses of sandboxes.
    pub address_block: AddressBlock,
    /// Where DNS queries of sandboxes go; empty for the host's own resolvers.
    pub resolvers: Vec<SocketAddr>,
}

impl Config {
    /// The defaults, for a server that keeps its sandboxes in `state_dir`.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            run_dir: "/run/berth".into(),
            runtime: "runc".into(),
            address_block: AddressBlock::default(),
            resolvers: Vec::new(),
        }
    }
}

/// Sandboxes on this machine. Cheap to clone. Dropping the last clone ends nothing: sandboxes go on, and the next server
/// with the same directory adopts them.
#[derive(Clone)]
pub struct Local {
    server: Arc<Server>,
}

/// What all sandboxes of a server share.
struct Server {
    tag: String,
    places: Places,
    registry: Registry,
    cgroups: Cgroups,
    runtime: Runtime,
    stage: Stage,
    layers: Layers,
    templates: Templates,
    uplinks: Uplinks,
    firewall: Firewall,
    address_block: AddressBlock,
    /// Sandboxes that are watched.
    running: Mutex<HashMap<SandboxId, Arc<LocalSandbox>>>,
    /// One lock for each id with a call under way.
    turns: Mutex<HashMap<SandboxId, Weak<tokio::sync::Mutex<()>>>>,
    launches: Semaphore,
    /// Read while a sandbox is made, so that its parent cgroup is not removed meanwhile.
    making: RwLock<()>,
    _forwarder: Forwarder,
    /// Says to other servers that the state directory is in use. Released by the kernel.
    _lock: File,
}

impl Local {
    /// Prepares this machine. In a tokio runtime, which then also runs the DNS forwarder and the watchers.
    pub async fn start(config: Config) -> Result<Self, SandboxError> {
        Self::try_start(config)
            .await
            .map(|server| Self {
                server: Arc::new(server),
            })
            .map_err(SandboxError::Start)
    }

    async fn try_start(config: Config) -> Result<Server, StepError> {
        let resolvers = match config.resolvers.as_slice() {
            [] => Resolvers::File("/etc/resolv.conf".into()),
            fixed => Resolvers::Fixed(fixed.to_vec()),
        };
        let forwarder = Forwarder::start(config.address_block, resolvers)
            .await
            .map_err(StepError::system("listen for the dns queries of sandboxes"))?;
        blocking("start", move || Server::prepare(config, forwarder)).await?
    }
}

#[async_trait]
impl Sandboxes for Local {
    async fn create(&self, id: &SandboxId, spec: &Spec) -> Result<Sandbox, SandboxError> {
        spec.check()?;
        let (server, id, spec) = (self.server.clone(), id.clone(), spec.clone());
        let lost = SandboxError::Create {
            id: id.clone(),
            source: StepError::Lost("create"),
        };
        // A task of its own: a caller that goes away must not leave a sandbox half made.
        tokio::spawn(async move { server.create(id, spec).await })
            .await
            .unwrap_or(Err(lost))
    }

    async fn adopt(&self, id: &SandboxId) -> Result<Option<Sandbox>, SandboxError> {
        let _turn = self.server.turn(id).await;
        self.server.adopt(id).map_err(|source| SandboxError::Adopt {
            id: id.clone(),
            source,
        })
    }

    async fn destroy(&self, id: &SandboxId) -> Result<(), SandboxError> {
        let (server, id) = (self.server.clone(), id.clone());
        let mut lost = Failures::default();
        lost.note(Err(StepError::Lost("destroy")));
        let lost = SandboxError::Destroy {
            id: id.clone(),
            failures: lost,
        };
        tokio::spawn(async move { server.destroy(id).await })
            .await
            .unwrap_or(Err(lost))
    }

    async fn list(&self) -> Result<Vec<SandboxId>, SandboxError> {
        let server = self.server.clone();
        let listed = blocking("list", move || server.list()).await;
        listed.and_then(|listed| listed).map_err(SandboxError::List)
    }

    async fn stop(&self) -> Result<(), SandboxError> {
        let server = self.server.clone();
        let stopped = blocking("stop", move || server.stop()).await;
        stopped.and_then(|stopped| stopped).map_err(SandboxError::Start)
    }
}

impl Server {
    fn prepare(config: Config, forwarder: Forwarder) -> Result<Self, StepError> {
        make_folder(&config.state_dir, 0o700)?;
        make_folder(&config.run_dir, 0o711)?;
        // In one form for ever: claims are compared by path.
        let state = canonical(&config.state_dir)?;
        let run = canonical(&config.run_dir)?;
        let own = Places::server(&state);
        make_folder(&own, 0o700)?;
        let lock = lock_within(&own.join("lock"), LOCK_LIMIT)?;
        let lock = lock.ok_or_else(|| StepError::InUse(state.clone()))?;

        let block = config.address_block;
        let registry = Registry::open(run.clone(), state.clone(), block.capacity())?;
        registry.remove_stale()?;
        registry.remove_stale_servers(|tag| remove_server(&run, tag, block))?;
        let tag_file = own.join("tag");
        let last = fs_err::read_to_string(&tag_file).ok().filter(|tag| is_tag(tag));
        let tag = registry.server_tag(last.as_deref())?;
        fs_err::write(&tag_file, &tag).map_err(StepError::path("write", &tag_file))?;

        let places = Places {
            state,
            run: run.join(&tag),
        };
        places.make()?;
        let cgroups = cgroups_of(&tag)?;
        let uplinks = Uplinks::default();
        uplinks.prepare()?;
        let firewall = Firewall {
            tag: tag.clone(),
            block,
            dns_port: forwarder.port(),
        };
        firewall.apply()?;
        Ok(Self {
            registry,
            cgroups,
            runtime: Runtime {
                program: config.runtime,
                state: places.runtime(),
            },
            stage: Stage::build(places.stage())?,
            layers: Layers::default(),
            templates: Templates::new(places.templates()),
            uplinks,
            firewall,
            address_block: block,
            running: Mutex::default(),
            turns: Mutex::default(),
            launches: Semaphore::new(LAUNCHES),
            making: RwLock::default(),
            tag,
            places,
            _forwarder: forwarder,
            _lock: lock,
        })
    }

    fn stop(&self) -> Result<(), StepError> {
        if !self.list()?.is_empty() {
            return Ok(());
        }
        self.firewall.remove()?;
        self.cgroups.remove_parent()?;
        // Holds empty folders now. The stage is mounted only in this server's own namespace.
        remove_tree(&self.places.run)?;
        self.registry.release_tag(&self.tag)
    }

    async fn create(self: Arc<Self>, id: SandboxId, spec: Spec) -> Result<Sandbox, SandboxError> {
        let _turn = self.turn(&id).await;
        let _making = self.making.read().await;
        // Never closed.
        let _launch = self.launches.acquire().await;
        if self.places.of(&id).folder.exists() || self.cgroups.of(&id).exists() {
            return Err(SandboxError::Exists(id));
        }
        let started = {
            let (server, id) = (self.clone(), id.clone());
            on_thread("sandbox-launch", move || launch::launch(&server, &id, &spec)).await
        };
        let made = started
            .and_then(|process| LocalSandbox::watch(&id, process, &self.places.of(&id), &self.cgroups));
        match made {
            Ok(sandbox) => Ok(self.hand_out(&id, sandbox)),
            Err(source) => {
                let (server, of) = (self.clone(), id.clone());
                let removed = blocking("removal", move || removal::remove(&server, &of)).await;
                if let Ok(failures) = removed
                    && !failures.is_empty()
                {
                    // The caller hears of the first error only; this one stays in `list` and can be destroyed.
                    tracing::warn!(sandbox.id = %id, %failures, "could not remove all of sandbox `{id}`, which failed");
                }
                Err(SandboxError::Create { id, source })
            }
        }
    }

    fn adopt(&self, id: &SandboxId) -> Result<Option<Sandbox>, StepError> {
        let known = self.running().get(id).cloned();
        if let Some(sandbox) = known {
            return Ok((!sandbox.has_ended()).then(|| self.hand_out(id, sandbox)));
        }
        let places = self.places.of(id);
        let process = Record::read(&places.record())?.and_then(|record| record.process);
        let Some(process) = process.map(|process| process.open()).transpose()?.flatten() else {
            return Ok(None);
        };
        let sandbox = LocalSandbox::watch(id, process, &places, &self.cgroups)?;
        Ok(Some(self.hand_out(id, sandbox)))
    }

    fn hand_out(&self, id: &SandboxId, sandbox: Arc<LocalSandbox>) -> Sandbox {
        self.running().insert(id.clone(), sandbox.clone());
        Sandbox::new(id.clone(), GuestAddress::Unix(self.places.of(id).socket), sandbox)
    }

    async fn destroy(self: Arc<Self>, id: SandboxId) -> Result<(), SandboxError> {
        let _turn = self.turn(&id).await;
        if let Some(sandbox) = self.running().get(&id) {
            sandbox.will_be_destroyed();
        }
        let (server, of) = (self.clone(), id.clone());
        let removed = blocking("removal", move || removal::remove(&server, &of)).await;
        let failures = removed.unwrap_or_else(|error| {
            let mut failures = Failures::default();
            failures.note(Err(error));
            failures
        });
        if !failures.is_empty() {
            return Err(SandboxError::Destroy { id, failures });
        }
        self.running().remove(&id);
        if let Ok(_alone) = self.making.try_write()
            && let Err(error) = self.cgroups.remove_parent()
        {
            tracing::debug!(%error, "could not remove the parent cgroup");
        }
        Ok(())
    }

    /// Ids of folders and of cgroups. A sandbox's folder is made first and removed last, so the cgroups matter only if
    /// somebody else removed a folder.
    fn list(&self) -> Result<Vec<SandboxId>, StepError> {
        let state = &self.places.state;
        let mut ids = BTreeSet::new();
        for entry in fs_err::read_dir(state).map_err(StepError::path("list", state))? {
            let entry = entry.map_err(StepError::path("list", state))?;
            ids.extend(entry.file_name().to_str().and_then(|name| name.parse().ok()));
        }
        ids.extend(self.cgroups.names()?.iter().filter_map(|name| name.parse().ok()));
        Ok(ids.into_iter().collect())
    }

    /// Waits until no other call for this id is under way.
    async fn turn(&self, id: &SandboxId) -> OwnedMutexGuard<()> {
        let lock = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, lock| lock.strong_count() > 0);
            let lock = turns.get(id).and_then(Weak::upgrade).unwrap_or_default();
            turns.insert(id.clone(), Arc::downgrade(&lock));
            lock
        };
        lock.lock_owned().await
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<SandboxId, Arc<LocalSandbox>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cgroups_of(tag: &str) -> Result<Cgroups, StepError> {
    Cgroups::find(Path::new("/sys/fs/cgroup"), format!("berth-{tag}"))
}

/// Removes what a server leaves that ended without stopping, and whose directory was deleted.
fn remove_server(run: &Path, tag: &str, block: AddressBlock) -> Result<(), StepError> {
    if !is_tag(tag) {
        return Ok(());
    }
    Firewall {
        tag: tag.to_owned(),
        block,
        dns_port: 0,
    }
    .remove()?;
    cgroups_of(tag)?.remove_parent()?;
    remove_tree(&run.join(tag))
}

fn canonical(path: &Path) -> Result<PathBuf, StepError> {
    fs_err::canonicalize(path).map_err(StepError::path("resolve", path))
}

fn is_tag(text: &str) -> bool {
    text.len() == 4
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Runs short blocking work.
async fn blocking<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StepError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| StepError::Lost(name))
}

/// Runs work that changes the thread itself, on one that ends afterwards.
async fn on_thread<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> Result<T, StepError> + Send + 'static,
) -> Result<T, StepError> {
    let (sender, receiver) = oneshot::channel();
    std::thread::Builder::new()
        .name(name.into())
        .spawn(move || sender.send(work()))
        .map_err(StepError::system("start a thread"))?;
    receiver.await.map_err(|_| StepError::Lost(name))?
}
