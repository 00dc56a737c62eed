//! `search_files`: files and directories by name, below a directory. In: absolute path, pattern, patterns to leave out.
//! Out: one absolute path a line.

use std::path::Path;
use std::time::{Duration, Instant};

use berth_guest_api::ToolResult;
use globset::{GlobBuilder, GlobMatcher};
use schemars::JsonSchema;
use serde::Deserialize;
use walkdir::WalkDir;

use super::text::Text;
use super::{Spec, Tool, ToolError};
use crate::files::{self, FileError};
use crate::guest::Guest;

/// Paths in one answer.
const PATHS_MAX: usize = 10_000;

/// How long one search may take. It occupies one of the few threads that work with files.
const TIME_MAX: Duration = Duration::from_secs(30);

/// What clients take for "nothing".
const NOTHING: &str = "No matches found";

pub(super) struct SearchFiles;

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Args {
    /// Absolute path of the directory to search in.
    path: Text,
    /// A glob (`*.txt`, `src/**/*.rs`), matched against names, or against paths below the directory when it holds a
    /// slash; or a plain word, found anywhere in a name, in upper or lower case.
    pattern: Text,
    /// Patterns of the same form. What they match is left out, with everything below it.
    #[serde(rename = "excludePatterns")]
    exclude: Option<Vec<Text>>,
}

/// One pattern.
enum Pattern {
    Word(String),
    Name(GlobMatcher),
    Path(GlobMatcher),
}

impl Tool for SearchFiles {
    const SPEC: Spec = Spec {
        name: "search_files",
        server: "wuying_filesystem",
        description: "Finds files and directories by name below a directory: by a glob such as *.txt, or by a word that \
                      is part of the name. Does not look into files; use the shell (rg) for that.",
    };
    type Args = Args;

    async fn run(args: Args, guest: Guest) -> Result<ToolResult, ToolError> {
        let path = files::absolute(&args.path.0)?;
        let pattern = Pattern::new("pattern", &args.pattern.0)?;
        let exclude = args.exclude.unwrap_or_default();
        let exclude: Vec<Pattern> = exclude
            .iter()
            .map(|text| Pattern::new("excludePatterns", &text.0))
            .collect::<Result<_, _>>()?;
        let found = guest.files.run(move || search(&path, &pattern, &exclude)).await?;
        Ok(ToolResult::text(found))
    }
}

impl Pattern {
    fn new(field: &'static str, text: &str) -> Result<Self, ToolError> {
        let wrong = |got: String| ToolError::Field {
            field,
            got,
            allowed: "a word, or a glob such as `*.txt` or `src/**/*.rs`",
        };
        if text.is_empty() {
            return Err(wrong("empty".into()));
        }
        if !text.contains(['*', '?', '[', '{']) && !text.contains('/') {
            return Ok(Self::Word(text.to_lowercase()));
        }
        let in_path = text.contains('/');
        let glob = GlobBuilder::new(text.trim_matches('/'))
            .literal_separator(true)
            .build()
            .map_err(|error| wrong(format!("`{text}` ({})", error.kind())))?;
        let glob = glob.compile_matcher();
        Ok(if in_path {
            Self::Path(glob)
        } else {
            Self::Name(glob)
        })
    }

    /// Whether it means the entry `below` the searched directory.
    fn matches(&self, below: &Path) -> bool {
        let name = below.file_name().unwrap_or_default();
        match self {
            Self::Word(word) => name.to_string_lossy().to_lowercase().contains(word),
            Self::Name(glob) => glob.is_match(Path::new(name)),
            Self::Path(glob) => glob.is_match(below),
        }
    }
}

fn search(path: &Path, pattern: &Pattern, exclude: &[Pattern]) -> Result<String, FileError> {
    files::check_directory(path, "search")?;
    let began = Instant::now();
    let mut found = Vec::new();
    let below = |entry: &Path| entry.strip_prefix(path).map(Path::to_owned).unwrap_or_default();
    // Links are listed and not followed: they may lead back up.
    let mut entries = WalkDir::new(path).min_depth(1).sort_by_file_name().into_iter();
    let mut note = None;
    while let Some(entry) = entries.next() {
        if began.elapsed() > TIME_MAX {
            note = Some(format!(
                "(stopped after {} s; search in a smaller directory)",
                TIME_MAX.as_secs()
            ));
            break;
        }
        // What may not be read is not there for this user.
        let Ok(entry) = entry else { continue };
        let below = below(entry.path());
        if exclude.iter().any(|pattern| pattern.matches(&below)) {
            if entry.file_type().is_dir() {
                entries.skip_current_dir();
            }
            continue;
        }
        if pattern.matches(&below) {
            if found.len() == PATHS_MAX {
                note = Some(format!("(more than {PATHS_MAX} matches; use a narrower pattern)"));
                break;
            }
            // A line end inside a name would make two paths of one.
            found.push(entry.path().to_string_lossy().replace('\n', "\\n"));
        }
    }
    if found.is_empty() && note.is_none() {
        return Ok(NOTHING.into());
    }
    found.extend(note);
    Ok(found.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, below: &str) -> bool {
        Pattern::new("pattern", pattern)
            .unwrap()
            .matches(Path::new(below))
    }

    #[test]
    fn a_word_is_part_of_a_name_in_any_case() {
        assert!(matches("match", "a/MyMatches.txt"));
        assert!(matches("test.txt", "a/test.txt"));
        assert!(!matches("a", "a/b"));
    }

    #[test]
    fn a_glob_without_slash_is_about_the_name() {
        assert!(matches("*.txt", "deep/down/a.txt"));
        assert!(!matches("*.txt", "a.txt/b"));
        assert!(matches("[ab]?.{rs,py}", "x/a1.py"));
    }

    #[test]
    fn a_glob_with_a_slash_is_about_the_path() {
        assert!(matches("src/**/*.rs", "src/a/b.rs"));
        assert!(matches("**/b.rs", "src/a/b.rs"));
        assert!(!matches("src/*.rs", "src/a/b.rs"));
    }

    #[test]
    fn a_broken_glob_is_refused() {
        let error = Pattern::new("pattern", "a[").err().unwrap().to_string();
        assert!(error.contains("`pattern`") && error.contains("a["), "{error}");
    }
}
