//! What the environment says. Every variable is declared here, read once, and all bad ones are reported together.

use std::path::PathBuf;

/// The account that tools run as. Default: `user` where it exists, else the account of the guest itself.
pub const USER: &str = "BERTH_USER";
/// The Python interpreter. Default: the first `python3` in the usual places.
pub const PYTHON: &str = "BERTH_PYTHON";
/// Size of the desktop's screen in pixels, `WIDTHxHEIGHT`. Default: `1280x720`.
pub const SCREEN: &str = "BERTH_SCREEN";
/// The desktop's display. Default: `:0`; another one lets a guest run beside other X servers, outside of a sandbox.
pub const DISPLAY: &str = "BERTH_DISPLAY";
/// A folder for the guest's own files, which the session's user may read but not change. Default: `/run/berth`.
pub const RUN_DIR: &str = "BERTH_RUN_DIR";
/// What is logged, in the syntax of `tracing-subscriber`. Default: `info`.
pub const LOG: &str = "BERTH_LOG";

/// The guest's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// [`USER`].
    pub user: Option<String>,
    /// [`PYTHON`].
    pub python: Option<PathBuf>,
    /// [`SCREEN`].
    pub screen: ScreenSize,
    /// [`DISPLAY`].
    pub display: String,
    /// [`RUN_DIR`].
    pub run_dir: PathBuf,
}

/// Pixels of the desktop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScreenSize {
    /// Pixels from left to right.
    pub width: u16,
    /// Pixels from top to bottom.
    pub height: u16,
}

/// One line for each setting that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{}", .0.join("\n"))]
pub struct SettingsError(pub Vec<String>);

impl Settings {
    /// Reads the settings through `variable`, which is `std::env::var` outside of tests.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let mut wrong = Vec::new();
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let python = set(PYTHON).map(PathBuf::from);
        if python.as_ref().is_some_and(|path| !path.is_absolute()) {
            wrong.push(format!("`{PYTHON}` is a relative path; give an absolute one"));
        }
        let run_dir = set(RUN_DIR).map_or_else(|| PathBuf::from("/run/berth"), PathBuf::from);
        if !run_dir.is_absolute() {
            wrong.push(format!("`{RUN_DIR}` is a relative path; give an absolute one"));
        }
        let screen = match set(SCREEN) {
            None => ScreenSize {
                width: 1280,
                height: 720,
            },
            Some(text) => ScreenSize::parse(&text).unwrap_or_else(|| {
                wrong.push(format!(
                    "`{SCREEN}` is `{text}`; allowed: WIDTHxHEIGHT, each from 320 to 7680, such as 1280x720"
                ));
                ScreenSize {
                    width: 1280,
                    height: 720,
                }
            }),
        };
        let display = set(DISPLAY).unwrap_or_else(|| ":0".into());
        let number = display.strip_prefix(':');
        if number.is_none_or(|number| number.parse::<u16>().is_err()) {
            wrong.push(format!(
                "`{DISPLAY}` is `{display}`; allowed: `:` and a number, such as `:0`"
            ));
        }
        let settings = Self {
            user: set(USER),
            python,
            screen,
            display,
            run_dir,
        };
        if wrong.is_empty() {
            Ok(settings)
        } else {
            Err(SettingsError(wrong))
        }
    }
}

impl ScreenSize {
    fn parse(text: &str) -> Option<Self> {
        let (width, height) = text.split_once('x')?;
        let side = |text: &str| text.parse().ok().filter(|side| (320..=7680).contains(side));
        Some(Self {
            width: side(width)?,
            height: side(height)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        Settings::read(|name| {
            pairs
                .iter()
                .find(|pair| pair.0 == name)
                .map(|pair| pair.1.to_owned())
        })
    }

    #[test]
    fn nothing_is_required() {
        let settings = read(&[]).unwrap();
        assert_eq!(
            settings.screen,
            ScreenSize {
                width: 1280,
                height: 720
            }
        );
        assert_eq!(settings.run_dir, PathBuf::from("/run/berth"));
    }

    #[test]
    fn every_bad_setting_is_reported() {
        let error = read(&[(SCREEN, "12x99999"), (PYTHON, "python3"), (DISPLAY, "host:0")]).unwrap_err();
        assert_eq!(error.0.len(), 3);
        assert!(
            error.to_string().contains("`BERTH_SCREEN` is `12x99999`"),
            "{error}"
        );
    }
}
