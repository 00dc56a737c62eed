//! `berth session open`: the live view's URL, in a browser where there is one.

use std::process::{Command, ExitCode, Stdio};

use berth_client::Agb;
use serde_json::json;

use crate::remote::{Failure, Remote};

/// Which session.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The session.
    id: String,
    /// Only print the URL.
    #[arg(long)]
    print: bool,
}

pub(super) async fn run(remote: &Remote, agb: Agb, args: &Args) -> Result<ExitCode, Failure> {
    let info = agb.session(&args.id)?.info().await?;
    let document = json!({ "sessionId": info.session_id, "resourceUrl": info.resource_url });
    remote.answer(&document, || format!("{}\n", info.resource_url))?;
    let display = ["DISPLAY", "WAYLAND_DISPLAY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some());
    // Anything else would make the desktop open a file or start a program of the server's choice.
    let is_page = ["http://", "https://"]
        .iter()
        .any(|scheme| info.resource_url.starts_with(scheme));
    if display && is_page && !args.print {
        // The URL has been printed, so a machine without `xdg-open` lacks nothing.
        let _ = Command::new("xdg-open")
            .arg(&info.resource_url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
    Ok(ExitCode::SUCCESS)
}
