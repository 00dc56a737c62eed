//! Where the server is, and who asks: given, or from the environment, or from `.env`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::Error;

const ENDPOINT: &str = "AGB_ENDPOINT";
const API_KEY: &str = "AGB_API_KEY";
const TIMEOUT_MS: &str = "AGB_TIMEOUT_MS";

/// Where to find the server, with which key, and how long to wait for an answer.
///
/// ```no_run
/// use berth_client::AgbConfig;
///
/// let config = AgbConfig::new("http://127.0.0.1:8080", "akm-0123");
/// assert_eq!(config.timeout.as_secs(), 60);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct AgbConfig {
    /// Base URL of the server. Without a scheme it is taken as `https://`.
    pub endpoint: String,
    /// A key from `berth key create`.
    pub api_key: String,
    /// The longest that a request may take. Tools have their own limits on top.
    pub timeout: Duration,
}

impl AgbConfig {
    /// Where `berth serve` listens when nobody says otherwise.
    pub const DEFAULT_ENDPOINT: &'static str = "http://127.0.0.1:8080";
    /// As in the official SDKs.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

    /// A server and a key, with the usual time limit.
    pub fn new(endpoint: impl Into<String>, api_key: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
            api_key: api_key.into(),
            timeout: Self::DEFAULT_TIMEOUT,
        }
    }

    /// From `AGB_ENDPOINT`, `AGB_API_KEY` and `AGB_TIMEOUT_MS`, else from `.env` in the current directory.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidApiKey`] when there is no key, [`Error::InvalidParameter`] when a value cannot be used.
    pub fn from_env() -> Result<Self, Error> {
        Self::with(None, None)
    }

    /// As [`from_env`](Self::from_env), but what is given wins.
    ///
    /// `.env` is read only for a key that stands nowhere else. A key from elsewhere is therefore never sent to an
    /// endpoint that merely lay in a file of the current directory.
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env).
    pub fn with(endpoint: Option<String>, api_key: Option<String>) -> Result<Self, Error> {
        let variable = |name: &str| std::env::var(name).ok();
        Self::read(endpoint, api_key, variable, Path::new(".env"))
    }

    fn read(
        endpoint: Option<String>,
        api_key: Option<String>,
        variable: impl Fn(&str) -> Option<String>,
        file: &Path,
    ) -> Result<Self, Error> {
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let api_key = api_key.or_else(|| variable(API_KEY));
        let file = match api_key {
            Some(_) => BTreeMap::new(),
            None => read_file(file),
        };
        let find = |name: &str| variable(name).or_else(|| file.get(name).cloned());
        let api_key = api_key.or_else(|| find(API_KEY)).ok_or_else(|| Error::InvalidApiKey {
            message: format!(
                "there is no API key; set `{API_KEY}`, in the environment or in `.env`, to one from `berth key create`"
            ),
        })?;
        let endpoint = endpoint
            .or_else(|| find(ENDPOINT))
            .unwrap_or_else(|| Self::DEFAULT_ENDPOINT.to_owned());
        let timeout = match find(TIMEOUT_MS) {
            None => Self::DEFAULT_TIMEOUT,
            Some(text) => match text.trim().parse() {
                Ok(ms @ 1..=86_400_000) => Duration::from_millis(ms),
                _ => {
                    return Err(Error::invalid(
                        TIMEOUT_MS,
                        format!("{text:?}"),
                        "1 to 86400000 (milliseconds)",
                    ));
                }
            },
        };
        Ok(Self {
            endpoint,
            api_key,
            timeout,
        })
    }
}

/// The variables of an `.env` file; none if there is no such file. It is shared with other programs, so lines that cannot
/// be read are theirs.
fn read_file(path: &Path) -> BTreeMap<String, String> {
    match dotenvy::from_path_iter(path) {
        Ok(lines) => lines
            .filter_map(Result::ok)
            .filter(|(_, value)| !value.trim().is_empty())
            .collect(),
        Err(_) => BTreeMap::new(),
    }
}

/// Without the key.
impl fmt::Debug for AgbConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgbConfig")
            .field("endpoint", &self.endpoint)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read from these variables and this `.env`.
    fn read(variables: &[(&str, &str)], file: &str) -> Result<AgbConfig, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        if !file.is_empty() {
            std::io::Write::write_all(&mut std::fs::File::create(&path).unwrap(), file.as_bytes()).unwrap();
        }
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        AgbConfig::read(None, None, variable, &path)
    }

    #[test]
    fn a_key_that_stands_only_in_the_file_is_found_at_once() {
        let config = read(&[], "# made by make up\nAGB_ENDPOINT=http://h:1\nAGB_API_KEY=k\n").unwrap();
        assert_eq!(config, AgbConfig::new("http://h:1", "k"));
    }

    #[test]
    fn a_key_of_the_environment_is_not_sent_to_an_endpoint_of_the_file() {
        let config = read(
            &[(API_KEY, "secret")],
            "AGB_ENDPOINT=http://evil\nAGB_API_KEY=k\n",
        )
        .unwrap();
        assert_eq!(config, AgbConfig::new(AgbConfig::DEFAULT_ENDPOINT, "secret"));
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let config = read(
            &[(ENDPOINT, "http://e"), (TIMEOUT_MS, "1500")],
            "not a line\nAGB_ENDPOINT=http://f\nAGB_API_KEY='k'\n",
        )
        .unwrap();
        assert_eq!(
            (config.endpoint.as_str(), config.api_key.as_str()),
            ("http://e", "k")
        );
        assert_eq!(config.timeout, Duration::from_millis(1500));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let missing = read(&[(API_KEY, " ")], "").unwrap_err();
        assert!(matches!(missing, Error::InvalidApiKey { .. }) && missing.to_string().contains(API_KEY));
        let wrong = read(&[(API_KEY, "k"), (TIMEOUT_MS, "soon")], "").unwrap_err();
        assert_eq!(
            wrong.to_string(),
            r#"`AGB_TIMEOUT_MS` is "soon"; allowed: 1 to 86400000 (milliseconds)"#
        );
    }

    #[test]
    fn a_key_is_not_printed() {
        let shown = format!("{:?}", AgbConfig::new("http://h", "secret"));
        assert!(!shown.contains("secret"), "{shown}");
    }
}
