//! Wire types of the AGB API: what the official clients send and what they read.
//!
//! In: bodies and query values as the clients write them, which is lenient (missing members, `null`, JSON inside
//! strings). Out: the one response envelope, with its codes. No I/O, no knowledge of sessions; `berth-server` maps its
//! own errors to a [`Code`] in one place.
//!
//! Start reading at [`envelope`] for what every answer looks like, [`requests`] and [`responses`] for the rest;
//! [`own`] holds what is Berth's and not the AGB API's.

pub mod code;
pub mod envelope;
pub mod labels;
pub mod own;
pub mod requests;
pub mod responses;

pub use code::Code;
pub use labels::{LabelError, Labels};
