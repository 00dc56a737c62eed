//! The root file system of a sandbox: read-only layers below, its own disk above, ids shifted by the kernel.
//!
//! Everything here that mounts runs on a thread of its own, in a copy of the server's mount namespace. See
//! [`stage::Stage`] for the places in it.

pub(crate) mod disk;
pub(crate) mod layers;
pub(crate) mod overlay;
pub(crate) mod stage;
