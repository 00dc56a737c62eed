//! What can go wrong with images. One enum for the crate: a variant names the step and its subject.

use std::io;
use std::path::PathBuf;

/// Why an image could not be read, built or removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A recipe says something that it must not.
    #[error("recipe `{recipe}`: `{field}` {problem}")]
    Recipe {
        /// The recipe's file or folder.
        recipe: String,
        /// The field or file in it.
        field: String,
        /// What is wrong, and what is expected.
        problem: String,
    },
    /// `recipe.toml` is not TOML, or has a field that is unknown or of another type.
    #[error("recipe `{recipe}` cannot be read")]
    RecipeSyntax {
        /// The recipe's file.
        recipe: String,
        /// Names line and field.
        source: Box<toml::de::Error>,
    },
    /// No recipe and no image has this name.
    #[error("no recipe or image is called `{name}`; there are {known}")]
    UnknownRecipe {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The store holds no image of this name.
    #[error("no image is called `{name}`; `berth image list` shows the images there are")]
    UnknownImage {
        /// The name asked for.
        name: String,
    },
    /// Reading or writing the store failed; the source names the path.
    #[error("the image store could not {action}")]
    Store {
        /// What was being done.
        action: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// Something stands in the store that this version did not put there.
    #[error("`{path}` is not a manifest of an image: {problem}; build the image again")]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A program that the build runs is not installed.
    #[error("`{program}` is not installed; `apt-get install {package}` brings it")]
    MissingProgram {
        /// The program.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// Building needs root: it mounts, and makes files of other owners.
    #[error("building an image needs root; run it as root or with sudo")]
    NotRoot,
    /// A program could not be started, or its output not be read.
    #[error("`{program}` could not be run for `{recipe}`")]
    Run {
        /// The recipe being built.
        recipe: String,
        /// The program.
        program: String,
        /// The cause.
        source: io::Error,
    },
    /// A step of the build failed.
    #[error("building `{recipe}` failed while {step}: {status}\n{output}")]
    Step {
        /// The recipe being built.
        recipe: String,
        /// What was being done.
        step: String,
        /// How the program ended.
        status: String,
        /// The last lines that it wrote.
        output: String,
    },
    /// The build was asked to stop.
    #[error("the build was interrupted; nothing half-made is left in the store")]
    Interrupted,
}

/// Short for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Names the action that failed on the store.
pub(crate) trait StoreContext<T> {
    fn while_trying_to(self, action: &'static str) -> Result<T>;
}

impl<T> StoreContext<T> for io::Result<T> {
    fn while_trying_to(self, action: &'static str) -> Result<T> {
        self.map_err(|source| Error::Store { action, source })
    }
}

impl<T> StoreContext<T> for rustix::io::Result<T> {
    fn while_trying_to(self, action: &'static str) -> Result<T> {
        self.map_err(|errno| Error::Store {
            action,
            source: errno.into(),
        })
    }
}
