//! The live view's messages, both ways, little endian. Byte 0 is the kind.
//!
//! [`server`] writes what the page reads; [`page`] reads what the page wrote, which is a stranger's input: every
//! length is checked, nothing is kept that is longer than its limit.

pub mod page;
pub mod server;

/// Version of the format, said by both ends in their first message.
pub const VERSION: u8 = 1;

/// Why a message of the page was refused. The viewer that sent it is to be closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Not even a kind.
    #[error("a message without bytes")]
    Empty,
    /// A kind that this version does not know.
    #[error("unknown message kind {0}")]
    Kind(u8),
    /// Shorter or longer than its kind allows.
    #[error("`{message}` has {got} bytes where {expected} are due")]
    Length {
        /// Name of the message.
        message: &'static str,
        /// Bytes after the kind.
        got: usize,
        /// Bytes that were due, or the limit.
        expected: usize,
    },
    /// A version that this server does not speak.
    #[error("the page speaks version {0} of the live view, this server version 1; reload the page")]
    Version(u8),
    /// A value outside what a field allows.
    #[error("`{field}` is {got}; allowed: {allowed}")]
    Value {
        /// `message.field`.
        field: &'static str,
        /// What came.
        got: u32,
        /// What may come.
        allowed: &'static str,
    },
    /// Text that is not UTF-8.
    #[error("`{0}` is not UTF-8")]
    Text(&'static str),
    /// Something came before the first hello, or another one after it.
    #[error("`{0}` is out of place: one hello comes first")]
    Order(&'static str),
    /// An acknowledgement of an update that was never sent.
    #[error("update {0} is acknowledged but was not sent")]
    Acknowledged(u32),
    /// The screen does not take input as fast as it comes.
    #[error("input comes faster than the screen takes it: {0} messages wait")]
    Overrun(usize),
}
