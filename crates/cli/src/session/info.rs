//! `berth session info`: all that is known of a session. Of one that has ended: why, when, its memory, its last words.

use std::process::ExitCode;

use berth_client::{Agb, RecordingStatus, SessionDetail};
use jiff::Timestamp;
use serde::Serialize;

use super::list::status;
use crate::remote::{Failure, Remote};
use crate::show::{age, clean, labels, size, span, table};

/// The last lines of a log that are shown.
const LINES: usize = 20;

/// The detail, and of a session that has ended its log.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    detail: &'a SessionDetail,
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<&'a [String]>,
}

pub(super) async fn run(remote: &Remote, agb: Agb, id: &str) -> Result<ExitCode, Failure> {
    let detail = agb.detail(id).await?;
    let log = match detail.end {
        Some(_) => Some(agb.log(id).await?.lines),
        None => None,
    };
    show(remote, &detail, log.as_deref())?;
    Ok(ExitCode::SUCCESS)
}

/// Answers with the detail.
pub(super) fn show(remote: &Remote, detail: &SessionDetail, log: Option<&[String]>) -> Result<(), Failure> {
    remote.answer(&Document { detail, log }, || text(detail, log, Timestamp::now()))
}

fn text(detail: &SessionDetail, log: Option<&[String]>, now: Timestamp) -> String {
    let summary = &detail.summary;
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push([name.to_owned(), value]);
    row("session", clean(&summary.session_id));
    row("image", clean(&summary.image));
    row("status", status(summary.status).to_owned());
    if !summary.labels.is_empty() {
        row("labels", labels(&summary.labels));
    }
    row(
        "made",
        format!(
            "{} ({} ago)",
            clean(&summary.created_at),
            age(&summary.created_at, now)
        ),
    );
    row("runs in", clean(&detail.resource_id));
    row("idle timeout", span(detail.idle_timeout_seconds));
    if let Some(idle) = detail.idle_seconds {
        row("last used", format!("{} ago", span(idle)));
    }
    if let Some(ends_at) = &detail.ends_at {
        row("ends", format!("{} (in {})", clean(ends_at), age(ends_at, now)));
    }
    row("memory limit", size(detail.memory_limit_bytes));
    if let Some(peak) = detail.memory_peak_bytes {
        row("memory peak", size(peak));
    }
    row("viewers", detail.viewers.to_string());
    if let Some(recording) = detail.recording {
        let text = match recording {
            RecordingStatus::Recording => "under way",
            RecordingStatus::Full => "full; what follows is not recorded",
            RecordingStatus::Failed => "failed; the server's log says why",
        };
        row("recording", text.to_owned());
    }
    if let Some(end) = &detail.end {
        row("end", format!("{}: {}", clean(&end.reason), clean(&end.text)));
        if let Some(at) = &end.at {
            row("ended", format!("{} ({} ago)", clean(at), age(at, now)));
        }
    }
    let mut text = table(&rows);
    for (n, line) in log.into_iter().flat_map(last_lines).enumerate() {
        if n == 0 {
            text += "last lines of its log:\n";
        }
        text += &format!("  {}\n", clean(line));
    }
    text
}

fn last_lines(lines: &[String]) -> &[String] {
    &lines[lines.len().saturating_sub(LINES)..]
}

#[cfg(test)]
mod tests {
    use berth_client::{SessionEnd, SessionStatus, SessionSummary};

    use super::*;

    #[test]
    fn an_ended_session_shows_why_when_and_its_last_words() {
        let detail = SessionDetail {
            summary: SessionSummary {
                session_id: "s-1".into(),
                image: "code".into(),
                status: SessionStatus::Finish,
                labels: [("a".into(), "b".into())].into(),
                created_at: "2026-01-02T03:00:00Z".into(),
            },
            resource_id: "sb-1".into(),
            idle_timeout_seconds: 300,
            idle_seconds: None,
            ends_at: None,
            memory_limit_bytes: 2 << 30,
            memory_peak_bytes: Some(130 << 20),
            viewers: 0,
            recording: Some(RecordingStatus::Failed),
            end: Some(SessionEnd {
                reason: "idle".into(),
                text: "nobody used it".into(),
                at: Some("2026-01-02T03:05:00Z".into()),
            }),
        };
        let log: Vec<_> = (0..30).map(|n| format!("line {n}\r")).collect();
        let text = text(&detail, Some(&log), "2026-01-02T04:05:00Z".parse().unwrap());
        for part in [
            "status        FINISH\n",
            "memory peak   130 MiB\n",
            "recording     failed; the server's log says why\n",
            "end           idle: nobody used it\n",
            "ended         2026-01-02T03:05:00Z (1 h ago)\n",
            "log:\n  line 10\u{fffd}\n",
        ] {
            assert!(text.contains(part), "{part:?} is not in:\n{text}");
        }
        assert!(
            !text.contains("last used") && !text.contains("line 9\u{fffd}"),
            "{text}"
        );
    }
}
