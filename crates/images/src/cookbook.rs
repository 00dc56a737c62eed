//! Where recipes come from, and how they stand on each other.
//!
//! A [`Cookbook`] is all recipes of a folder, or of the `images/` folder that was built into this program. A
//! [`Chain`] is one recipe with those below it: it knows each one's key, and what is declared about images.
//!
//! A key is the digest of everything that shapes a layer: the builder's version, the recipe's packages, files,
//! scripts and requirements, and the key of the recipe below. Names, languages and limits shape no layer and are not
//! in it, so changing them builds nothing.

use std::collections::BTreeMap;
use std::path::Path;

use rust_embed::RustEmbed;

use crate::digest::{Digest, InputHasher};
use crate::error::{Error, Result, StoreContext as _};
use crate::image::{Facts, Limits};
use crate::name::is_name;
use crate::recipe::{RECIPE_FILE, Recipe, RecipeFiles};

/// Part of every key. Raise it when the builder makes something else from the same recipe.
const BUILDER_VERSION: &str = "1";

/// More recipes than this on top of each other are a mistake; overlayfs has a limit as well.
const MAX_CHAIN_LENGTH: usize = 16;

/// No file of a recipe is larger: recipes are read into memory whole.
const MAX_FILE_BYTES: u64 = 64 << 20;

#[derive(RustEmbed)]
#[folder = "../../images"]
struct BuiltIn;

/// A set of recipes.
#[derive(Debug, Clone)]
pub struct Cookbook {
    recipes: BTreeMap<String, Recipe>,
}

impl Cookbook {
    /// The recipes that came with this program.
    pub fn built_in() -> Result<Self> {
        let files = BuiltIn::iter().filter_map(|path| {
            let content = BuiltIn::get(&path)?.data.into_owned();
            let (recipe, path) = path.split_once('/')?;
            Some((recipe.to_owned(), path.to_owned(), content))
        });
        Self::from_files(files)
    }

    /// The recipes in `folder`: each folder in it that has a `recipe.toml`.
    pub fn read(folder: &Path) -> Result<Self> {
        let mut files = Vec::new();
        for entry in fs_err::read_dir(folder).while_trying_to("read the recipes")? {
            let entry = entry.while_trying_to("read the recipes")?;
            if !entry.path().join(RECIPE_FILE).is_file() {
                continue;
            }
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            read_files(&name, &entry.path(), "", &mut files)?;
        }
        Self::from_files(files)
    }

    fn from_files(files: impl IntoIterator<Item = (String, String, Vec<u8>)>) -> Result<Self> {
        let mut folders: BTreeMap<String, RecipeFiles> = BTreeMap::new();
        for (recipe, path, content) in files {
            folders.entry(recipe).or_default().insert(path, content);
        }
        folders.retain(|_, files| files.contains_key(RECIPE_FILE));

        let mut recipes = BTreeMap::new();
        let mut owners: BTreeMap<String, String> = BTreeMap::new();
        for (name, files) in folders {
            if !is_name(&name) {
                return Err(wrong(
                    &name,
                    "the folder's name",
                    format!("is no name; {}", crate::name::RULE),
                ));
            }
            let recipe = Recipe::parse(&name, &files)?;
            for image in &recipe.image_names {
                if let Some(other) = owners.insert(image.clone(), name.clone()) {
                    return Err(wrong(
                        &name,
                        "names",
                        format!("has `{image}`, which `{other}` serves as well"),
                    ));
                }
            }
            recipes.insert(name, recipe);
        }
        Ok(Self { recipes })
    }

    /// The recipes that serve images, by name.
    pub fn serving(&self) -> impl Iterator<Item = &str> {
        self.recipes
            .values()
            .filter(|recipe| !recipe.image_names.is_empty())
            .map(|recipe| recipe.name.as_str())
    }

    /// The chain for `name`, which is a recipe's or an image's.
    pub(crate) fn chain(&self, name: &str) -> Result<Chain<'_>> {
        let top = self
            .recipes
            .get(name)
            .or_else(|| {
                self.recipes
                    .values()
                    .find(|recipe| recipe.image_names.iter().any(|image| image == name))
            })
            .ok_or_else(|| Error::UnknownRecipe {
                name: name.to_owned(),
                known: self.known(),
            })?;

        let mut links = vec![top];
        while let Some(from) = &links[links.len() - 1].from {
            let current = links[links.len() - 1];
            if links.len() == MAX_CHAIN_LENGTH {
                let problem = format!("leads down more than {MAX_CHAIN_LENGTH} recipes, perhaps in a circle");
                return Err(wrong(&top.name, "from", problem));
            }
            let below = self.recipes.get(from).ok_or_else(|| {
                wrong(
                    &current.name,
                    "from",
                    format!("names `{from}`; there are {}", self.known()),
                )
            })?;
            links.push(below);
        }
        links.reverse();
        Chain::new(links)
    }

    fn known(&self) -> String {
        let names: Vec<_> = self
            .recipes
            .values()
            .flat_map(|recipe| std::iter::once(&recipe.name).chain(&recipe.image_names))
            .map(|name| format!("`{name}`"))
            .collect();
        if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        }
    }
}

