//! Where a setting's text comes from: a flag, a variable, the file, or its default.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::flags::{Flags, SETTINGS, variable};

/// Reads settings one by one, and notes those that are bad.
pub(super) struct Reader<'a> {
    flags: &'a Flags,
    pub(super) environment: &'a dyn Fn(&str) -> Option<String>,
    file: BTreeMap<String, (String, String)>,
    /// Refusals so far.
    pub(super) bad: Vec<String>,
}

impl<'a> Reader<'a> {
    /// Begins with the settings file, if one is named.
    pub(super) fn new(flags: &'a Flags, environment: &'a dyn Fn(&str) -> Option<String>) -> Self {
        let mut reader = Self {
            flags,
            environment,
            file: BTreeMap::new(),
            bad: Vec::new(),
        };
        reader.read_file();
        reader
    }

    /// Each value of the file as text, with where it stands.
    fn read_file(&mut self) {
        let from_environment = || (self.environment)("BERTH_CONFIG").map(PathBuf::from);
        let Some(path) = self.flags.config.clone().or_else(from_environment) else {
            return;
        };
        let table = fs_err::read_to_string(&path)
            .map_err(|error| error.to_string())
            .and_then(|text| {
                text.parse::<toml::Table>()
                    .map_err(|error| format!("`{}`: {error}", path.display()))
            });
        let table = match table {
            Ok(table) => table,
            Err(error) => return self.bad.push(error),
        };
        for (name, value) in table {
            let place = format!("`{name}` in `{}`", path.display());
            if !SETTINGS.iter().any(|setting| setting.name == name) {
                let names: Vec<_> = SETTINGS.iter().map(|setting| setting.name).collect();
                self.bad
                    .push(format!("{place} is not a setting; allowed: {}", names.join(", ")));
                continue;
            }
            let text = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(switch) => switch.to_string(),
                other => {
                    self.bad.push(format!(
                        "{place} is {other}; allowed: a string, a number, true or false"
                    ));
                    continue;
                }
            };
            self.file.insert(name, (text, place));
        }
    }

    /// What several settings make together, or `None` with the refusal noted.
    pub(super) fn checked<T>(&mut self, made: Result<T, impl std::fmt::Display>) -> Option<T> {
        made.map_err(|error| self.bad.push(error.to_string())).ok()
    }

    /// The value of a setting, or `None` with the refusal noted.
    pub(super) fn value<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Option<T> {
        let from_flag = || {
            self.flags
                .values
                .get(name)
                .map(|text| (text.clone(), format!("`--{}`", name.replace('_', "-"))))
        };
        let from_environment =
            || (self.environment)(&variable(name)).map(|text| (text, format!("`{}`", variable(name))));
        let default = || {
            let default = SETTINGS
                .iter()
                .find(|setting| setting.name == name)
                .map_or("", |setting| setting.default);
            (default.to_owned(), format!("the default of `{name}`"))
        };
        let (text, place) = from_flag()
            .or_else(from_environment)
            .or_else(|| self.file.get(name).cloned())
            .unwrap_or_else(default);
        match parse(&text) {
            Ok(value) => Some(value),
            Err(allowed) => {
                // These may hold a password.
                let shown = if ["database", "webhook_url"].contains(&name) {
                    "not shown".to_owned()
                } else {
                    format!("{text:?}")
                };
                self.bad.push(format!("{place} is {shown}; allowed: {allowed}"));
                None
            }
        }
    }
}
