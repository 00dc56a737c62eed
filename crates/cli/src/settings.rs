//! Settings of the server: flags first, then `BERTH_*` variables, then `berth.toml`, then defaults.
//!
//! Everything is read before the first refusal, so that one start shows every bad setting.

mod certificate;
mod flags;
mod reader;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use berth_control::{Config, Database, IdleAction, WarmImage};
use berth_server::{Audit, AuditError, LinksUrl, MetricsAccess, RecordConfig, read_certificates, read_key};
use berth_webhook::Target;
pub(crate) use certificate::Certificate;
pub(crate) use flags::Flags;
use reader::Reader;

use crate::webhook::{self, Webhook};

/// Ready sandboxes that one image may have.
const POOL_MAX: usize = 1000;

/// Form of the log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// All settings, read and checked.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) listen: String,
    pub(crate) public_url: Option<String>,
    /// Which certificate to show, if the server speaks TLS itself.
    pub(crate) certificate: Option<Certificate>,
    pub(crate) links_url: Option<LinksUrl>,
    /// Where the audit log goes, if anywhere.
    pub(crate) audit: Option<PathBuf>,
    /// Where and how sessions are recorded, if they are.
    pub(crate) record: Option<RecordConfig>,
    /// Where events of sessions go, if anywhere.
    pub(crate) webhook: Option<Webhook>,
    pub(crate) log_format: LogFormat,
    pub(crate) metrics: MetricsAccess,
    pub(crate) control: Config,
}

impl Settings {
    /// Opens the audit log, and lets the control plane write to it too.
    pub(crate) fn start_audit(&mut self) -> Result<Arc<Audit>, AuditError> {
        let audit = Arc::new(match &self.audit {
            Some(path) => Audit::open(path)?,
            None => Audit::off(),
        });
        self.control.observer = Some(audit.clone());
        Ok(audit)
    }
}

/// Settings that cannot be used; one line each.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{}", .0.join("\n       "))]
pub(crate) struct BadSettings(Vec<String>);

