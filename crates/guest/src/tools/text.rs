//! Strings in arguments, as lenient as the clients need.
//!
//! Clients cut long text at UTF-16 units, so JSON may hold half a character (a lone surrogate escape), which strict
//! parsers refuse. It is kept in the form that is called WTF-8, three bytes for the half, until somebody decides.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// Text; half characters have become U+FFFD.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text(pub String);

/// Text that may begin or end with half a character.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Halves(pub Vec<u8>);

impl Halves {
    /// The half character at the end: the first half of a pair.
    pub fn last_half(&self) -> Option<u16> {
        let bytes = self.0.last_chunk::<3>()?;
        half(*bytes).filter(|unit| (0xD800..0xDC00).contains(unit))
    }

    /// The half character at the beginning: the second half of a pair.
    pub fn first_half(&self) -> Option<u16> {
        let bytes = self.0.first_chunk::<3>()?;
        half(*bytes).filter(|unit| (0xDC00..0xE000).contains(unit))
    }

    /// The text, with U+FFFD for each half character. As long as the original in bytes.
    pub fn into_text(self) -> String {
        String::from_utf8(self.0).unwrap_or_else(|error| {
            let mut bytes = error.into_bytes();
            let mut at = 0;
            while at + 2 < bytes.len() {
                if half([bytes[at], bytes[at + 1], bytes[at + 2]]).is_some() {
                    bytes[at..at + 3].copy_from_slice("\u{FFFD}".as_bytes());
                }
                at += 1;
            }
            String::from_utf8_lossy(&bytes).into_owned()
        })
    }
}

/// The surrogate that three bytes of WTF-8 stand for.
fn half(bytes: [u8; 3]) -> Option<u16> {
    let [0xED, second @ 0xA0..=0xBF, third @ 0x80..=0xBF] = bytes else {
        return None;
    };
    Some(0xD000 | u16::from(second & 0x3F) << 6 | u16::from(third & 0x3F))
}

/// The character that two halves make.
pub fn join(first: u16, second: u16) -> Option<char> {
    char::decode_utf16([first, second]).next()?.ok()
}

impl<'de> Deserialize<'de> for Halves {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Halves;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Halves, E> {
                Ok(Halves(bytes.to_vec()))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Halves, E> {
                Ok(Halves(text.as_bytes().to_vec()))
            }
        }
        // As bytes, because only so does the parser let half characters pass.
        deserializer.deserialize_byte_buf(Bytes)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Halves::deserialize(deserializer)?.into_text()))
    }
}

macro_rules! schema_of_a_string {
    ($($name:ident),*) => {$(
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                "string".into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                String::json_schema(generator)
            }
        }
    )*};
}
schema_of_a_string!(Text, Halves);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn halves_are_seen_at_both_ends() {
        let first: Halves = serde_json::from_str(r#""a\ud83d""#).unwrap();
        let second: Halves = serde_json::from_str(r#""\ude00b""#).unwrap();
        let character = join(first.last_half().unwrap(), second.first_half().unwrap());
        assert_eq!(character, Some('😀'));
        assert_eq!(first.first_half(), None);
        assert_eq!(first.clone().into_text(), "a\u{FFFD}");
        assert_eq!(first.into_text().len(), 4);
    }

    #[test]
    fn whole_pairs_are_characters() {
        let text: Text = serde_json::from_str(r#""\ud83d\ude00 and 😀""#).unwrap();
        assert_eq!(text.0, "😀 and 😀");
    }

    #[test]
    fn a_number_is_no_string() {
        assert!(serde_json::from_str::<Text>("7").is_err());
    }

    proptest! {
        #[test]
        fn any_units_cut_anywhere_make_text(units in proptest::collection::vec(any::<u16>(), 0..40)) {
            let escaped: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
            let text: Text = serde_json::from_str(&format!("\"{escaped}\"")).unwrap();
            prop_assert_eq!(text.0, String::from_utf16_lossy(&units));
        }
    }
}
