//! `berth session create`: makes a session.

use std::process::ExitCode;
use std::time::Duration;

use berth_client::{Agb, CreateSessionParams, Session};
use serde_json::json;

use super::label;
use crate::remote::{Failure, Remote, print_aside};

/// The image that is always there.
pub(crate) const DEFAULT_IMAGE: &str = "agb-code-space-1";

/// What a session is made from.
#[derive(Debug, clap::Args)]
pub(crate) struct Wanted {
    /// The image to make it from.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_IMAGE)]
    pub(crate) image: String,
    /// A label to find it by; may be given several times.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub(crate) labels: Vec<(String, String)>,
    /// Release it after so many seconds without use [default: the server's].
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) idle_timeout: Option<u64>,
}

impl Wanted {
    /// Makes it.
    pub(crate) async fn make(&self, remote: &Remote, agb: &Agb) -> Result<Session, Failure> {
        let _progress = remote.progress("making a session");
        let params = CreateSessionParams {
            labels: self.labels.iter().cloned().collect(),
            idle_release_timeout: self.idle_timeout.map(Duration::from_secs),
            ..CreateSessionParams::new(&self.image)
        };
        Ok(agb.create(params).await?)
    }
}

pub(super) async fn run(remote: &Remote, agb: Agb, wanted: &Wanted) -> Result<ExitCode, Failure> {
    let session = wanted.make(remote, &agb).await?;
    let document = json!({
        "sessionId": session.session_id(),
        "image": wanted.image,
        "resourceUrl": session.resource_url(),
        "linkUrl": session.link_url(),
        "wsUrl": session.ws_url(),
        "token": session.token(),
    });
    remote.answer(&document, || format!("{}\n", session.session_id()))?;
    if !remote.json {
        print_aside(&format!("live view: {}\n", session.resource_url()))?;
    }
    Ok(ExitCode::SUCCESS)
}
