//! A recipe: the folder that says how one layer is made, and what is declared about images that end with it.
//!
//! ```text
//! recipe.toml        the fields of this file
//! setup.sh           optional; run in the image at the end, as root, by `sh -eu`
//! files/             optional; copied into the image, root's and 0644 unless `[modes]` says otherwise
//! requirements.txt   if `[python]` names it
//! ```
//!
//! Parsing is strict: an unknown field, a bad name or a file that is not there is an error that names both recipe
//! and field. Pure: files come in as bytes.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::image::{Desktop, User};
use crate::name::is_name;

/// The files of one recipe by their path in its folder.
pub(crate) type RecipeFiles = BTreeMap<String, Vec<u8>>;

/// The name of the file that every recipe has.
pub(crate) const RECIPE_FILE: &str = "recipe.toml";
const SETUP_FILE: &str = "setup.sh";
const OVERLAY_FOLDER: &str = "files/";

/// One recipe, checked.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    pub name: String,
    pub image_names: Vec<String>,
    pub from: Option<String>,
    pub languages: Vec<String>,
    pub debian: Debian,
    pub python: Option<Python>,
    pub desktop: Option<Desktop>,
    pub user: Option<User>,
    pub limits: LimitsPart,
    pub overlay: Vec<OverlayFile>,
    pub setup: Option<Vec<u8>>,
}

/// A file to copy into the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OverlayFile {
    /// Absolute, as seen in the image.
    pub path: String,
    pub mode: u32,
    pub content: Vec<u8>,
}

/// Python packages to install.
#[derive(Debug, Clone)]
pub(crate) struct Python {
    pub version: String,
    pub requirements: Vec<u8>,
}

/// Debian packages, and for the lowest recipe where they come from.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Debian {
    pub suite: Option<String>,
    pub mirror: Option<String>,
    pub security_mirror: Option<String>,
    #[serde(default)]
    pub packages: Vec<String>,
}

