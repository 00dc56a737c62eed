//! `berth key`: makes, lists and revokes API keys, beside a running server or without one.

use std::path::PathBuf;
use std::process::ExitCode;

use berth_control::prepare::open_store;

use crate::{Outcome, block_on};

/// Make, list and revoke API keys.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make a key and print it, this once.
    Create {
        #[command(flatten)]
        folder: Folder,
        /// What to call it; one word for whoever will use it.
        name: String,
    },
    /// List all keys, without their secrets.
    List {
        #[command(flatten)]
        folder: Folder,
    },
    /// Revoke a key by its name or id.
    Revoke {
        #[command(flatten)]
        folder: Folder,
        /// The key's name or id.
        name: String,
    },
}

/// Which server.
#[derive(Debug, clap::Args)]
pub(crate) struct Folder {
    /// The server's own folder.
    #[arg(
        long,
        value_name = "DIR",
        env = "BERTH_DATA",
        default_value = "/var/lib/berth"
    )]
    pub(crate) data: PathBuf,
}

#[expect(clippy::print_stdout, reason = "the command's output")]
pub(crate) fn run(command: Command) -> Outcome {
    block_on(async {
        match command {
            Command::Create { folder, name } => {
                if name.trim().is_empty() || name.len() > 100 {
                    return Err(format!("`NAME` is {name:?}; allowed: 1 to 100 characters").into());
                }
                let key = open_store(&folder.data).await?.create_key(&name).await?;
                println!("{}", key.as_str());
            }
            Command::List { folder } => {
                for key in open_store(&folder.data).await?.keys().await? {
                    let state = match key.revoked {
                        None => "valid".to_owned(),
                        Some(at) => format!("revoked {at:.0}"),
                    };
                    println!("{}  {}  made {:.0}  {state}", key.id, key.name, key.created);
                }
            }
            Command::Revoke { folder, name } => {
                if !open_store(&folder.data).await?.revoke_key(&name).await? {
                    return Err(format!("there is no valid key `{name}`; `berth key list` shows all").into());
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    })?
}
