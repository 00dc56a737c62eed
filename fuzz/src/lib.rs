//! What the fuzz targets share: how a row of messages is one input.

/// Cuts an input into messages, each behind its length, a `u32`. The last one may be shorter than it says, so that
/// every input is a row of messages.
pub fn messages(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = data.split_first_chunk()?;
        let length = u32::from_le_bytes(*length) as usize;
        let (message, rest) = rest.split_at(length.min(rest.len()));
        data = rest;
        Some(message)
    })
}
