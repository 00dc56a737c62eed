//! `berth session share`, `unshare` and `viewers`: live view URLs to give away, their end, and who is looking.

use std::process::ExitCode;
use std::time::Duration;

use berth_client::{Agb, ShareParams, Viewers};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::remote::{Failure, Remote};
use crate::show;

/// What to share, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The session.
    id: String,
    /// What the holder of the URL may do: view, control, clipboard-in, clipboard-out, files.
    #[arg(long, value_name = "RIGHT,...", value_delimiter = ',', default_value = "view")]
    rights: Vec<String>,
    /// What the holder is called, for people to see.
    #[arg(long)]
    name: Option<String>,
    /// How long the URL is valid, such as `1h` or `90m`, at most 24h [default: as every live view URL of the server].
    #[arg(long, value_name = "TIME", value_parser = ttl)]
    ttl: Option<Duration>,
}

/// What to revoke.
#[derive(Debug, clap::Args)]
pub(crate) struct RevokeArgs {
    /// The session.
    id: String,
    /// The ticket of one URL, as `--json` of `share` tells it; without it, every live view URL of the session.
    ticket_id: Option<String>,
}

pub(super) async fn run(remote: &Remote, agb: Agb, args: &Args) -> Result<ExitCode, Failure> {
    let params = ShareParams {
        rights: args.rights.clone(),
        name: args.name.clone(),
        ttl: args.ttl,
    };
    let shared = agb.share(&args.id, params).await?;
    remote.answer(&shared, || format!("{}\n", show::clean(&shared.url)))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn revoke(remote: &Remote, agb: Agb, args: &RevokeArgs) -> Result<ExitCode, Failure> {
    agb.unshare(&args.id, args.ticket_id.as_deref()).await?;
    let document = json!({ "sessionId": args.id, "ticketId": args.ticket_id });
    remote.answer(&document, String::new)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn viewers(remote: &Remote, agb: Agb, id: &str) -> Result<ExitCode, Failure> {
    let viewers = agb.viewers(id).await?;
    remote.answer(&viewers, || table(&viewers, Timestamp::now()))?;
    Ok(ExitCode::SUCCESS)
}

fn table(viewers: &Viewers, now: Timestamp) -> String {
    let head = ["ID", "NAME", "TICKET", "RIGHTS", "SINCE", "CONTROL"].map(str::to_owned);
    let word = |text: &str| match text {
        "" => "-".to_owned(),
        text => show::clean(text),
    };
    let rows = viewers.viewers.iter().map(|viewer| {
        let since = Timestamp::from_millisecond(viewer.since).unwrap_or(now);
        [
            viewer.id.to_string(),
            word(&viewer.name),
            word(&viewer.ticket),
            word(&viewer.rights.join(",")),
            show::span(now.duration_since(since).as_secs().unsigned_abs()),
            if viewer.control { "yes" } else { "-" }.to_owned(),
        ]
    });
    show::table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

/// A time as a person writes it; the server says what is too long.
pub(super) fn ttl(text: &str) -> Result<Duration, String> {
    let span = text.parse::<SignedDuration>().ok();
    span.filter(|span| *span >= SignedDuration::from_secs(1))
        .and_then(|span| Duration::try_from(span).ok())
        .ok_or_else(|| "allowed: a time such as `1h` or `90m`, at least 1s".to_owned())
}

#[cfg(test)]
mod tests {
    use berth_client::Viewer;

    use super::*;

    #[test]
    fn a_time_is_read_as_people_write_it() {
        for (text, seconds) in [("1h", 3600), ("90m", 5400), ("1h 30s", 3630), ("24h", 86_400)] {
            assert_eq!(ttl(text).unwrap(), Duration::from_secs(seconds), "{text}");
        }
        for bad in ["", "1", "0s", "-1h", "later", "10ms"] {
            assert!(ttl(bad).unwrap_err().contains("`1h`"), "{bad}");
        }
    }

    #[test]
    fn a_row_tells_who_looks_and_moves_no_cursor() {
        let viewers = Viewers {
            viewers: vec![
                Viewer {
                    id: 1,
                    control: true,
                    ..Viewer::default()
                },
                Viewer {
                    id: 2,
                    name: "Ann\u{1b}[2J".into(),
                    ticket: "t-1".into(),
                    rights: vec!["view".into(), "files".into()],
                    since: 60_000,
                    control: false,
                },
            ],
            agent: None,
        };
        assert_eq!(
            table(&viewers, Timestamp::from_second(180).unwrap()),
            "ID  NAME     TICKET  RIGHTS      SINCE  CONTROL\n\
             1   -        -       -           3 min  yes\n\
             2   Ann\u{fffd}[2J  t-1     view,files  2 min  -\n"
        );
    }
}
