//! Labels of a session: a small map of strings, sent as JSON text inside a string.

use std::collections::BTreeMap;

/// Labels, sorted by key.
pub type Labels = BTreeMap<String, String>;

/// Labels that a session may have.
pub const LABELS_MAX: usize = 20;
/// Characters in a key.
pub const KEY_CHARS_MAX: usize = 128;
/// Characters in a value.
pub const VALUE_CHARS_MAX: usize = 256;

/// Why a labels text was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LabelError {
    /// Not a JSON object.
    #[error("`labels` must be a JSON object with string values, such as {{\"project\": \"demo\"}}; got {0}")]
    NotAnObject(String),
    /// A value that is not a string.
    #[error("label `{key}` is {got}; allowed: a string")]
    NotAString {
        /// The label's key.
        key: String,
        /// The value, as JSON.
        got: String,
    },
    /// An empty or blank key.
    #[error("a label key is empty; allowed: 1 to {KEY_CHARS_MAX} characters")]
    EmptyKey,
    /// An empty or blank value.
    #[error("label `{key}` is empty; allowed: 1 to {VALUE_CHARS_MAX} characters")]
    EmptyValue {
        /// The label's key.
        key: String,
    },
    /// A key over the limit.
    #[error("label key `{key}...` has {chars} characters; allowed: 1 to {KEY_CHARS_MAX}")]
    LongKey {
        /// How the key begins.
        key: String,
        /// Its length.
        chars: usize,
    },
    /// A value over the limit.
    #[error("label `{key}` has {chars} characters; allowed: 1 to {VALUE_CHARS_MAX}")]
    LongValue {
        /// The label's key.
        key: String,
        /// The value's length.
        chars: usize,
    },
    /// Too many labels.
    #[error("`labels` has {0} members; allowed: at most {LABELS_MAX}")]
    TooMany(usize),
}

/// Reads labels from the JSON text that clients send. An empty text or object is no labels.
pub fn parse(text: &str) -> Result<Labels, LabelError> {
    if text.trim().is_empty() {
        return Ok(Labels::new());
    }
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|_| LabelError::NotAnObject(excerpt(text)))?;
    let object = match value {
        serde_json::Value::Object(object) => object,
        serde_json::Value::Null => return Ok(Labels::new()),
        other => return Err(LabelError::NotAnObject(excerpt(&other.to_string()))),
    };
    if object.len() > LABELS_MAX {
        return Err(LabelError::TooMany(object.len()));
    }
    object
        .into_iter()
        .map(|(key, value)| checked(key, value))
        .collect()
}

fn checked(key: String, value: serde_json::Value) -> Result<(String, String), LabelError> {
    if key.trim().is_empty() {
        return Err(LabelError::EmptyKey);
    }
    let chars = key.chars().count();
    if chars > KEY_CHARS_MAX {
        return Err(LabelError::LongKey {
            key: excerpt(&key),
            chars,
        });
    }
    let serde_json::Value::String(value) = value else {
        return Err(LabelError::NotAString {
            key,
            got: excerpt(&value.to_string()),
        });
    };
    if value.trim().is_empty() {
        return Err(LabelError::EmptyValue { key });
    }
    let chars = value.chars().count();
    if chars > VALUE_CHARS_MAX {
        return Err(LabelError::LongValue { key, chars });
    }
    Ok((key, value))
}

/// The beginning of what a client sent, short enough for a message.
fn excerpt(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_clients_send_is_read() {
        assert_eq!(parse(r#"{"a": "\u00fc"}"#).unwrap()["a"], "ü");
        assert!(parse("{}").unwrap().is_empty());
        assert!(parse("").unwrap().is_empty());
    }

    #[test]
    fn every_refusal_names_the_label() {
        let error = parse(r#"{"n": 1}"#).unwrap_err();
        assert_eq!(error.to_string(), "label `n` is 1; allowed: a string");
        assert_eq!(parse(r#"{" ": "x"}"#).unwrap_err(), LabelError::EmptyKey);
        assert_eq!(
            parse(r#"{"x": ""}"#).unwrap_err(),
            LabelError::EmptyValue { key: "x".into() }
        );
        assert!(matches!(parse("[1]").unwrap_err(), LabelError::NotAnObject(_)));
        let many: Labels = (0..21).map(|n| (format!("k{n}"), "v".to_owned())).collect();
        assert_eq!(
            parse(&serde_json::to_string(&many).unwrap()).unwrap_err(),
            LabelError::TooMany(21)
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,300}") {
            let _ = parse(&text);
        }

        #[test]
        fn what_was_read_reads_the_same_again(
            labels in prop::collection::btree_map("[a-z]{1,20}", "[a-zü字]{1,30}", 0..20)
        ) {
            let text = serde_json::to_string(&labels).unwrap();
            prop_assert_eq!(parse(&text).unwrap(), labels);
        }
    }
}
