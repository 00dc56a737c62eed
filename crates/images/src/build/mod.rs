//! Makes layers out of recipes, and images out of layers.
//!
//! For each recipe of a chain, lowest first: if the store has a layer for its key, take it; otherwise fill a folder
//! (`fill`), turn it into an erofs file (`pack`) and let it into the store. Python packages are downloaded beside the
//! first layers, and a layer is packed beside the next one's installation. Only the last step makes an image appear,
//! so a build that stops anywhere leaves at most whole layers, which the next one finds.
//!
//! Start reading at [`build`].

mod fill;
mod pack;
mod program;
mod tools;
mod wheels;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::thread::{self, ScopedJoinHandle};

pub use tools::{REQUIRED_PROGRAMS, RequiredProgram, missing_programs};

use crate::cookbook::{Chain, Cookbook};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::{Image, User};
use crate::interrupt::Interrupt;
use crate::progress::{Event, Progress};
use crate::recipe::Recipe;
use crate::store::{LayerRecord, Store, StoreLock};

/// What every step of a build needs.
#[derive(Clone, Copy)]
struct Context<'a> {
    store: &'a Store,
    lock: &'a StoreLock,
    progress: &'a dyn Progress,
    interrupt: &'a Interrupt,
}

impl Context<'_> {
    fn step(&self, recipe: &str, step: &str) {
        self.progress.report(Event::Step {
            recipe: recipe.to_owned(),
            step: step.to_owned(),
        });
    }
}

/// What to build again although it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Freshness {
    /// Layers whose recipes did not change are taken as they are.
    #[default]
    Keep,
    /// All layers are made again, with the packages that Debian has today.
    Refresh,
}

