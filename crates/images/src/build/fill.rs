//! Fills one layer's folder: Debian's packages, the recipe's files, Python packages, the recipe's script.
//!
//! The lowest layer is what `mmdebstrap` makes; the others are what `layer.sh` changes in an overlay over the layers
//! below. Both run in namespaces of their own, so the host sees none of the mounts and keeps none.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::program::{Line, Program};
use super::tools::KEYRING;
use super::{Context, pack};
use crate::error::{Result, StoreContext as _};
use crate::image::User;
use crate::progress::Event;
use crate::recipe::Recipe;

/// What `layer.sh` does is described in it.
const LAYER_SCRIPT: &str = include_str!("../layer.sh");

/// One layer to fill.
pub(super) struct Order<'a> {
    pub recipe: &'a Recipe,
    pub user: &'a User,
    /// Lowest first: folders of this build and erofs files of the store.
    pub below: &'a [PathBuf],
    /// A folder with wheels and their requirements.
    pub wheels: Option<PathBuf>,
    /// Where to work.
    pub folder: PathBuf,
}

/// Fills the layer; returns the folder that has what it adds to those below.
pub(super) fn fill(context: Context<'_>, order: &Order<'_>) -> Result<PathBuf> {
    let action = "make a folder to work in";
    let name = order.recipe.name.as_str();
    let diff = order.folder.join("diff");
    fs_err::create_dir(&order.folder).while_trying_to(action)?;
    fs_err::create_dir(&diff).while_trying_to(action)?;
    let script = order.folder.join("layer.sh");
    fs_err::write(&script, LAYER_SCRIPT).while_trying_to(action)?;
    let files = stage(order)?;
    let setup = order.recipe.setup.as_ref().map(|setup| {
        let path = order.folder.join("setup.sh");
        fs_err::write(&path, setup).while_trying_to(action)?;
        Ok(path)
    });
    let setup = setup.transpose()?;
    let debs = context.store.cache_folder("debs")?;
    fs_err::create_dir_all(debs.join("partial")).while_trying_to(action)?;

    let packages = if order.below.is_empty() {
        bootstrap(context, order.recipe, &diff, &debs)?;
        String::new()
    } else {
        order.recipe.debian.packages.join(" ")
    };

    // Overlayfs wants the top first.
    let below: Vec<_> = order
        .below
        .iter()
        .rev()
        .map(|path| path.to_string_lossy())
        .collect();
    let path_or_empty = |path: &Option<PathBuf>| path.clone().unwrap_or_default().into_os_string();
    let program = Program::isolated("sh")
        .arg(&script)
        .env("LOWER", below.join(":"))
        .env("WORK", &order.folder)
        .env("PACKAGES", packages)
        .env("DEBS", &debs)
        .env("LISTS", context.store.cache_folder("lists")?)
        .env("WHEELS", path_or_empty(&order.wheels))
        .env("FILES", path_or_empty(&files))
        .env("SETUP", path_or_empty(&setup));
    with_proxy(program).run(name, context.interrupt, |line| {
        if let Some(now) = line.strip_prefix("step:") {
            context.step(name, now);
            return Line::Step(now.to_owned());
        }
        match percent(line) {
            Some((step, percent)) => {
                let (recipe, step) = (name.to_owned(), step.to_owned());
                context.progress.report(Event::Percent {
                    recipe,
                    step,
                    percent,
                });
                Line::Progress
            }
            None => Line::Output,
        }
    })?;
    pack::strip(&diff)?;
    Ok(diff)
}

