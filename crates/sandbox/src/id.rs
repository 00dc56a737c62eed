//! The name of a sandbox. It becomes a folder, a cgroup, a socket and a container id, so its form is narrow.

use std::{fmt, str::FromStr, sync::Arc};

/// Longest id in bytes; the guest's socket path must fit into `sun_path`.
const MAX_LENGTH: usize = 64;

/// A valid sandbox id: 1 to 64 ASCII letters, digits, `-` and `_`, starting with a letter or digit.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SandboxId(Arc<str>);

/// The text is no [`SandboxId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("sandbox id {0:?} is not 1 to 64 letters, digits, `-` and `_`, starting with a letter or digit")]
pub struct InvalidId(String);

impl SandboxId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SandboxId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let bytes = text.as_bytes();
        let inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let valid = bytes.len() <= MAX_LENGTH
            && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.iter().all(inner);
        if valid {
            Ok(Self(text.into()))
        } else {
            // The text may come from anywhere: keep the message short.
            Err(InvalidId(text.chars().take(MAX_LENGTH + 1).collect()))
        }
    }
}

impl fmt::Display for SandboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SandboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_that_are_names_are_taken() {
        for id in ["a", "0", "session-04bdw_X", &"x".repeat(64)] {
            assert_eq!(id.parse::<SandboxId>().unwrap().as_str(), id);
        }
    }

    #[test]
    fn anything_that_could_leave_its_folder_is_refused() {
        for id in [
            "",
            ".",
            "..",
            "a/b",
            "-a",
            "_a",
            ".a",
            "a b",
            "a\0",
            "ä",
            &"x".repeat(65),
        ] {
            assert!(id.parse::<SandboxId>().is_err(), "{id:?}");
        }
    }

    proptest! {
        #[test]
        fn a_valid_id_is_one_path_component(text in "\\PC{0,70}") {
            if let Ok(id) = text.parse::<SandboxId>() {
                let path = std::path::Path::new(id.as_str());
                prop_assert_eq!(path.components().count(), 1);
                prop_assert!(matches!(path.components().next(), Some(std::path::Component::Normal(_))));
            }
        }
    }
}