/// Those limits that a recipe sets; the others come from the recipes below it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitsPart {
    pub memory_bytes: Option<u64>,
    pub cpus: Option<f64>,
    pub pids: Option<u32>,
    pub disk_bytes: Option<u64>,
    pub inodes: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecipeToml {
    #[serde(default)]
    names: Vec<String>,
    from: Option<String>,
    #[serde(default)]
    languages: Vec<String>,
    #[serde(default)]
    debian: Debian,
    python: Option<PythonToml>,
    #[serde(default)]
    modes: BTreeMap<String, String>,
    desktop: Option<Desktop>,
    user: Option<User>,
    #[serde(default)]
    limits: LimitsPart,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PythonToml {
    version: String,
    requirements: String,
}

impl Recipe {
    /// Reads the recipe `name` from the files of its folder.
    pub fn parse(name: &str, files: &RecipeFiles) -> Result<Self> {
        let wrong = |field: &str, problem: String| Error::Recipe {
            recipe: name.to_owned(),
            field: field.to_owned(),
            problem,
        };
        let text = files
            .get(RECIPE_FILE)
            .ok_or_else(|| wrong(RECIPE_FILE, "is not there".to_owned()))?;
        let text = std::str::from_utf8(text).map_err(|_| wrong(RECIPE_FILE, "is not UTF-8".to_owned()))?;
        let toml: RecipeToml = toml::from_str(text).map_err(|source| Error::RecipeSyntax {
            recipe: format!("{name}/{RECIPE_FILE}"),
            source: Box::new(source),
        })?;

        if let Some(bad) = toml.names.iter().find(|name| !is_name(name)) {
            return Err(wrong("names", format!("has `{bad}`; {}", crate::name::RULE)));
        }
        if toml.from.as_deref() == Some(name) {
            return Err(wrong("from", "names the recipe itself".to_owned()));
        }
        if let Some(bad) = toml.languages.iter().find(|language| !is_name(language)) {
            return Err(wrong("languages", format!("has `{bad}`; {}", crate::name::RULE)));
        }
        check_debian(&toml.debian, toml.from.is_some()).map_err(|(field, problem)| wrong(field, problem))?;
        check_limits(&toml.limits).map_err(|field| wrong(field, "has to be more than 0".to_owned()))?;
        if let Some(user) = &toml.user {
            check_user(user).map_err(|(field, problem)| wrong(field, problem))?;
        }
        if let Some(desktop) = &toml.desktop
            && !is_plain_absolute(&desktop.command)
        {
            return Err(wrong(
                "desktop.command",
                format!("is `{}`; an absolute path is expected", desktop.command),
            ));
        }

        let python = toml.python.map(|python| {
            let valid = python.version.split('.').count() == 2
                && python.version.split('.').all(|part| part.parse::<u16>().is_ok());
            if !valid {
                let problem = format!("is `{}`; two numbers such as `3.13` are expected", python.version);
                return Err(wrong("python.version", problem));
            }
            let requirements = files.get(&python.requirements).ok_or_else(|| {
                wrong(
                    "python.requirements",
                    format!("names `{}`, which is not there", python.requirements),
                )
            })?;
            Ok(Python {
                version: python.version,
                requirements: requirements.clone(),
            })
        });

        let overlay = overlay(files, &toml.modes).map_err(|problem| wrong("modes", problem))?;
        Ok(Self {
            name: name.to_owned(),
            image_names: toml.names,
            from: toml.from,
            languages: toml.languages,
            debian: toml.debian,
            python: python.transpose()?,
            desktop: toml.desktop,
            user: toml.user,
            limits: toml.limits,
            overlay,
            setup: files.get(SETUP_FILE).cloned(),
        })
    }
}

fn overlay(files: &RecipeFiles, modes: &BTreeMap<String, String>) -> Result<Vec<OverlayFile>, String> {
    let mut overlay = Vec::new();
    for (path, content) in files {
        let Some(path) = path.strip_prefix(OVERLAY_FOLDER) else {
            continue;
        };
        let path = format!("/{path}");
        let mode = match modes.get(&path) {
            None => 0o644,
            Some(text) => u32::from_str_radix(text, 8)
                .ok()
                .filter(|mode| text.len() == 4 && *mode <= 0o7777)
                .ok_or_else(|| format!("gives `{path}` the mode `{text}`; four octal digits are expected"))?,
        };
        overlay.push(OverlayFile {
            path,
            mode,
            content: content.clone(),
        });
    }
    match modes
        .keys()
        .find(|path| !overlay.iter().any(|file| file.path == **path))
    {
        Some(path) => Err(format!("names `{path}`, which is not in the recipe's `files`")),
        None => Ok(overlay),
    }
}

fn check_debian(debian: &Debian, has_parent: bool) -> Result<(), (&'static str, String)> {
    let origin = [
        ("debian.suite", &debian.suite),
        ("debian.mirror", &debian.mirror),
        ("debian.security_mirror", &debian.security_mirror),
    ];
    for (field, value) in origin {
        match value {
            Some(_) if has_parent => {
                return Err((field, "is for a recipe without `from`; remove it".to_owned()));
            }
            None if !has_parent => {
                return Err((
                    field,
                    "is not there; a recipe without `from` says where Debian comes from".to_owned(),
                ));
            }
            Some(value) if !value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\'') => {
                return Err((
                    field,
                    format!("is `{value}`; printable ASCII without spaces is expected"),
                ));
            }
            _ => {}
        }
    }
    // Policy 5.6.1; nothing that apt would take for an option, a version or a file.
    let is_package = |name: &str| {
        name.len() >= 2
            && name.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
            && name
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'+' | b'-' | b'.'))
    };
    match debian.packages.iter().find(|name| !is_package(name)) {
        Some(bad) => Err((
            "debian.packages",
            format!("has `{bad}`, which is not the name of a Debian package"),
        )),
        None => Ok(()),
    }
}

fn check_limits(limits: &LimitsPart) -> Result<(), &'static str> {
    let numbers = [
        ("limits.memory_bytes", limits.memory_bytes),
        ("limits.pids", limits.pids.map(u64::from)),
        ("limits.disk_bytes", limits.disk_bytes),
        ("limits.inodes", limits.inodes),
    ];
    match numbers.into_iter().find(|(_, value)| *value == Some(0)) {
        Some((field, _)) => Err(field),
        None if limits.cpus.is_some_and(|cpus| !(cpus > 0.0 && cpus.is_finite())) => Err("limits.cpus"),
        None => Ok(()),
    }
}

fn check_user(user: &User) -> Result<(), (&'static str, String)> {
    if !is_name(&user.name) {
        return Err(("user.name", format!("is `{}`; {}", user.name, crate::name::RULE)));
    }
    // A session has 65,536 ids, of which the last is nobody's.
    for (field, id) in [("user.uid", user.uid), ("user.gid", user.gid)] {
        if !(1..65_535).contains(&id) {
            return Err((field, format!("is {id}; 1 to 65534 are possible")));
        }
    }
    if !is_plain_absolute(&user.home) {
        return Err((
            "user.home",
            format!("is `{}`; an absolute path is expected", user.home),
        ));
    }
    Ok(())
}

/// Absolute, and without empty, `.` or `..` parts.
fn is_plain_absolute(path: &str) -> bool {
    path.strip_prefix('/')
        .is_some_and(|rest| rest.split('/').all(|part| !matches!(part, "" | "." | "..")))
}

#[cfg(test)]
#[path = "recipe_tests.rs"]
mod tests;