/// Makes a Debian with the recipe's packages.
fn bootstrap(context: Context<'_>, recipe: &Recipe, diff: &Path, debs: &Path) -> Result<()> {
    let debian = &recipe.debian;
    let origin = |value: &Option<String>| value.clone().unwrap_or_default();
    let (suite, mirror, security) = (
        origin(&debian.suite),
        origin(&debian.mirror),
        origin(&debian.security_mirror),
    );
    let source = |mirror: &str, suite: String| format!("deb [signed-by={KEYRING}] {mirror} {suite} main");

    // What the image's own dpkg is told, this one is told from the first package on.
    let dpkg_options: Vec<String> = recipe
        .overlay
        .iter()
        .filter(|file| file.path.starts_with("/etc/dpkg/dpkg.cfg.d/"))
        .flat_map(|file| {
            String::from_utf8_lossy(&file.content)
                .lines()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| format!("--dpkgopt={line}"))
        .collect();

    let program = Program::isolated("mmdebstrap")
        .args(["--mode=root", "--variant=minbase", "--format=directory"])
        .args(["--aptopt=APT::Install-Recommends \"false\"", "--aptopt=Acquire::Languages \"none\""])
        .args(["--aptopt=Acquire::Retries \"3\"", "--aptopt=Dpkg::Use-Pty \"false\""])
        .args(dpkg_options)
        .arg(format!("--include={}", debian.packages.join(",")))
        // Packages are kept in the cache, which may already have some.
        .arg("--skip=download/empty,essential/unlink,cleanup/apt/cache")
        .arg("--setup-hook=mkdir -p \"$1/var/cache/apt/archives\"")
        .arg("--setup-hook=mount --bind \"$BERTH_DEBS\" \"$1/var/cache/apt/archives\"")
        // Post-install scripts of Java and others want this, although no page goes there.
        .arg("--essential-hook=mkdir -p \"$1/usr/share/man/man1\"")
        .arg("--customize-hook=umount \"$1/var/cache/apt/archives\"")
        .arg("--customize-hook=rm \"$1/etc/apt/apt.conf.d/99mmdebstrap\" \"$1/etc/dpkg/dpkg.cfg.d/99mmdebstrap\"")
        // The recipe's own files say where a session's packages come from, and how names are found.
        .arg("--customize-hook=rm -f \"$1/etc/apt/sources.list\" \"$1/etc/resolv.conf\"")
        .arg(&suite)
        .arg(diff)
        .arg(source(&mirror, suite.clone()))
        .arg(source(&mirror, format!("{suite}-updates")))
        .arg(source(&security, format!("{suite}-security")))
        .env("BERTH_DEBS", debs);
    with_proxy(program).run(&recipe.name, context.interrupt, |line| {
        let Some(now) = line.strip_prefix("I: ") else {
            return Line::Output;
        };
        match bootstrap_step(now) {
            Some(step) => {
                context.step(&recipe.name, step);
                Line::Step(step.to_owned())
            }
            None => Line::Output,
        }
    })
}

/// What `mmdebstrap` is doing, in the words of the other layers; the rest of what it says is detail.
fn bootstrap_step(line: &str) -> Option<&'static str> {
    const STEPS: [(&str, &str); 5] = [
        ("running apt-get update", "reading the package lists"),
        ("downloading packages", "downloading packages"),
        ("extracting archives", "unpacking packages"),
        ("installing essential packages", "installing essential packages"),
        ("installing remaining packages", "installing packages"),
    ];
    STEPS
        .iter()
        .find(|(begins, _)| line.starts_with(begins))
        .map(|(_, step)| *step)
}

/// Writes the recipe's files into a folder, with the owners and modes that they have in the image.
fn stage(order: &Order<'_>) -> Result<Option<PathBuf>> {
    let action = "write a recipe's files";
    if order.recipe.overlay.is_empty() {
        return Ok(None);
    }
    let User { uid, gid, home, .. } = order.user;
    let root = order.folder.join("files");
    for file in &order.recipe.overlay {
        let path = root.join(file.path.trim_start_matches('/'));
        let folder = path.parent().unwrap_or(&root);
        fs_err::create_dir_all(folder).while_trying_to(action)?;
        fs_err::write(&path, &file.content).while_trying_to(action)?;
        fs_err::set_permissions(&path, PermissionsExt::from_mode(file.mode)).while_trying_to(action)?;
        let home = root.join(home.trim_start_matches('/'));
        for mine in path.ancestors().take_while(|path| path.starts_with(&home)) {
            chown(mine, Some(*uid), Some(*gid)).while_trying_to(action)?;
        }
        // Whatever the caller's umask is.
        for folder in folder.ancestors().take_while(|path| path.starts_with(&root)) {
            fs_err::set_permissions(folder, PermissionsExt::from_mode(0o755)).while_trying_to(action)?;
        }
    }
    Ok(Some(root))
}

/// Gives the host's own way to Debian to a program that reads `http_proxy` but not the host's apt settings.
fn with_proxy(program: Program) -> Program {
    if std::env::var_os("http_proxy").is_some() {
        return program;
    }
    let Ok(output) = Command::new("apt-config")
        .args(["shell", "proxy", "Acquire::http::Proxy"])
        .output()
    else {
        return program;
    };
    let output = String::from_utf8_lossy(&output.stdout);
    match output
        .trim()
        .strip_prefix("proxy='")
        .and_then(|rest| rest.strip_suffix('\''))
    {
        Some(proxy) if proxy.starts_with("http") => program.env("http_proxy", proxy),
        _ => program,
    }
}

/// Reads apt's machine-readable progress: `pmstatus:PACKAGE:PERCENT:TEXT`, and `dlstatus:` for downloads.
fn percent(line: &str) -> Option<(&'static str, u8)> {
    let mut parts = line.splitn(5, ':');
    let step = match parts.next()? {
        "dlstatus" => "downloading packages",
        "pmstatus" => "installing packages",
        _ => return None,
    };
    // The package comes first; its name may have its architecture after a colon.
    let percent = parts.skip(1).find_map(|part| part.parse::<f64>().ok())?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to 0 to 100 before"
    )]
    Some((step, percent.clamp(0.0, 100.0) as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_of_apt_is_read() {
        assert_eq!(
            percent("dlstatus:12:47.0588:Retrieving file 12"),
            Some(("downloading packages", 47))
        );
        assert_eq!(
            percent("pmstatus:less:99.9:Installed less"),
            Some(("installing packages", 99))
        );
        assert_eq!(
            percent("pmstatus:libc6:amd64:3.5:Unpacking"),
            Some(("installing packages", 3))
        );
        assert_eq!(percent("pmerror:less:99.9:dependency problems"), None);
        assert_eq!(percent("Setting up less (643-1) ..."), None);
        assert_eq!(percent("pmstatus:"), None);
    }
}