/// Builds the images of the recipes `names` (of recipes or images; none for all that serve images), or finds them
/// built. Returns the images that can be used now.
///
/// A second build of the same store waits for the first, and finds its work done.
pub fn build(
    store: &Store,
    cookbook: &Cookbook,
    names: &[String],
    freshness: Freshness,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<Vec<Image>> {
    let chains = if names.is_empty() {
        cookbook
            .serving()
            .map(|name| cookbook.chain(name))
            .collect::<Result<Vec<_>>>()?
    } else {
        names
            .iter()
            .map(|name| cookbook.chain(name))
            .collect::<Result<Vec<_>>>()?
    };

    let lock = store.lock(interrupt, || progress.report(Event::Waiting))?;
    store.sweep_tmp(&lock)?;
    let context = Context {
        store,
        lock: &lock,
        progress,
        interrupt,
    };
    // Dropped at the end: the images can be used before the folder with all their files is cleared away.
    let mut work = None;
    let layers = make_layers(context, &chains, freshness, &mut work)?;

    let mut images = Vec::new();
    for chain in &chains {
        let (recipe, key) = chain.top();
        let stack: Vec<LayerRecord> = chain
            .links
            .iter()
            .filter_map(|(_, key)| layers.get(key))
            .cloned()
            .collect();
        for name in &recipe.image_names {
            // A manifest that says the same already is left alone: its time is that of its contents.
            let present = store.image(name).ok().flatten().filter(|image| {
                image.key == key
                    && image.facts == chain.facts
                    && image
                        .layers
                        .iter()
                        .map(|layer| layer.digest)
                        .eq(stack.iter().map(|layer| layer.digest))
            });
            let image = match present {
                Some(image) => image,
                None => {
                    store.add_image(&lock, name, &recipe.name, key, stack.clone(), &chain.facts)?;
                    store
                        .image(name)?
                        .ok_or_else(|| Error::UnknownImage { name: name.clone() })?
                }
            };
            progress.report(Event::ImageDone {
                name: name.clone(),
                size_bytes: image.size_bytes(),
            });
            images.push(image);
        }
    }
    Ok(images)
}

/// The layers of all chains by key: those that the store has, and the others made.
fn make_layers(
    context: Context<'_>,
    chains: &[Chain<'_>],
    freshness: Freshness,
    work: &mut Option<tempfile::TempDir>,
) -> Result<BTreeMap<Digest, LayerRecord>> {
    let mut done = BTreeMap::new();
    let mut missing = false;
    for (recipe, key) in chains.iter().flat_map(|chain| &chain.links) {
        if done.contains_key(key) {
            continue;
        }
        match context
            .store
            .recorded(key)?
            .filter(|_| freshness == Freshness::Keep)
        {
            Some(record) => {
                let (recipe, size_bytes) = (recipe.name.clone(), record.size_bytes);
                context.progress.report(Event::LayerFound { recipe, size_bytes });
                done.insert(*key, record);
            }
            None => missing = true,
        }
    }
    if missing {
        tools::check()?;
        let work = work.insert(context.store.work_folder(context.lock)?);
        Workshop {
            context,
            work: work.path().to_owned(),
            done,
            filled: BTreeMap::new(),
        }
        .run(chains)
    } else {
        Ok(done)
    }
}

/// One build's layers on their way.
struct Workshop<'a> {
    context: Context<'a>,
    work: PathBuf,
    /// Layers that are in the store.
    done: BTreeMap<Digest, LayerRecord>,
    /// Layers that are being packed: what later layers of this build stand on.
    filled: BTreeMap<Digest, PathBuf>,
}

type Packing<'scope> = ScopedJoinHandle<'scope, Result<LayerRecord>>;
type Wheels<'scope> = ScopedJoinHandle<'scope, Result<PathBuf>>;

impl Workshop<'_> {
    fn run(mut self, chains: &[Chain<'_>]) -> Result<BTreeMap<Digest, LayerRecord>> {
        let context = self.context;
        thread::scope(|scope| {
            let mut wheels: BTreeMap<Digest, Wheels<'_>> = BTreeMap::new();
            for (recipe, key) in chains.iter().flat_map(|chain| &chain.links) {
                if let Some(python) = &recipe.python
                    && !self.done.contains_key(key)
                    && !wheels.contains_key(key)
                {
                    let folder = self.work.join(format!("wheels-{key}"));
                    let download = move || wheels::download(context, &recipe.name, python, &folder);
                    wheels.insert(*key, scope.spawn(download));
                }
            }

            let mut packing: Vec<(Digest, Packing<'_>)> = Vec::new();
            for chain in chains {
                for (position, (recipe, key)) in chain.links.iter().enumerate() {
                    if self.done.contains_key(key) || self.filled.contains_key(key) {
                        continue;
                    }
                    let below: Vec<PathBuf> = chain.links[..position]
                        .iter()
                        .map(|(_, key)| self.place_of(key))
                        .collect();
                    let wheels = wheels.remove(key).map(join).transpose()?;
                    let folder = self.work.join(&recipe.name);
                    let diff = self.fill(recipe, &chain.facts.user, &below, wheels, folder)?;
                    self.filled.insert(*key, diff.clone());
                    let file = self.work.join(format!("{}.erofs", recipe.name));
                    let (recipe, key) = (*recipe, *key);
                    packing.push((
                        key,
                        scope.spawn(move || pack::pack(context, recipe, &key, &diff, &file)),
                    ));
                }
            }
            for (key, handle) in packing {
                self.done.insert(key, join(handle)?);
            }
            Ok(self.done)
        })
    }

    fn place_of(&self, key: &Digest) -> PathBuf {
        match (self.filled.get(key), self.done.get(key)) {
            (Some(folder), _) => folder.clone(),
            (None, Some(record)) => self.context.store.layer_path(&record.digest),
            // Chains are worked on lowest first, so one of the two is there.
            (None, None) => self.work.clone(),
        }
    }

    fn fill(
        &self,
        recipe: &Recipe,
        user: &User,
        below: &[PathBuf],
        wheels: Option<PathBuf>,
        folder: PathBuf,
    ) -> Result<PathBuf> {
        fill::fill(
            self.context,
            &fill::Order {
                recipe,
                user,
                below,
                wheels,
                folder,
            },
        )
    }
}

/// Waits for a thread; a panic in it goes on here.
fn join<T>(handle: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    handle
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[cfg(test)]
mod tests;
