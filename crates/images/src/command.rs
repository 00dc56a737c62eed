//! The commands about images, for every program that offers them: `berth image ...` and `berth-image-build`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::build::{Freshness, build};
use crate::cookbook::Cookbook;
use crate::error::{Result, StoreContext as _};
use crate::interrupt::Interrupt;
use crate::progress::{ProgressLines, Size};
use crate::store::{Removed, Store};

/// What can be done with images.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum ImageCommand {
    /// Make images, or find them made
    Build(BuildArgs),
    /// Show the images there are
    List,
    /// Remove an image and the layers that only it used
    Rm {
        /// The image's name
        name: String,
    },
    /// Remove layers that no image uses any more
    Prune,
}

/// What to build.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct BuildArgs {
    /// Names of images or recipes; all that serve images if there is none
    pub names: Vec<String>,

    /// Folder of recipes to use instead of those that came with this program
    #[arg(long, value_name = "DIR", env = "BERTH_RECIPES")]
    pub recipes: Option<PathBuf>,

    /// Make every layer again, with the packages of today
    #[arg(long)]
    pub refresh: bool,
}

impl ImageCommand {
    /// Runs the command on the store in `images`. The result goes to `output`, progress to standard error.
    pub fn run(&self, images: &Path, output: &mut impl Write) -> Result<()> {
        let store = Store::open(images)?;
        match self {
            Self::Build(args) => args.run(&store),
            Self::List => list(&store, output),
            Self::Rm { name } => say(&store.remove(name)?, &format!("removed {name}, "), output),
            Self::Prune => say(&store.prune()?, "removed ", output),
        }
    }
}

fn say(removed: &Removed, before: &str, output: &mut impl Write) -> Result<()> {
    writeln!(
        output,
        "{before}{} layers, {}",
        removed.layers,
        Size(removed.size_bytes)
    )
    .while_trying_to("say what was removed")
}

impl BuildArgs {
    /// Builds into `store` with progress on standard error, until done or interrupted by a signal.
    pub fn run(&self, store: &Store) -> Result<()> {
        let cookbook = match &self.recipes {
            Some(folder) => Cookbook::read(folder)?,
            None => Cookbook::built_in()?,
        };
        let freshness = if self.refresh {
            Freshness::Refresh
        } else {
            Freshness::Keep
        };
        let interrupt = Interrupt::on_signals().while_trying_to("listen for signals")?;
        let progress = ProgressLines::new(io::stderr());
        build(store, &cookbook, &self.names, freshness, &progress, &interrupt).map(|_| ())
    }
}

fn list(store: &Store, output: &mut impl Write) -> Result<()> {
    let mut text = format!(
        "{:<28} {:<14} {:>6} {:>9}  LANGUAGES\n",
        "NAME", "RECIPE", "LAYERS", "SIZE"
    );
    for image in store.list()? {
        let (layers, size) = (image.layers.len(), Size(image.size_bytes()).to_string());
        let languages = image.facts.languages.join(" ");
        text.push_str(&format!(
            "{:<28} {:<14} {layers:>6} {size:>9}  {languages}\n",
            image.name, image.recipe
        ));
    }
    output
        .write_all(text.as_bytes())
        .while_trying_to("show its images")
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Program {
        #[command(subcommand)]
        command: ImageCommand,
    }

    fn run(store: &Path, args: &[&str]) -> Result<String> {
        let mut output = Vec::new();
        let program = Program::try_parse_from(["image"].iter().chain(args)).unwrap();
        program.command.run(store, &mut output)?;
        Ok(String::from_utf8(output).unwrap())
    }

    #[test]
    fn an_empty_store_lists_nothing_and_removes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let listed = run(folder.path(), &["list"]).unwrap();
        assert_eq!(listed.lines().count(), 1, "{listed}");
        let error = run(folder.path(), &["rm", "agb-code-space-1"]).unwrap_err();
        assert!(error.to_string().contains("`agb-code-space-1`"), "{error}");
    }

    #[test]
    fn an_unknown_image_is_refused_before_anything_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let error = run(folder.path(), &["build", "no-such-1"]).unwrap_err();
        assert!(
            error.to_string().contains("`agb-code-space-1`"),
            "it says which there are: {error}"
        );
        assert_eq!(fs_err::read_dir(folder.path().join("tmp")).unwrap().count(), 0);
    }
}
