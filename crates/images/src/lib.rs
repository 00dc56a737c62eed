//! Images: recipes, the builder that makes layers of them, and the store that keeps the layers.
//!
//! **In:** recipes (a folder each: packages, files, a script, declared facts), from `images/` as built into this
//! crate or from a folder. **Out:** [`Image`]s: a stack of immutable erofs files, lowest first, with what is declared
//! about sessions of it (languages, desktop, user, limits).
//!
//! ```text
//! Cookbook --chain--> builder --layers, manifest--> Store --image(name)--> Image
//! ```
//!
//! Start reading at [`Store::image`] for what a server needs, at [`build`] for how images are made, and at
//! `recipe.rs` for what a recipe can say.
//!
//! Invariants:
//! - A file of the store has its name only when it is whole and on the disk; a manifest is written last.
//! - A layer is never changed: another content is another name.
//! - Building leaves nothing on the host: no mount, no process, no file outside the store, however it ends.
//! - Nothing here is ever called on a request's path except [`Store::image`] and [`Store::list`], which read small files.

mod build;
mod command;
mod cookbook;
mod digest;
mod error;
mod image;
mod interrupt;
mod name;
mod progress;
mod recipe;
mod store;

pub use build::{Freshness, REQUIRED_PROGRAMS, RequiredProgram, build, missing_programs};
pub use command::{BuildArgs, ImageCommand};
pub use cookbook::Cookbook;
pub use digest::{Digest, DigestError};
pub use error::{Error, Result};
pub use image::{Desktop, Facts, Image, Layer, Limits, User};
pub use interrupt::Interrupt;
pub use progress::{Event, Progress, ProgressLines, Size};
pub use store::{Removed, Store};

/// Where the store is unless somebody says otherwise.
pub const DEFAULT_STORE: &str = "/var/lib/berth/images";