/// Reads all settings.
pub(crate) fn read(
    flags: &Flags,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Settings, BadSettings> {
    let mut reader = Reader::new(flags, &environment);

    let listen = reader.value("listen", |text| match text.parse::<std::net::SocketAddr>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("an address and a port, such as 127.0.0.1:8080"),
    });
    let folder = |text: &str| match text.starts_with('/') {
        true => Ok(PathBuf::from(text)),
        false => std::env::current_dir()
            .map(|here| here.join(text))
            .map_err(|_| "an absolute path"),
    };
    let data = reader.value("data", folder);
    let database = reader.value("database", |text| {
        // Without a data folder there is another refusal already.
        let folder = data.clone().unwrap_or_default();
        Database::from_setting(text, &folder).ok_or("nothing, or a URL that begins with postgres://")
    });
    let images = reader.value("images", folder);
    let public_url = reader.value("public_url", |text| match text {
        "" => Ok(None),
        url if url.starts_with("http://") || url.starts_with("https://") => Ok(Some(url.to_owned())),
        _ => Err("a URL that begins with http:// or https://"),
    });
    let tls_cert = reader.value("tls_cert", |text| match text {
        "" => Ok(None),
        path => folder(path).and_then(|path| read_certificates(&path).map(|_| Some(path))),
    });
    let tls_key = reader.value("tls_key", |text| match text {
        "" => Ok(None),
        path => folder(path).and_then(|path| read_key(&path).map(|_| Some(path))),
    });
    let self_signed = reader.value("tls_self_signed", |text| match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("true, false"),
    });
    let certificate = match (tls_cert, tls_key, self_signed) {
        (Some(certificate), Some(key), Some(self_signed)) => {
            reader.checked(Certificate::of(certificate, key, self_signed))
        }
        _ => None,
    };
    let runtime = reader.value("runtime", |text| match text {
        "" => Err("the name or path of an OCI runtime"),
        name => Ok(name.to_owned()),
    });
    let guest_binary = reader.value("guest", |text| match text {
        "" => beside_this_program().ok_or("the path of `berth-guest`"),
        path => folder(path),
    });
    let pool_size = reader.value("pool", |text| match text.parse() {
        Ok(size @ 0..=POOL_MAX) => Ok(size),
        _ => Err("a number from 0 to 1000"),
    });
    let warm_images = reader.value("warm_images", |text| {
        let images = text.split(',').map(str::trim).filter(|image| !image.is_empty());
        images
            .map(warm_image)
            .collect::<Option<Vec<_>>>()
            .ok_or("names, each with `=` and a number from 0 to 1000 or alone")
    });
    let idle_action = reader.value("idle_action", |text| match text {
        "release" => Ok(IdleAction::Release),
        "pause" => Ok(IdleAction::Pause),
        _ => Err("release, pause"),
    });
    let seconds = |least: u64| {
        move |text: &str| match text.parse() {
            Ok(seconds) if (least..=31_536_000).contains(&seconds) => Ok(Duration::from_secs(seconds)),
            _ if least == 0 => Err("a number of seconds, at most a year (31536000); 0 for never"),
            _ => Err("a number of seconds, from 1 to a year (31536000)"),
        }
    };
    let idle_timeout = reader.value("idle_timeout", seconds(1));
    let idle_timeout_max = reader.value("idle_timeout_max", seconds(1));
    let lifetime = reader.value("lifetime", seconds(0));
    let view_url_ttl = reader.value("view_url_ttl", seconds(1));
    let ports = reader.value("ports", |text| {
        let range = text
            .split_once('-')
            .and_then(|(first, last)| Some((first.trim().parse().ok()?, last.trim().parse().ok()?)));
        match range {
            Some((first, last)) if 1 <= first && first <= last => Ok(first..=last),
            _ => Err("two ports from 1 to 65535, the smaller one first, such as 30100-30199"),
        }
    });
    let links_url = reader.value("links_url", |text| match text {
        "" => Ok(None),
        url => LinksUrl::parse(url)
            .map(Some)
            .ok_or("http:// or https://, then `*.` and a domain, with a port if need be, and no path"),
    });
    let audit = reader.value("audit", |text| match (text, &data) {
        ("off", _) => Ok(None),
        ("", data) => Ok(data.as_ref().map(|data| data.join("audit.jsonl"))),
        (path, _) => folder(path).map(Some),
    });
    let record = reader.value("record", |text| match text {
        "" => Ok(None),
        path => folder(path).map(Some),
    });
    let record_max_bytes = reader.value("record_max_bytes", |text| match text.parse() {
        Ok(bytes) if (1 << 20..=1 << 50).contains(&bytes) => Ok(bytes),
        _ => Err("a number of bytes, from 1048576 to 1125899906842624"),
    });
    let record_keep = reader.value("record_keep_days", |text| match text.parse() {
        Ok(0) => Ok(None),
        Ok(days @ 1..=36_500) => Ok(Some(Duration::from_secs(days * 24 * 3600))),
        _ => Err("a number of days, at most 36500, or 0"),
    });
    let record_total_bytes = reader.value("record_total_bytes", |text| match text.parse() {
        Ok(0) => Ok(None),
        Ok(bytes) if (1 << 20..=1 << 60).contains(&bytes) => Ok(Some(bytes)),
        _ => Err("a number of bytes, at least 1048576, or 0"),
    });
    let record = record
        .zip(record_max_bytes)
        .zip(record_keep.zip(record_total_bytes));
    let record = record.map(|((folder, bytes_max), (keep, total_bytes))| {
        folder.map(|folder| RecordConfig {
            folder,
            bytes_max,
            keep,
            total_bytes,
        })
    });
    let webhook_url = reader.value("webhook_url", |text| match text {
        "" => Ok(None),
        url => url
            .parse::<Target>()
            .map(Some)
            .map_err(|_| "a URL that begins with http:// or https:// and holds no user or password"),
    });
    let webhook_secret = reader.value("webhook_secret_file", |text| match text {
        "" => Ok(None),
        path => folder(path).map(Some),
    });
    let webhook = match (webhook_url, webhook_secret) {
        (Some(url), Some(file)) => {
            reader.checked(Webhook::of(url, file, (reader.environment)(webhook::SECRET)))
        }
        _ => None,
    };
    let metrics = reader.value("metrics", |text| match text {
        "open" => Ok(MetricsAccess::Open),
        "key" => Ok(MetricsAccess::Key),
        "off" => Ok(MetricsAccess::Off),
        _ => Err("open, key, off"),
    });
    let log_format = reader.value("log_format", |text| match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("text, json"),
    });

    let events = matches!(webhook, Some(Some(_)));
    let bad = reader.bad;
    let all = || {
        Some(Settings {
            listen: listen?,
            public_url: public_url?,
            certificate: certificate?,
            links_url: links_url?,
            audit: audit?,
            record: record?,
            webhook: webhook?,
            log_format: log_format?,
            metrics: metrics?,
            control: Config {
                database: database?,
                events,
                data: data?,
                images: images?,
                runtime: runtime?,
                guest_binary: guest_binary?,
                pool_size: pool_size?,
                warm_images: warm_images?,
                idle_action: idle_action?,
                idle_timeout: idle_timeout?,
                idle_timeout_max: idle_timeout_max?,
                lifetime: lifetime?,
                view_url_ttl: view_url_ttl?,
                ports: ports?,
                observer: None,
            },
        })
    };
    match all() {
        Some(settings) if bad.is_empty() => Ok(settings),
        _ => Err(BadSettings(bad)),
    }
}

