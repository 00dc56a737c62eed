//! Languages by the names that clients use, and the interpreters that run them.

use std::fmt;

/// A language that code may be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// IPython.
    Python,
    /// Node.
    JavaScript,
    /// Node, after the types were taken out.
    TypeScript,
    /// JShell.
    Java,
    /// R.
    R,
    /// Bash.
    Bash,
}

/// A kind of interpreter. Languages that share one share its variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// For [`Language::Python`].
    Python,
    /// For [`Language::JavaScript`] and [`Language::TypeScript`].
    JavaScript,
    /// For [`Language::Java`].
    Java,
    /// For [`Language::R`].
    R,
    /// For [`Language::Bash`].
    Bash,
}

impl Language {
    /// What may be named, for an error.
    pub const ALLOWED: &str = "`python`, `javascript`, `typescript`, `java`, `r`, `bash`";

    /// The language that `name` means: upper case, space around it and the usual short names are understood.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name.trim().to_ascii_lowercase().as_str() {
            "python" | "python3" | "py" => Self::Python,
            "javascript" | "js" | "node" | "nodejs" => Self::JavaScript,
            "typescript" | "ts" => Self::TypeScript,
            "java" => Self::Java,
            "r" => Self::R,
            "bash" | "sh" | "shell" => Self::Bash,
            _ => return None,
        })
    }

    /// The name that drivers and messages use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::JavaScript => "javascript",
            Self::TypeScript => "typescript",
            Self::Java => "java",
            Self::R => "r",
            Self::Bash => "bash",
        }
    }

    /// What runs it.
    pub fn kind(self) -> Kind {
        match self {
            Self::Python => Kind::Python,
            Self::JavaScript | Self::TypeScript => Kind::JavaScript,
            Self::Java => Kind::Java,
            Self::R => Kind::R,
            Self::Bash => Kind::Bash,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Python => "python",
            Self::JavaScript => "javascript",
            Self::Java => "java",
            Self::R => "R",
            Self::Bash => "bash",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_has_many_names() {
        assert_eq!(Language::named(" PY "), Some(Language::Python));
        assert_eq!(Language::named("NodeJS"), Some(Language::JavaScript));
        assert_eq!(Language::named("R"), Some(Language::R));
        assert_eq!(Language::named("cobol"), None);
        assert_eq!(Language::named(""), None);
    }

    #[test]
    fn every_allowed_name_is_understood() {
        for name in Language::ALLOWED.split(", ") {
            let language = Language::named(name.trim_matches('`'));
            assert_eq!(language.map(Language::name), Some(name.trim_matches('`')));
        }
    }
}
