//! System calls that the safe libraries lack. Each module is one subject, and all unsafe code of the crate is here.

pub(crate) mod child;
pub(crate) mod loop_device;
pub(crate) mod mounts;
pub(crate) mod pidfd;
pub(crate) mod user_namespace;
