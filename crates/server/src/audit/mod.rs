//! The audit log: who created, used, watched and ended what, one JSON object a line. Its members are listed in
//! `docs/operations.md`.
//!
//! In: requests, as [`request`] follows them; ends that the control plane decides ([`Observer`]); keys that the `berth key`
//! commands make and revoke. Out: a line in a file that only grows, before the answer that it tells of is sent.
//!
//! Never: a key, a token, a ticket, an argument, a line of code, the value of a label.

mod file;
mod request;

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use berth_control::{Change, KeyRow, Observer};
use file::{FILE_BYTES_MAX, LineFile};
use jiff::Timestamp;
use serde::Serialize;

pub(crate) use request::{Asked, Part, asked_by, names, note, opened, part, shown, tell, uses, watch};

/// The event of a caller without a valid credential.
const REFUSED: &str = "auth.refused";

/// Lines a second at most of callers who have shown no valid credential: they must not be able to fill the disk.
const STRANGERS_PER_SECOND: u32 = 20;

/// Where audit lines go.
#[derive(Debug)]
pub struct Audit(Option<Mutex<Log>>);

#[derive(Debug)]
struct Log {
    file: LineFile,
    strangers: Strangers,
}

/// One line. Members that say nothing are left out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    time: Time,
    event: &'a str,
    outcome: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    forwarded_for: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<u64>,
}

impl<'a> Line<'a> {
    fn of(event: &'a str) -> Self {
        Self {
            time: Time,
            event,
            outcome: "ok",
            request_id: None,
            credential: None,
            key_id: None,
            key_name: None,
            session_id: None,
            ticket_id: None,
            peer: None,
            forwarded_for: None,
            route: None,
            image: None,
            labels: None,
            tool: None,
            reason: None,
            duration_ms: None,
            skipped: None,
        }
    }
}

/// The moment at which a line is written, so that times in the file only grow.
#[derive(Debug)]
struct Time;

impl Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:.3}", Timestamp::now()))
    }
}

/// How many lines strangers have had in this second.
#[derive(Debug)]
struct Strangers {
    second: Instant,
    lines: u32,
    skipped: u64,
}

impl Strangers {
    /// Whether a stranger's line may be written at `now`; if so, how many were not since the last one.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        if now.duration_since(self.second) >= Duration::from_secs(1) {
            (self.second, self.lines) = (now, 0);
        }
        if self.lines >= STRANGERS_PER_SECOND {
            self.skipped += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.skipped))
    }
}

/// Why the audit log cannot be written. The server does not start without it, unless it is told to.
#[derive(Debug, thiserror::Error)]
#[error("could not open the audit log `{path}`; allowed for `audit`: a file that can be made, or `off`")]
pub struct AuditError {
    path: String,
    source: std::io::Error,
}

impl Audit {
    /// Appends to a file, making it if need be.
    pub fn open(path: &Path) -> Result<Self, AuditError> {
        Ok(Self(Some(Mutex::new(Log {
            file: LineFile::open(path, FILE_BYTES_MAX).map_err(|source| AuditError {
                path: path.display().to_string(),
                source,
            })?,
            strangers: Strangers {
                second: Instant::now(),
                lines: 0,
                skipped: 0,
            },
        }))))
    }

    /// Writes nothing.
    pub fn off() -> Self {
        Self(None)
    }

    /// Notes that an API key was made on the command line.
    pub fn key_created(&self, key: &KeyRow) {
        self.key("key.create", key);
    }

    /// Notes that an API key was revoked on the command line.
    pub fn key_revoked(&self, key: &KeyRow) {
        self.key("key.revoke", key);
    }

    fn key(&self, event: &str, key: &KeyRow) {
        self.write(Line {
            credential: Some("command"),
            key_id: Some(&key.id),
            key_name: Some(&key.name),
            ..Line::of(event)
        });
    }

    fn write(&self, mut line: Line<'_>) {
        let Some(log) = &self.0 else { return };
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        if line.key_id.is_none() || line.event == REFUSED {
            match log.strangers.admit(Instant::now()) {
                None => return,
                Some(skipped) => line.skipped = Some(skipped).filter(|skipped| *skipped > 0),
            }
        }
        let mut text = match serde_json::to_vec(&line) {
            Ok(text) => text,
            Err(error) => return tracing::error!("could not write an audit line: {error}"),
        };
        text.push(b'\n');
        log.file.append(&text);
    }
}

impl Observer for Audit {
    fn session_changed(&self, session_id: &str, key_id: &str, change: Change) {
        let (event, reason) = match change {
            Change::Paused => ("session.paused", None),
            Change::Resumed => ("session.resumed", None),
            Change::Ended(why) => ("session.ended", Some(why.word())),
        };
        self.write(Line {
            key_id: Some(key_id),
            session_id: Some(session_id),
            reason,
            ..Line::of(event)
        });
    }
}

#[cfg(test)]
mod tests {
    use berth_control::{EndReason, KeyLimits};

    use super::*;

    fn key() -> KeyRow {
        KeyRow {
            id: "k1".into(),
            name: "\"quoted\"\nname".into(),
            created: Timestamp::UNIX_EPOCH,
            revoked: None,
            expires: None,
            limits: KeyLimits::default(),
        }
    }

    fn lines(path: &Path) -> Vec<serde_json::Value> {
        let text = fs_err::read_to_string(path).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn a_line_holds_what_is_known_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let audit = Audit::open(&path).unwrap();
        audit.key_created(&key());
        audit.session_changed("s-1", "k1", Change::Ended(EndReason::Idle));
        let lines = lines(&path);
        let mut first = lines[0].as_object().unwrap().clone();
        let time: Timestamp = first.remove("time").unwrap().as_str().unwrap().parse().unwrap();
        assert!(Timestamp::now().duration_since(time).as_secs() < 60);
        assert_eq!(
            serde_json::Value::from(first),
            serde_json::json!({"event": "key.create", "outcome": "ok", "credential": "command", "keyId": "k1",
                "keyName": "\"quoted\"\nname"})
        );
        assert_eq!(lines[1]["event"], "session.ended");
        assert_eq!(lines[1]["reason"], "idle");
    }

    #[test]
    fn strangers_get_few_lines_a_second_and_are_counted() {
        let start = Instant::now();
        let mut strangers = Strangers {
            second: start,
            lines: 0,
            skipped: 0,
        };
        let admitted = (0..100).filter(|_| strangers.admit(start).is_some()).count();
        assert_eq!(admitted, STRANGERS_PER_SECOND as usize);
        let later = start + Duration::from_secs(1);
        assert_eq!(
            strangers.admit(later),
            Some(u64::from(100 - STRANGERS_PER_SECOND))
        );
        assert_eq!(strangers.admit(later), Some(0));
    }

    #[test]
    fn a_bad_path_is_refused_with_what_is_allowed() {
        let refused = Audit::open(Path::new("/dev/null/audit.jsonl"))
            .unwrap_err()
            .to_string();
        assert!(refused.contains("`/dev/null/audit.jsonl`") && refused.contains("`audit`"));
    }

    #[test]
    fn a_log_that_is_off_writes_nothing() {
        Audit::off().key_revoked(&key());
    }
}
