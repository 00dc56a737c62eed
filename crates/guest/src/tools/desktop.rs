//! The tools of the desktop, by what they use.

pub(super) mod apps;
pub(super) mod control;
pub(super) mod keyboard;
pub(super) mod mouse;
pub(super) mod screen;
pub(super) mod windows;

/// The group of all of them.
const SERVER: &str = "wuying_computer";
