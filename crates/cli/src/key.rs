//! `berth key`: makes, lists and revokes API keys, beside a running server or without one.

use std::path::PathBuf;
use std::process::ExitCode;

use berth_control::prepare::{open_store, tell_of_keys};
use berth_control::{KeyLimits, KeyRow, NewKey, StartError, StoreOptions};
use berth_store::Store;
use jiff::{Span, Timestamp, civil, tz::TimeZone};

use crate::settings::{self, BadSettings, Flags, Settings};
use crate::{Outcome, block_on};

/// Make, list and revoke API keys.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make a key and print it, this once.
    Create {
        #[command(flatten)]
        server: Server,
        /// What to call it; one word for whoever will use it.
        name: String,
        /// When it stops being valid: a time from now such as `30d` or `12h`, or a date such as `2030-12-31` (UTC).
        #[arg(long, value_name = "WHEN", value_parser = expiry)]
        expires: Option<Timestamp>,
        /// Sessions that it may have at once.
        #[arg(long, value_name = "N")]
        max_sessions: Option<u32>,
        /// Memory that its sessions may have together, as their images' limits say.
        #[arg(long, value_name = "MIB")]
        max_memory_mib: Option<u64>,
        /// Sessions that it may make within a minute.
        #[arg(long, value_name = "N")]
        max_creations_per_minute: Option<u32>,
    },
    /// List all keys with their limits, without their secrets.
    List {
        #[command(flatten)]
        server: Server,
    },
    /// Revoke a key by its name or id. Its sessions end at once, and with them whatever is open to them.
    Revoke {
        #[command(flatten)]
        server: Server,
        /// The key's name or id.
        name: String,
    },
}

/// Which server: the settings that say where it keeps what. They may also stand in `BERTH_*` variables and in the file.
#[derive(Debug, clap::Args)]
pub(crate) struct Server {
    /// The server's own folder [default: /var/lib/berth] [env: BERTH_DATA].
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// The server's database, if it is not in its folder [env: BERTH_DATABASE].
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// The server's settings file [env: BERTH_CONFIG].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Server {
    /// The settings of that server.
    pub(crate) fn settings(self) -> Result<Settings, BadSettings> {
        let flags = Flags::of(self.config, [("data", self.data), ("database", self.database)]);
        settings::read(&flags, |name| std::env::var(name).ok())
    }
}

pub(crate) fn run(command: Command) -> Outcome {
    block_on(async {
        match command {
            Command::Create {
                server,
                name,
                expires,
                max_sessions,
                max_memory_mib,
                max_creations_per_minute,
            } => {
                let limits = KeyLimits {
                    sessions: max_sessions,
                    memory_mib: max_memory_mib,
                    creations_per_minute: max_creations_per_minute,
                };
                let name = name.as_str();
                create(
                    server,
                    NewKey {
                        name,
                        expires,
                        limits,
                    },
                )
                .await?;
            }
            Command::List { server } => list(server).await?,
            Command::Revoke { server, name } => revoke(server, &name).await?,
        }
        Ok(ExitCode::SUCCESS)
    })?
}

type Done = Result<(), Box<dyn std::error::Error + Send + Sync>>;

async fn store(settings: &Settings) -> Result<Store, StartError> {
    let control = &settings.control;
    open_store(&control.data, &control.database, StoreOptions::default()).await
}

#[expect(clippy::print_stdout, reason = "the command's output")]
async fn create(server: Server, new: NewKey<'_>) -> Done {
    if new.name.trim().is_empty() || new.name.len() > 100 {
        return Err(format!("`NAME` is {:?}; allowed: 1 to 100 characters", new.name).into());
    }
    let mut settings = server.settings()?;
    let audit = settings.start_audit()?;
    let store = store(&settings).await?;
    let key = store.create_key(&new).await?;
    if let Some(made) = store.authenticate(key.as_str()).await? {
        audit.key_created(&made);
    }
    println!("{}", key.as_str());
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the command's output")]
async fn list(server: Server) -> Done {
    let store = store(&server.settings()?).await?;
    for key in store.keys().await? {
        println!("{}", line(&key, Timestamp::now()));
    }
    Ok(())
}

async fn revoke(server: Server, name: &str) -> Done {
    let mut settings = server.settings()?;
    let audit = settings.start_audit()?;
    let Some(key) = store(&settings).await?.revoke_key(name).await? else {
        return Err(format!("there is no valid key `{name}`; `berth key list` shows all").into());
    };
    audit.key_revoked(&key);
    // The server looks every second; told, it looks at once.
    Ok(tell_of_keys(&settings.control.data)?)
}

fn line(key: &KeyRow, now: Timestamp) -> String {
    let state = match (key.revoked, key.expires) {
        (Some(at), _) => format!("revoked {at:.0}"),
        (None, Some(at)) if at <= now => format!("expired {at:.0}"),
        (None, Some(at)) => format!("valid until {at:.0}"),
        (None, None) => "valid".to_owned(),
    };
    let limits = [
        key.limits.sessions.map(|n| format!("{n} sessions")),
        key.limits.memory_mib.map(|n| format!("{n} MiB")),
        key.limits
            .creations_per_minute
            .map(|n| format!("{n} creations/min")),
    ];
    let limits: Vec<String> = limits.into_iter().flatten().collect();
    let limits = if limits.is_empty() {
        "no limits".to_owned()
    } else {
        limits.join(", ")
    };
    format!(
        "{}  {}  made {:.0}  {state}  {limits}",
        key.id, key.name, key.created
    )
}

/// A moment in the future, as a person writes it.
fn expiry(text: &str) -> Result<Timestamp, String> {
    let now = Timestamp::now();
    let from_now = || {
        let span: Span = text.parse().ok()?;
        now.to_zoned_datetime(TimeZone::UTC)
            .checked_add(span)
            .ok()
            .map(|at| at.timestamp())
    };
    let date = || {
        let date: civil::Date = text.parse().ok()?;
        date.to_zoned_datetime(TimeZone::UTC)
            .ok()
            .map(|at| at.timestamp())
    };
    let at = text.parse::<Timestamp>().ok().or_else(date).or_else(from_now);
    match at {
        Some(at) if at > now => Ok(at),
        Some(at) => Err(format!("{at:.0} is in the past")),
        None => {
            Err("allowed: a time from now such as `30d` or `12h`, or a date such as `2030-12-31`".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_is_a_time_from_now_or_a_date() {
        let hours = |text: &str| (expiry(text).unwrap().duration_since(Timestamp::now())).as_hours();
        assert_eq!(hours("2d"), 47);
        assert_eq!(hours("90m"), 1);
        assert_eq!(expiry("2130-12-31").unwrap().to_string(), "2130-12-31T00:00:00Z");
        assert_eq!(
            expiry("2130-12-31T12:00:00Z").unwrap().to_string(),
            "2130-12-31T12:00:00Z"
        );
        for bad in ["", "soon", "30", "-1d", "2020-01-01"] {
            assert!(expiry(bad).is_err(), "{bad}");
        }
    }
}
