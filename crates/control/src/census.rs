//! What there is at this moment, counted for metrics.

use std::collections::BTreeMap;

use crate::Control;

/// Sessions and waiting sandboxes, counted.
#[derive(Debug, Default)]
pub struct Census {
    /// How many live sessions there are of each image and in each state (`running`, `paused`).
    pub sessions: BTreeMap<(String, &'static str), usize>,
    /// Live views that are open.
    pub viewers: u32,
    /// The pool of each image that is kept ready.
    pub pool: Vec<PoolDepth>,
}

/// The pool of one image.
#[derive(Debug)]
pub struct PoolDepth {
    /// The image's name.
    pub image: String,
    /// Sandboxes that wait for a session.
    pub ready: usize,
    /// How many of them there should be.
    pub wanted: usize,
}

impl Control {
    /// Counts what there is.
    pub async fn census(&self) -> Census {
        let mut sessions = BTreeMap::new();
        let mut viewers = 0;
        for session in self.live_sessions() {
            let state = if session.is_paused() { "paused" } else { "running" };
            *sessions.entry((session.image.clone(), state)).or_default() += 1;
            viewers += session.viewers();
        }
        let mut pool = Vec::new();
        for (image, wanted) in self.pool.wanted() {
            // An image that cannot be read has no sandboxes.
            let ready = match self.images.get(&image).await {
                Ok(found) => self.pool.ready(&found),
                Err(_) => 0,
            };
            pool.push(PoolDepth { image, ready, wanted });
        }
        Census {
            sessions,
            viewers,
            pool,
        }
    }
}
