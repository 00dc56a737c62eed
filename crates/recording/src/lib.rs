//! Recordings of a session's screen: the live view's messages and the tool calls beside them, on one clock, in one file.
//!
//! ```text
//! live view --> film --> Writer --> FILE.berthrec --> Reader --> player page (byte ranges)
//! tool calls ------^                                        \--> Canvas --> VP8 --> WebM
//! ```
//!
//! In: messages as a live view's server sends them, events as JSON. Out: a file in the format of [`format`](mod@format), which a page
//! plays and [`export()`] turns into WebM. A recorder is a viewer that looks and does nothing else, so where nothing moves
//! nothing is written.
//!
//! Never: HTTP; a length of a file or a message that is believed without a limit, for a session chose what is in them.
//!
//! Start reading at [`format`](mod@format), then [`film()`], which is the recorder, and [`Reader`].

mod canvas;
mod event;
mod export;
mod file;
mod film;
pub mod format;
mod pace;
mod reader;
mod webm;
mod writer;

pub use canvas::{Canvas, CanvasError};
pub use event::{Event, OUTPUT_BYTES_MAX, ToolCall};
pub use export::{Export, ExportError, export};
pub use file::{Recording, RecordingError};
pub use film::{End, Told, View, film};
pub use format::{About, FormatError};
pub use pace::Paced;
pub use reader::{Contents, EventAt, Reader, Record, Segment};
pub use writer::{Progress, Writer};