/// An image to keep ready, as `NAME` or `NAME=N`.
fn warm_image(text: &str) -> Option<WarmImage> {
    let (name, size) = match text.split_once('=') {
        None => (text, None),
        Some((name, size)) => (
            name.trim_end(),
            Some(size.trim().parse().ok().filter(|size| *size <= POOL_MAX)?),
        ),
    };
    let name = name.to_owned();
    (!name.is_empty()).then_some(WarmImage { name, size })
}

/// The guest that was built with this program.
fn beside_this_program() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.parent()?.join("berth-guest"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(values: &[(&'static str, &str)]) -> Flags {
        Flags {
            config: None,
            values: values
                .iter()
                .map(|(name, text)| (*name, (*text).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn the_defaults_are_allowed() {
        let settings = read(&Flags::default(), |_| None).unwrap();
        assert_eq!(settings.listen, "127.0.0.1:8080");
        assert_eq!(settings.control.lifetime, Duration::from_secs(1800));
        assert_eq!(settings.control.ports, 30100..=30199);
    }

    #[test]
    fn a_flag_wins_over_a_variable_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("berth.toml");
        fs_err::write(&file, "pool = 3\nidle_timeout = \"60\"\nlifetime = 7\n").unwrap();
        let mut flags = flags(&[("pool", "1")]);
        flags.config = Some(file);
        let environment =
            |name: &str| (name == "BERTH_POOL" || name == "BERTH_IDLE_TIMEOUT").then(|| "90".to_owned());
        let control = read(&flags, environment).unwrap().control;
        assert_eq!(control.pool_size, 1);
        assert_eq!(control.idle_timeout, Duration::from_secs(90));
        assert_eq!(control.lifetime, Duration::from_secs(7));
    }

    #[test]
    fn a_warm_image_may_have_a_number_of_its_own() {
        let flags = flags(&[("warm_images", "one, two=5 ,three=0")]);
        let images = read(&flags, |_| None).unwrap().control.warm_images;
        let images: Vec<_> = images
            .iter()
            .map(|image| (image.name.as_str(), image.size))
            .collect();
        assert_eq!(images, [("one", None), ("two", Some(5)), ("three", Some(0))]);
        for bad in ["=1", "a=", "a=-1", "a=1001", "a=x"] {
            let flags = self::flags(&[("warm_images", bad)]);
            assert!(
                read(&flags, |_| None)
                    .unwrap_err()
                    .to_string()
                    .contains("`--warm-images`"),
                "{bad}"
            );
        }
    }

    #[test]
    fn one_start_reports_every_bad_setting() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("berth.toml");
        fs_err::write(&file, "colour = \"red\"\nlifetime = -1\n").unwrap();
        let mut flags = flags(&[
            ("pool", "many"),
            ("listen", "here"),
            ("ports", "30199-30100"),
            ("links_url", "https://links.example.com"),
        ]);
        flags.config = Some(file);
        let environment = |name: &str| (name == "BERTH_LOG_FORMAT").then(|| "xml".to_owned());
        let text = read(&flags, environment).unwrap_err().to_string();
        for part in [
            "`colour` in",
            "`lifetime` in",
            "`--pool` is \"many\"; allowed: a number from 0 to 1000",
            "`--listen` is \"here\"",
            "`--ports` is \"30199-30100\"; allowed: two ports",
            "`--links-url` is \"https://links.example.com\"; allowed: http:// or https://, then `*.`",
            "`BERTH_LOG_FORMAT` is \"xml\"; allowed: text, json",
        ] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
    }
}
