//! Reads the tree and fails when one of its rules is broken. Each failure says what to do.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Lines after which a file wants to be two.
const FILE_LINES_MAX: usize = 600;

/// Names that say nothing of what is inside.
const EMPTY_NAMES: [&str; 8] = [
    "util", "utils", "helper", "helpers", "common", "manager", "misc", "stuff",
];

/// Which crate may stand on which. A crate that is missing here may stand on none of ours.
const MAY_STAND_ON: [(&str, &[&str]); 13] = [
    ("guest-client", &["guest-api"]),
    (
        "control",
        &["guest-api", "guest-client", "images", "sandbox", "store"],
    ),
    (
        "server",
        &["agb-api", "control", "guest-api", "guest-client", "recording"],
    ),
    ("guest", &["codec", "guest-api", "screen"]),
    ("screen", &["codec"]),
    ("client", &["agb-api"]),
    (
        "cli",
        &[
            "client",
            "control",
            "images",
            "recording",
            "sandbox",
            "server",
            "store",
            "webhook",
        ],
    ),
    ("webhook", &["store"]),
    ("recording", &["codec"]),
    ("agb-api", &[]),
    ("guest-api", &[]),
    ("store", &[]),
    ("sandbox", &[]),
];

/// Libraries that a crate must not know: HTTP stays at the edge, I/O out of the contracts.
const MUST_NOT_KNOW: [(&str, &[&str]); 7] = [
    ("control", &["axum", "hyper"]),
    ("recording", &["axum", "hyper", "reqwest", "tokio-tungstenite"]),
    ("store", &["axum", "hyper"]),
    ("sandbox", &["axum", "hyper", "sqlx"]),
    ("agb-api", &["tokio", "axum", "hyper"]),
    ("client", &["axum", "sqlx", "clap"]),
    ("guest-api", &["tokio", "axum", "hyper"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// All files of the tree that are ours, relative to its root.
fn files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                let foreign = [
                    "target",
                    "node_modules",
                    "dist",
                    "artifacts",
                    "__pycache__",
                    ".git",
                    ".venv",
                ];
                if !foreign.contains(&name.as_str()) && !path.is_symlink() {
                    folders.push(path);
                }
            } else {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn rust_files() -> Vec<PathBuf> {
    files()
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

fn read(path: impl AsRef<Path>) -> String {
    fs_err::read_to_string(root().join(path)).unwrap()
}

fn crates() -> BTreeSet<String> {
    let folders = fs_err::read_dir(root().join("crates")).unwrap();
    folders
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect()
}

fn manifest(name: &str) -> toml::Table {
    read(format!("crates/{name}/Cargo.toml")).parse().unwrap()
}

fn dependencies(name: &str) -> BTreeSet<String> {
    let manifest = manifest(name);
    let table = manifest.get("dependencies").and_then(|value| value.as_table());
    table
        .map(|table| table.keys().cloned().collect())
        .unwrap_or_default()
}

fn none(what: &str, broken: Vec<String>) {
    assert!(broken.is_empty(), "{what}:\n  {}", broken.join("\n  "));
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = rust_files()
        .into_iter()
        .filter(|path| !read(path).trim_start().starts_with("//!"));
    none(
        "begin these files with `//!` and a sentence",
        silent.map(|path| path.display().to_string()).collect(),
    );
}

#[test]
fn every_crate_opens_with_where_to_start() {
    let libraries = crates().into_iter().filter(|name| name != "tidy");
    let lost = libraries.filter(|name| {
        let path = root().join(format!("crates/{name}/src/lib.rs"));
        path.exists() && !read(&path).to_lowercase().contains("start reading at")
    });
    none(
        "say `Start reading at ...` in the docs of these crates",
        lost.collect(),
    );
}

#[test]
fn no_name_is_empty() {
    let empty = files().into_iter().filter(|path| {
        path.components().any(|part| {
            let name = part.as_os_str().to_string_lossy();
            EMPTY_NAMES.contains(&name.split('.').next().unwrap_or_default())
        })
    });
    none(
        "name these for what is in them",
        empty.map(|path| path.display().to_string()).collect(),
    );
}

#[test]
fn files_can_be_read_in_a_sitting() {
    let long = files().into_iter().filter_map(|path| {
        let code = ["rs", "ts", "py", "css"];
        let is_code = path
            .extension()
            .is_some_and(|extension| code.iter().any(|code| extension == *code));
        let lines = if is_code { read(&path).lines().count() } else { 0 };
        (lines > FILE_LINES_MAX).then(|| format!("{}: {lines} lines", path.display()))
    });
    none("ask what the second subject of these files is", long.collect());
}

#[test]
fn dependencies_point_one_way() {
    let allowed: BTreeMap<_, _> = MAY_STAND_ON.into_iter().collect();
    let mut broken = Vec::new();
    for name in crates() {
        for dependency in dependencies(&name) {
            let Some(dependency) = dependency.strip_prefix("berth-") else {
                continue;
            };
            if !allowed
                .get(name.as_str())
                .is_some_and(|allowed| allowed.contains(&dependency))
            {
                broken.push(format!("{name} -> {dependency}"));
            }
        }
    }
    none(
        "these crates must not stand on each other (see ARCHITECTURE.md)",
        broken,
    );
}

#[test]
fn layers_do_not_know_what_they_must_not() {
    let mut broken = Vec::new();
    for (name, libraries) in MUST_NOT_KNOW {
        let known = dependencies(name);
        broken.extend(
            libraries
                .iter()
                .filter(|library| known.contains(**library))
                .map(|it| format!("{name} -> {it}")),
        );
    }
    none("these layers know a library that belongs to another", broken);
}

#[test]
fn every_route_is_in_the_document() {
    let hidden = rust_files()
        .into_iter()
        .filter(|path| path.starts_with("crates/server") && read(path).contains(".route("))
        // Not routes of the server: one page for one person, with no API.
        .filter(|path| !path.ends_with("src/player.rs"));
    none(
        "add these routes with `routes!`, which describes them too (see crates/server/src/openapi.rs)",
        hidden.map(|path| path.display().to_string()).collect(),
    );
}

#[test]
fn the_map_names_every_crate() {
    let map = read("ARCHITECTURE.md");
    let missing = crates()
        .into_iter()
        .filter(|name| !map.contains(&format!("`crates/{name}`")));
    none("name these in ARCHITECTURE.md", missing.collect());
}

#[test]
fn every_decision_is_listed() {
    let list = read("docs/decisions/README.md");
    let pages = files()
        .into_iter()
        .filter(|path| path.starts_with("docs/decisions"));
    let missing = pages.filter_map(|path| {
        let name = path.file_name()?.to_string_lossy().into_owned();
        (name != "README.md" && !list.contains(&name)).then_some(name)
    });
    none("list these in docs/decisions/README.md", missing.collect());
}

#[test]
fn unsafe_code_is_where_it_is_announced() {
    let listed = read("docs/unsafe.md");
    let mut broken = Vec::new();
    for path in rust_files()
        .into_iter()
        .filter(|path| path.starts_with("crates") && !path.ends_with("tidy.rs"))
    {
        let text = read(&path);
        let uses = text.lines().any(|line| {
            let line = line.trim_start();
            !line.starts_with("//")
                && (line.contains("unsafe {") || line.contains("unsafe fn") || line.contains("unsafe impl"))
        });
        let is_listed = listed.contains(&format!("`{}`", path.display()));
        if uses && !is_listed {
            broken.push(format!(
                "{}: has unsafe code; list it in docs/unsafe.md with what proves it",
                path.display()
            ));
        }
        if !uses && is_listed {
            broken.push(format!(
                "{}: has no unsafe code any more; take it out of docs/unsafe.md",
                path.display()
            ));
        }
    }
    none("unsafe code", broken);
}

#[test]
fn nothing_is_left_for_later_in_the_code() {
    let marks = [
        "TO\u{44}O",
        "FIX\u{4d}E",
        "XX\u{58}",
        "unimplemented\u{21}",
        "tod\u{6f}!(",
    ];
    let mut found = Vec::new();
    for path in files() {
        let code = ["rs", "ts", "py", "sh", "toml"];
        if path
            .extension()
            .is_some_and(|extension| code.iter().any(|code| extension == *code))
        {
            let text = read(&path);
            found.extend(
                marks
                    .iter()
                    .filter(|mark| text.contains(**mark))
                    .map(|mark| format!("{}: {mark}", path.display())),
            );
        }
    }
    none("finish these or file an issue", found);
}
