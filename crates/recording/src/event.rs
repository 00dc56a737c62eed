//! What happens beside the screen: tool calls, and what the recorder has to say.

use serde::{Deserialize, Serialize};

/// Bytes of a tool's arguments that are kept.
pub const ARGUMENTS_BYTES_MAX: usize = 4 << 10;

/// Bytes of a tool's answer that are kept.
pub const OUTPUT_BYTES_MAX: usize = 16 << 10;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Event {
    /// A tool was called, and has answered.
    Tool(ToolCall),
    /// The recorder says why something is missing.
    Note {
        /// For a person.
        text: String,
    },
}

/// A tool call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ToolCall {
    /// The tool.
    pub name: String,
    /// Who called: the API key's name; empty when a session's token was shown.
    pub who: String,
    /// JSON as it came, cut.
    pub arguments: String,
    /// The answer as it came, cut, or why there is none.
    pub output: String,
    /// Bytes that are not in here.
    pub cut: u64,
    /// It failed.
    pub failed: bool,
    /// Milliseconds that it took.
    pub duration: u64,
}

impl ToolCall {
    /// A call of `name`, with no more of it than is kept.
    pub fn new(name: &str, arguments: &[u8], output: &[u8]) -> Self {
        let (arguments, cut) = kept(arguments, ARGUMENTS_BYTES_MAX);
        let (output, more) = kept(output, OUTPUT_BYTES_MAX);
        Self {
            name: name.to_owned(),
            arguments,
            output,
            cut: cut + more,
            ..Self::default()
        }
    }
}

/// The beginning of `bytes` as text, and how much is left out.
fn kept(bytes: &[u8], most: usize) -> (String, u64) {
    let mut end = bytes.len().min(most);
    // Not inside a character; no character is longer than four bytes.
    while end < bytes.len() && end > most.saturating_sub(4) && bytes[end] & 0xC0 == 0x80 {
        end -= 1;
    }
    let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
    (text, (bytes.len() - end) as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_kept_is_a_beginning(text in ".{0,40}", most in 4usize..60) {
            let (shown, cut) = kept(text.as_bytes(), most);
            prop_assert!(text.starts_with(&shown) && shown.len() <= most);
            prop_assert_eq!(shown.len() as u64 + cut, text.len() as u64);
        }

        #[test]
        fn bytes_that_are_no_text_are_bounded_too(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let (shown, _) = kept(&bytes, 20);
            prop_assert!(shown.len() <= 60);
        }
    }

    #[test]
    fn an_event_is_json_that_fits() {
        let call = ToolCall::new("shell", &[1; 100_000], &[b'"'; 100_000]);
        let text = serde_json::to_string(&Event::Tool(call.clone())).unwrap();
        assert!(text.len() <= crate::format::TEXT_BYTES_MAX, "{}", text.len());
        assert!(text.starts_with(r#"{"kind":"tool","name":"shell""#), "{text}");
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), Event::Tool(call));
    }
}
