//! What the holder of a live view ticket may do: said by the edge when it opens a view, kept by the guest.

use std::fmt;

/// One thing that the holder of a ticket may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ViewRight {
    /// See the screen. Every ticket has it.
    View,
    /// Move the pointer and press keys.
    Control,
    /// Put text into the session's clipboard: from the page to the session.
    ClipboardIn,
    /// Read the session's clipboard: from the session to the page.
    ClipboardOut,
    /// Put files into the session and take files out of it.
    Files,
}

impl ViewRight {
    /// All there are, in the order in which they are written.
    pub const ALL: [ViewRight; 5] = [
        ViewRight::View,
        ViewRight::Control,
        ViewRight::ClipboardIn,
        ViewRight::ClipboardOut,
        ViewRight::Files,
    ];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            ViewRight::View => "view",
            ViewRight::Control => "control",
            ViewRight::ClipboardIn => "clipboard-in",
            ViewRight::ClipboardOut => "clipboard-out",
            ViewRight::Files => "files",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of rights. As text it is their words with commas between them; [`ViewRight::View`] is always in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ViewRights(u8);

/// A word that is no right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is no right; allowed: {}", Self::allowed())]
pub struct UnknownRight {
    /// The word, or its beginning.
    pub word: String,
}

impl UnknownRight {
    /// The words there are, as a message shows them.
    pub fn allowed() -> String {
        ViewRights::ALL.words().collect::<Vec<_>>().join(", ")
    }
}

impl ViewRights {
    /// Only to look.
    pub const VIEW: ViewRights = ViewRights(1);
    /// Everything, as the URL that a session's owner gets.
    pub const ALL: ViewRights = ViewRights(0b1_1111);

    /// Reads words with commas between them. No words are [`ViewRights::VIEW`].
    pub fn parse(text: &str) -> Result<Self, UnknownRight> {
        Self::from_words(text.split(',').map(str::trim).filter(|word| !word.is_empty()))
    }

    /// The set of these words.
    pub fn from_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, UnknownRight> {
        words.into_iter().try_fold(Self::VIEW, |Self(bits), word| {
            let right = ViewRight::ALL.into_iter().find(|right| right.word() == word);
            right
                .map(|right| Self(bits | right.bit()))
                .ok_or_else(|| UnknownRight {
                    word: word.chars().take(40).collect(),
                })
        })
    }

    /// Is it one of them?
    pub fn has(self, right: ViewRight) -> bool {
        self.0 & right.bit() != 0
    }

    /// The words of those that are in it.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        ViewRight::ALL
            .into_iter()
            .filter(move |right| self.has(*right))
            .map(ViewRight::word)
    }
}

impl fmt::Display for ViewRights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for bits in 0..=0b1_1111 {
            let rights = ViewRights(bits | ViewRight::View.bit());
            assert_eq!(ViewRights::parse(&rights.to_string()), Ok(rights));
        }
        assert_eq!(
            ViewRights::ALL.to_string(),
            "view,control,clipboard-in,clipboard-out,files"
        );
    }

    #[test]
    fn every_set_can_look() {
        assert_eq!(ViewRights::parse(""), Ok(ViewRights::VIEW));
        let files = ViewRights::parse(" files , files,").unwrap();
        assert_eq!(files.to_string(), "view,files");
        assert!(files.has(ViewRight::View) && files.has(ViewRight::Files) && !files.has(ViewRight::Control));
    }

    #[test]
    fn an_unknown_word_is_refused_with_those_that_there_are() {
        for bad in [
            "view,fly",
            "Control",
            "clipboard",
            "control clipboard-in",
            "\u{1b}",
        ] {
            let refused = ViewRights::parse(bad).unwrap_err().to_string();
            assert!(
                refused.ends_with("allowed: view, control, clipboard-in, clipboard-out, files"),
                "{refused}"
            );
        }
        let long = ViewRights::parse(&"x".repeat(10_000)).unwrap_err();
        assert_eq!(long.word.len(), 40);
    }
}
