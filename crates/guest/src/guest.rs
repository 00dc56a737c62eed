//! What the parts of a guest share. One per process, cheap to clone.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err::os::unix::fs::OpenOptionsExt;

use crate::activity::Clock;
use crate::code::Code;
use crate::computer::Computer;
use crate::desktop::Desktop;
use crate::files::Files;
use crate::job::Jobs;
use crate::metrics::Meter;
use crate::pictures::Pictures;
use crate::process::Processes;
use crate::runs::Runs;
use crate::settings::Settings;
use crate::tools::Unfinished;
use crate::user::{User, UserError};
use crate::view::Views;
use crate::watch::Polled;

/// The drivers of interpreters, part of this binary. Java's has to be compiled, so it is part of the images that have
/// Java.
const DRIVERS: [(&str, &str); 7] = [
    (
        "berth_driver.py",
        include_str!("../../../interpreters/python/berth_driver.py"),
    ),
    (
        "berth_shell.py",
        include_str!("../../../interpreters/python/berth_shell.py"),
    ),
    (
        "berth_charts.py",
        include_str!("../../../interpreters/python/berth_charts.py"),
    ),
    (
        "berth_wire.py",
        include_str!("../../../interpreters/python/berth_wire.py"),
    ),
    (
        "berth_bash.py",
        include_str!("../../../interpreters/bash/berth_bash.py"),
    ),
    (
        "berth_driver.js",
        include_str!("../../../interpreters/javascript/berth_driver.js"),
    ),
    (
        "berth_driver.R",
        include_str!("../../../interpreters/r/berth_driver.R"),
    ),
];

/// A running guest.
#[derive(Debug, Clone)]
pub struct Guest {
    /// When the session was last used.
    pub clock: Clock,
    /// Programs of the session.
    pub jobs: Jobs,
    /// Files of the session.
    pub files: Files,
    /// Runs of code.
    pub code: Code,
    /// Numbers.
    pub meter: Arc<Meter>,
    /// Half characters at the end of files.
    pub unfinished: Arc<Unfinished>,
    /// Directories that clients watch by asking again and again.
    pub polled: Arc<Polled>,
    /// Programs that outlive the calls which started them.
    pub processes: Arc<Processes>,
    /// The desktop.
    pub desktop: Arc<Desktop>,
    /// The agent's hands and eyes there.
    pub computer: Arc<Computer>,
    /// Live views of it.
    pub views: Arc<Views>,
    /// Code that ran on streams, for recordings.
    pub runs: Arc<Runs>,
    /// Pictures of it that wait to be fetched.
    pub pictures: Arc<Pictures>,
    /// Where the caller of a tool finds them; in a tool call only.
    pub pictures_url: Option<Arc<str>>,
    home: Arc<str>,
}

/// Why a guest could not start.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// No account to work as.
    #[error(transparent)]
    User(#[from] UserError),
    /// The guest cannot find itself.
    #[error("could not find the guest's own binary")]
    Binary(#[source] io::Error),
    /// Its threads for files.
    #[error("could not start threads that act as the session's user")]
    Files(#[source] io::Error),
    /// The folder where the user's programs find each other.
    #[error("could not give the session's user the folder `{folder}`")]
    Runtime {
        /// Where it should be.
        folder: PathBuf,
        /// Why it is not.
        #[source]
        cause: io::Error,
    },
    /// Its own files.
    #[error("could not put the drivers of interpreters into `{folder}`")]
    Drivers {
        /// Where it should be.
        folder: PathBuf,
        /// Why it is not.
        #[source]
        cause: io::Error,
    },
}

impl Guest {
    /// Builds a guest. Nothing of the session runs yet.
    pub fn new(settings: Settings) -> Result<Self, GuestError> {
        let user = User::find(settings.user.as_deref())?;
        let home = if Path::new(&user.home).is_dir() {
            user.home.clone()
        } else {
            "/".to_owned()
        };
        let files = Files::new(&user).map_err(GuestError::Files)?;
        let runtime = settings.run_dir.join("user");
        own(&runtime, &user).map_err(|cause| GuestError::Runtime {
            folder: runtime.clone(),
            cause,
        })?;
        let jobs =
            Jobs::new(user, &settings.display, &runtime.to_string_lossy()).map_err(GuestError::Binary)?;
        let drivers = settings.run_dir.join("drivers");
        place(&drivers).map_err(|cause| GuestError::Drivers {
            folder: drivers.clone(),
            cause,
        })?;
        Ok(Self {
            clock: Clock::default(),
            files,
            code: Code::new(&jobs, settings.python, &drivers, &home),
            meter: Arc::default(),
            unfinished: Arc::default(),
            polled: Arc::default(),
            processes: Arc::default(),
            desktop: Arc::new(Desktop::new(
                jobs.clone(),
                settings.display,
                settings.screen,
                home.clone(),
            )),
            computer: Arc::default(),
            views: Arc::default(),
            runs: Arc::default(),
            pictures: Arc::default(),
            pictures_url: None,
            home: home.into(),
            jobs,
        })
    }

    /// Makes interpreters ready; takes a second or two.
    pub async fn warm_up(&self) {
        self.code.warm_up().await;
    }

    /// Where work starts.
    pub fn home(&self) -> String {
        self.home.to_string()
    }
}

/// Makes a folder that is the user's alone. A guest that starts again finds that of the one before.
fn own(folder: &Path, user: &User) -> io::Result<()> {
    if let Some(parent) = folder.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    fs_err::os::unix::fs::lchown(folder, Some(user.uid), Some(user.gid))
}

/// Writes the drivers where the session's user can read them and not change them.
fn place(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    for (name, source) in DRIVERS {
        let path = folder.join(name);
        // A guest that starts again finds the files of the one before.
        match fs_err::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = fs_err::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o444)
            .open(&path)?;
        io::Write::write_all(&mut file, source.as_bytes())?;
    }
    Ok(())
}
