//! Names of images and recipes: they are also names of files, so only what is harmless as one is a name.

/// What [`is_name`] asks for, as the end of a message.
pub(crate) const RULE: &str =
    "a name has 1 to 63 lower-case letters, digits, `.`, `_` and `-`, and begins with a letter or a digit";

/// Whether `text` can be the name of an image or a recipe.
pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
        && text
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_leads_elsewhere_is_a_name() {
        for good in ["agb-code-space-1", "base", "a", "1.2_x"] {
            assert!(is_name(good), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "A",
            "-x",
            ".x",
            "a b",
            "a\0",
            "ä",
            &"a".repeat(64),
        ] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
