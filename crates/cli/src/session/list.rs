//! `berth session list`: the live sessions of a key.

use std::process::ExitCode;

use berth_client::{Agb, ListParams, SessionStatus, SessionSummary};
use jiff::Timestamp;
use serde_json::json;

use super::label;
use crate::remote::{Failure, Remote, print_aside};
use crate::show;

/// The longest page that a server gives.
const PAGE: u32 = 100;

/// Which sessions.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only those with this label; may be given several times.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// All of them, not only the newest hundred.
    #[arg(long)]
    all: bool,
}

/// Sessions with these labels, and how many there are in all: the first page, or every page.
pub(super) async fn find(
    agb: &Agb,
    labels: &[(String, String)],
    all: bool,
) -> Result<(Vec<SessionSummary>, u64), Failure> {
    let mut params = ListParams {
        labels: labels.iter().cloned().collect(),
        next_token: None,
        limit: PAGE,
    };
    let mut sessions = Vec::new();
    loop {
        let page = agb.sessions(&params).await?;
        sessions.extend(page.sessions);
        params.next_token = page.next_token;
        if !all || params.next_token.is_none() {
            return Ok((sessions, page.total_count));
        }
    }
}

pub(super) async fn run(remote: &Remote, agb: Agb, args: &Args) -> Result<ExitCode, Failure> {
    let progress = remote.progress("listing");
    let (sessions, total) = find(&agb, &args.labels, args.all).await?;
    drop(progress);
    let document = json!({ "sessions": sessions, "total": total });
    remote.answer(&document, || table(&sessions, Timestamp::now()))?;
    if !remote.json && total > sessions.len() as u64 {
        print_aside(&format!(
            "{} of {total} sessions; --all lists every one\n",
            sessions.len()
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn table(sessions: &[SessionSummary], now: Timestamp) -> String {
    let head = ["ID", "IMAGE", "STATUS", "AGE", "LABELS"].map(str::to_owned);
    let rows = sessions.iter().map(|session| {
        [
            show::clean(&session.session_id),
            show::clean(&session.image),
            status(session.status).to_owned(),
            show::age(&session.created_at, now),
            show::labels(&session.labels),
        ]
    });
    show::table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

/// A state in the protocol's word.
pub(super) fn status(status: SessionStatus) -> &'static str {
    match status {
        SessionStatus::Running => "RUNNING",
        SessionStatus::Paused => "PAUSED",
        SessionStatus::Finish => "FINISH",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_image_state_age_and_labels() {
        let session = SessionSummary {
            session_id: "s-1".into(),
            image: "code".into(),
            status: SessionStatus::Paused,
            labels: [("a".into(), "b\u{1b}[2J".into())].into(),
            created_at: "2026-01-02T03:00:00Z".into(),
        };
        let text = table(&[session], "2026-01-02T03:03:00Z".parse().unwrap());
        assert_eq!(
            text,
            "ID   IMAGE  STATUS  AGE    LABELS\ns-1  code   PAUSED  3 min  a=b\u{fffd}[2J\n"
        );
    }
}
