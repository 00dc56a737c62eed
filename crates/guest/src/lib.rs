//! The daemon inside a session: runs tools, streams code, shows the desktop, connects to ports.
//!
//! In: requests of the edge on one Unix socket, as `berth-guest-api` describes them. Out: answers, each with a bound
//! on its size. Start reading at [`serve`] (routes), then [`tools`] (the table), [`job`] (programs), [`code`]
//! (interpreters).
//!
//! The guest is root of its sandbox so that the session's work cannot stop it by accident; the work itself always
//! runs as the session's user. The session may still kill or replace anything here (it has `sudo`), so nothing in the
//! guest protects the host: the sandbox does.
//!
//! Never: trust a length, a path or a frame that code of the session made; block a request on code that runs; write
//! to the network.

pub mod activity;
pub mod cgroup;
pub mod code;
pub mod computer;
pub mod desktop;
pub mod environment;
pub mod files;
pub mod frames;
pub mod guest;
pub mod init;
pub mod job;
pub mod listen;
pub mod log;
pub mod metrics;
pub mod output;
pub mod pictures;
pub mod ports;
pub mod process;
pub mod runs;
pub mod serve;
pub mod settings;
mod sound;
pub mod stream;
pub mod tools;
pub mod transfer;
pub mod user;
pub mod view;
pub mod view_files;
pub mod watch;
