//! The list of all settings, and the flags and variables that follow from it.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// One setting: its name in the file (`view_url_ttl`), from which flag and variable follow.
pub(super) struct Setting {
    pub(super) name: &'static str,
    help: &'static str,
    pub(super) default: &'static str,
}

/// All settings, in the order of the help text. The one list from which flags, variables and file keys are read.
pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        name: "listen",
        help: "Address to listen on",
        default: "127.0.0.1:8080",
    },
    Setting {
        name: "data",
        help: "The server's own folder",
        default: "/var/lib/berth",
    },
    Setting {
        name: "database",
        help: "A postgres:// URL, if not a file in the data folder",
        default: "",
    },
    Setting {
        name: "images",
        help: "The image store, shared by servers",
        default: "/var/lib/berth/images",
    },
    Setting {
        name: "public_url",
        help: "Base URL of handed-out links, if not the request's host",
        default: "",
    },
    Setting {
        name: "tls_cert",
        help: "Certificates for https, a PEM file: the server's own first",
        default: "",
    },
    Setting {
        name: "tls_key",
        help: "The private key of the first of them, a PEM file",
        default: "",
    },
    Setting {
        name: "tls_self_signed",
        help: "Speak https with a certificate that the server makes itself",
        default: "false",
    },
    Setting {
        name: "runtime",
        help: "OCI runtime: a name on PATH, or a path",
        default: "runc",
    },
    Setting {
        name: "guest",
        help: "The guest's binary, if not beside this program",
        default: "",
    },
    Setting {
        name: "pool",
        help: "Ready sandboxes to keep per image; 0 for none",
        default: "2",
    },
    Setting {
        name: "warm_images",
        help: "Images to keep ready from the start; NAME=N keeps N of it",
        default: "agb-code-space-1",
    },
    Setting {
        name: "idle_timeout",
        help: "Release a session after so many idle seconds",
        default: "300",
    },
    Setting {
        name: "idle_action",
        help: "What then becomes of it: `release` or `pause`",
        default: "release",
    },
    Setting {
        name: "idle_timeout_max",
        help: "The most that a client may ask for, seconds",
        default: "86400",
    },
    Setting {
        name: "lifetime",
        help: "End a session so many seconds after creation; 0: never",
        default: "1800",
    },
    Setting {
        name: "view_url_ttl",
        help: "A live view URL is valid for so many seconds",
        default: "1800",
    },
    Setting {
        name: "ports",
        help: "Ports of a session that links may lead to, first and last",
        default: "30100-30199",
    },
    Setting {
        name: "links_url",
        help: "Host names of port links, such as https://*.links.example.com; without, paths of the server",
        default: "",
    },
    Setting {
        name: "audit",
        help: "The audit log's file, or `off`; none: audit.jsonl in the server's folder",
        default: "",
    },
    Setting {
        name: "record",
        help: "Record the screens of sessions into this folder, with their tool calls",
        default: "",
    },
    Setting {
        name: "record_max_bytes",
        help: "Bytes that the recording of one session may have",
        default: "1073741824",
    },
    Setting {
        name: "record_keep_days",
        help: "Days after which recordings are removed; 0 keeps them",
        default: "30",
    },
    Setting {
        name: "record_total_bytes",
        help: "Bytes that all recordings may have together, before the oldest are removed; 0 is without limit",
        default: "107374182400",
    },
    Setting {
        name: "webhook_url",
        help: "Post events of sessions there",
        default: "",
    },
    Setting {
        name: "webhook_secret_file",
        help: "File with the secret that signs them; only its owner may read it",
        default: "",
    },
    Setting {
        name: "metrics",
        help: "Who may read `/metrics`: `open`, `key` (with an API key), `off`",
        default: "open",
    },
    Setting {
        name: "log_format",
        help: "Log lines as `text` or `json`",
        default: "text",
    },
];

/// The flags of `berth serve`, made from the list.
#[derive(Debug, Default)]
pub(crate) struct Flags {
    pub(super) config: Option<PathBuf>,
    pub(super) values: BTreeMap<&'static str, String>,
}

impl Flags {
    /// Some of the flags, for commands that work beside a server.
    pub(crate) fn of<const N: usize>(
        config: Option<PathBuf>,
        values: [(&'static str, Option<String>); N],
    ) -> Self {
        let values = values.into_iter();
        Self {
            config,
            values: values.filter_map(|(name, value)| Some((name, value?))).collect(),
        }
    }
}

impl clap::FromArgMatches for Flags {
    fn from_arg_matches(matches: &clap::ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &clap::ArgMatches) -> Result<(), clap::Error> {
        self.config = matches.get_one::<PathBuf>("config").cloned();
        self.values = SETTINGS
            .iter()
            .filter_map(|setting| Some((setting.name, matches.get_one::<String>(setting.name)?.clone())))
            .collect();
        Ok(())
    }
}

impl clap::Args for Flags {
    fn augment_args(command: clap::Command) -> clap::Command {
        let config = clap::Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help("Settings file [default: none] [env: BERTH_CONFIG]");
        SETTINGS.iter().fold(command.arg(config), |command, setting| {
            let default = if setting.default.is_empty() {
                "none"
            } else {
                setting.default
            };
            let help = format!(
                "{} [default: {default}] [env: {}]",
                setting.help,
                variable(setting.name)
            );
            let flag = clap::Arg::new(setting.name)
                .long(setting.name.replace('_', "-"))
                .value_name("VALUE")
                .help(help);
            command.arg(match setting.default {
                // A switch: the flag alone is enough.
                "false" => flag
                    .num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("true"),
                _ => flag,
            })
        })
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

/// The environment variable of a setting.
pub(super) fn variable(name: &str) -> String {
    format!("BERTH_{}", name.to_uppercase())
}