/// A recipe and those it stands on, lowest first, each with its key.
#[derive(Debug)]
pub(crate) struct Chain<'a> {
    pub links: Vec<(&'a Recipe, Digest)>,
    pub facts: Facts,
}

impl<'a> Chain<'a> {
    fn new(recipes: Vec<&'a Recipe>) -> Result<Self> {
        let mut links: Vec<(&Recipe, Digest)> = Vec::new();
        let mut languages: Vec<String> = Vec::new();
        let mut desktop = None;
        let mut user = None;
        let mut limits = Limits::default();
        for recipe in recipes {
            for language in &recipe.languages {
                if !languages.contains(language) {
                    languages.push(language.clone());
                }
            }
            desktop = recipe.desktop.clone().or(desktop);
            user = recipe.user.clone().or(user);
            let part = &recipe.limits;
            limits = Limits {
                memory_bytes: part.memory_bytes.unwrap_or(limits.memory_bytes),
                cpus: part.cpus.unwrap_or(limits.cpus),
                pids: part.pids.unwrap_or(limits.pids),
                disk_bytes: part.disk_bytes.unwrap_or(limits.disk_bytes),
                inodes: part.inodes.unwrap_or(limits.inodes),
            };
            let below = links.last().map(|(_, key)| *key);
            links.push((recipe, key(recipe, below, user.as_ref())));
        }
        let user = user.ok_or_else(|| {
            wrong(
                &links[0].0.name,
                "user",
                "is not there; a recipe says who works in a session".to_owned(),
            )
        })?;
        Ok(Self {
            links,
            facts: Facts {
                languages,
                desktop,
                user,
                limits,
            },
        })
    }

    /// The recipe that the chain is for.
    pub fn top(&self) -> (&'a Recipe, Digest) {
        self.links[self.links.len() - 1]
    }
}

fn key(recipe: &Recipe, below: Option<Digest>, user: Option<&crate::image::User>) -> Digest {
    let mut inputs = InputHasher::new();
    inputs.add("builder", BUILDER_VERSION.as_bytes());
    inputs.add("architecture", std::env::consts::ARCH.as_bytes());
    if let Some(below) = below {
        inputs.add("below", below.to_string().as_bytes());
    }
    let debian = &recipe.debian;
    for (name, value) in [
        ("suite", &debian.suite),
        ("mirror", &debian.mirror),
        ("security mirror", &debian.security_mirror),
    ] {
        inputs.add(name, value.as_deref().unwrap_or_default().as_bytes());
    }
    for package in &debian.packages {
        inputs.add("package", package.as_bytes());
    }
    if let Some(python) = &recipe.python {
        inputs.add("python version", python.version.as_bytes());
        inputs.add("python requirements", &python.requirements);
    }
    // Files below its home belong to the user.
    if let Some(user) = user {
        inputs.add(
            "user",
            format!("{} {} {}", user.uid, user.gid, user.home).as_bytes(),
        );
    }
    for file in &recipe.overlay {
        inputs.add(&format!("file {:04o} {}", file.mode, file.path), &file.content);
    }
    if let Some(setup) = &recipe.setup {
        inputs.add("setup", setup);
    }
    inputs.finish()
}

fn read_files(
    recipe: &str,
    folder: &Path,
    prefix: &str,
    files: &mut Vec<(String, String, Vec<u8>)>,
) -> Result<()> {
    for entry in fs_err::read_dir(folder).while_trying_to("read a recipe's files")? {
        let entry = entry.while_trying_to("read a recipe's files")?;
        let name = entry.file_name();
        let name = name.to_str().ok_or_else(|| {
            wrong(
                recipe,
                &entry.path().to_string_lossy(),
                "is not named in UTF-8".to_owned(),
            )
        })?;
        let path = format!("{prefix}{name}");
        let kind = entry.file_type().while_trying_to("read a recipe's files")?;
        if kind.is_dir() {
            read_files(recipe, &entry.path(), &format!("{path}/"), files)?;
        } else if kind.is_file() {
            let size = entry.metadata().while_trying_to("read a recipe's files")?.len();
            if size > MAX_FILE_BYTES {
                return Err(wrong(
                    recipe,
                    &path,
                    format!("has {size} bytes; {MAX_FILE_BYTES} are possible"),
                ));
            }
            let content = fs_err::read(entry.path()).while_trying_to("read a recipe's files")?;
            files.push((recipe.to_owned(), path, content));
        } else {
            return Err(wrong(
                recipe,
                &path,
                "is neither a file nor a folder; make links in setup.sh".to_owned(),
            ));
        }
    }
    Ok(())
}

fn wrong(recipe: &str, field: &str, problem: String) -> Error {
    Error::Recipe {
        recipe: recipe.to_owned(),
        field: field.to_owned(),
        problem,
    }
}

#[cfg(test)]
#[path = "cookbook_tests.rs"]
mod tests;
