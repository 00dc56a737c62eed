//! The warm pool: ready sandboxes that wait for a session, per image.
//!
//! A reconciler keeps the pool at its size: it runs when nudged (a sandbox was taken) and on a timer, compares what is
//! there with what should be, and makes one at a time, once nobody has asked for a session for a moment. So refilling
//! takes at most one core from the sessions that run, and none from one that was just handed out.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use berth_images::Image;
use berth_sandbox::Sandbox;
use futures_util::FutureExt;
use tokio::sync::Notify;
use tracing::{debug, warn};

use crate::config::WarmImage;
use crate::images::Images;
use crate::sandboxes::{FREE_DISK_MIB_MIN, Maker, free_disk_mib, free_memory_mib};

/// How often the pool is looked at without a nudge.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A sandbox that was just taken is about to be used; making another beside it would slow its first answers.
const QUIET: Duration = Duration::from_millis(400);

/// Under a steady stream of creations the pool is refilled all the same.
const QUIET_WAIT_MAX: Duration = Duration::from_secs(4);

/// The pool leaves at least this much memory to sessions, in MiB.
const LEAVE_FREE_MIB: u64 = 2048;

/// Ready sandboxes, by the key of the image they were made from: two names of one image share them, and an image that
/// was built again has another key.
pub(crate) struct Pool {
    size: usize,
    waiting: Mutex<HashMap<String, VecDeque<Sandbox>>>,
    /// Names of the images that are kept ready, with how many: those that were configured, and those that were used.
    wanted: Mutex<BTreeMap<String, usize>>,
    nudge: Notify,
}

impl Pool {
    /// An empty pool that is to hold `size` sandboxes for each wanted image that does not say otherwise.
    pub(crate) fn new(size: usize, images: &[WarmImage]) -> Self {
        let wanted = images
            .iter()
            .map(|image| (image.name.clone(), image.size.unwrap_or(size)));
        Self {
            size,
            waiting: Mutex::default(),
            wanted: Mutex::new(wanted.collect()),
            nudge: Notify::new(),
        }
    }

    /// Takes a live sandbox of this image, if one is waiting. From now on the pool keeps some of this image.
    pub(crate) fn take(&self, image: &Image) -> Taken {
        lock(&self.wanted).entry(image.name.clone()).or_insert(self.size);
        let mut dead = Vec::new();
        let sandbox = {
            let mut waiting = lock(&self.waiting);
            let queue = waiting.entry(image.key.to_string()).or_default();
            loop {
                match queue.pop_front() {
                    Some(sandbox) if has_ended(&sandbox) => dead.push(sandbox.id().as_str().to_owned()),
                    other => break other,
                }
            }
        };
        self.nudge.notify_one();
        Taken { sandbox, dead }
    }

    /// Puts a ready sandbox into the pool; `key` is that of its image.
    pub(crate) fn put(&self, key: &str, sandbox: Sandbox) {
        lock(&self.waiting)
            .entry(key.to_owned())
            .or_default()
            .push_back(sandbox);
    }

    /// Ready sandboxes, and how many there should be.
    pub(crate) fn depth(&self) -> (usize, usize) {
        let ready = lock(&self.waiting).values().map(VecDeque::len).sum();
        (ready, lock(&self.wanted).values().sum())
    }

    /// The images that are kept ready, with how many sandboxes of each there should be.
    pub(crate) fn wanted(&self) -> Vec<(String, usize)> {
        let wanted = lock(&self.wanted);
        wanted
            .iter()
            .map(|(image, size)| (image.clone(), *size))
            .collect()
    }

    /// Ready sandboxes of an image.
    pub(crate) fn ready(&self, image: &Image) -> usize {
        lock(&self.waiting)
            .get(&image.key.to_string())
            .map_or(0, VecDeque::len)
    }

    /// Keeps the pool at its size, for ever.
    pub(crate) async fn keep_filled(self: Arc<Self>, maker: Arc<Maker>, images: Arc<Images>) {
        loop {
            let mut made = true;
            while made {
                self.quiet().await;
                made = self.step(&maker, &images).await;
            }
            let _ = tokio::time::timeout(LOOK_EVERY, self.nudge.notified()).await;
        }
    }

    /// Waits until no sandbox has been taken for a moment.
    async fn quiet(&self) {
        let quiet = async { while tokio::time::timeout(QUIET, self.nudge.notified()).await.is_ok() {} };
        let _ = tokio::time::timeout(QUIET_WAIT_MAX, quiet).await;
    }

    /// Removes what is no longer wanted, then makes one sandbox for an image that has too few. False when there is
    /// nothing to make, or when it cannot be made now.
    async fn step(&self, maker: &Maker, images: &Images) -> bool {
        let names = lock(&self.wanted).clone();
        let mut wanted: HashMap<String, (Image, usize)> = HashMap::new();
        for (name, size) in names {
            match images.get(&name).await {
                Ok(image) => {
                    let (_, most) = wanted.entry(image.key.to_string()).or_insert((image, size));
                    *most = size.max(*most);
                }
                Err(error) => debug!(
                    error = &error as &dyn std::error::Error,
                    "no pool for image {name}"
                ),
            }
        }
        for id in self.remove_unwanted(&wanted) {
            maker.end(&id).await;
        }
        let Some(image) = self.wanting(&wanted) else {
            return false;
        };
        if free_memory_mib().is_some_and(|free| free < LEAVE_FREE_MIB) {
            debug!("the pool waits for memory");
            return false;
        }
        if free_disk_mib(&maker.guest_binary).is_some_and(|free| free < 2 * FREE_DISK_MIB_MIN) {
            debug!("the pool waits for disk space");
            return false;
        }
        match maker.make(image, true).await {
            Ok(sandbox) => {
                self.put(&image.key.to_string(), sandbox);
                true
            }
            Err(error) => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "could not fill the pool of {}", image.name
                );
                false
            }
        }
    }

    fn wanting<'a>(&self, wanted: &'a HashMap<String, (Image, usize)>) -> Option<&'a Image> {
        let waiting = lock(&self.waiting);
        let short = |key: &String, size: usize| waiting.get(key).map_or(0, VecDeque::len) < size;
        let mut wanted = wanted.iter();
        wanted.find_map(|(key, (image, size))| short(key, *size).then_some(image))
    }

    /// Takes out sandboxes that have died, and those of images that nobody wants.
    fn remove_unwanted(&self, wanted: &HashMap<String, (Image, usize)>) -> Vec<String> {
        let mut removed = Vec::new();
        for (key, queue) in lock(&self.waiting).iter_mut() {
            queue.retain(|sandbox| {
                let keep = wanted.contains_key(key) && !has_ended(sandbox);
                if !keep {
                    removed.push(sandbox.id().as_str().to_owned());
                }
                keep
            });
        }
        removed
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while one is held, and neither map is ever half-changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What came out of the pool.
pub(crate) struct Taken {
    /// A live one.
    pub(crate) sandbox: Option<Sandbox>,
    /// Those that had died while they waited; to be ended.
    pub(crate) dead: Vec<String>,
}

fn has_ended(sandbox: &Sandbox) -> bool {
    sandbox.ended().now_or_never().is_some()
}
