//! All that is known of one session, alive or over.

use std::collections::BTreeMap;
use std::sync::Arc;

use berth_store::SessionRow;
use jiff::Timestamp;

use crate::error::ControlError;
use crate::life::End;
use crate::session::Session;
use crate::{Control, end_of, unknown};

/// Lines of a session's log that outlive it.
const LOG_LINES_MAX: usize = 20;

/// Bytes of a session's log that outlive it.
const LOG_BYTES_MAX: usize = 4096;

/// All that is known of one session.
#[derive(Debug)]
pub struct Detail {
    /// Its row in the store.
    pub row: SessionRow,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The session itself, while it takes calls here.
    pub live: Option<Arc<Session>>,
    /// When its lifetime is over, if it has a limit.
    pub ends_at: Option<Timestamp>,
    /// The most memory that it has used at once, in bytes, when known.
    pub memory_peak_bytes: Option<u64>,
    /// Why it is over.
    pub end: Option<End>,
}

impl Control {
    /// All that is known of a session of this key, also of one that has ended within the last day.
    pub async fn detail(&self, key_id: &str, id: &str) -> Result<Detail, ControlError> {
        let row = self.owned_row(key_id, id).await?;
        let end = end_of(&row);
        let live = self.live(id);
        let memory_peak_bytes = match &live {
            Some(session) => session.sandbox.memory_peak().await.ok(),
            None => row.memory_peak_bytes,
        };
        let lifetime = (!self.config.lifetime.is_zero()).then_some(self.config.lifetime);
        let ends_at = lifetime
            .filter(|_| end.is_none())
            .and_then(|lifetime| row.created.checked_add(lifetime).ok());
        Ok(Detail {
            labels: self.store.labels(&row.id).await?,
            live,
            ends_at,
            memory_peak_bytes,
            end,
            row,
        })
    }

    /// The last lines that a session's guest wrote, oldest first, also of one that has ended.
    pub async fn log(&self, key_id: &str, id: &str) -> Result<Vec<String>, ControlError> {
        let row = self.owned_row(key_id, id).await?;
        Ok(match self.live(id) {
            Some(session) => session.sandbox.log_tail(),
            None => row
                .log_tail
                .unwrap_or_default()
                .lines()
                .map(str::to_owned)
                .collect(),
        })
    }

    pub(crate) async fn owned_row(&self, key_id: &str, id: &str) -> Result<SessionRow, ControlError> {
        let row = self.store.session(id).await?;
        row.filter(|row| row.key_id == key_id).ok_or_else(|| unknown(id))
    }
}

/// The end of a log, as it is kept: whole lines, the last ones.
pub(crate) fn log_text(lines: &[String]) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut bytes = 0;
    for line in lines.iter().rev().take(LOG_LINES_MAX) {
        bytes += line.len() + 1;
        if bytes > LOG_BYTES_MAX {
            break;
        }
        kept.push(line);
    }
    kept.reverse();
    kept.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_lines_of_a_log_are_kept() {
        let lines: Vec<String> = (0..100).map(|n| format!("line {n}")).collect();
        let text = log_text(&lines);
        assert_eq!(text.lines().count(), LOG_LINES_MAX);
        assert!(text.starts_with("line 80") && text.ends_with("line 99"));
        let long = ["x".repeat(LOG_BYTES_MAX), "short".to_owned()];
        assert_eq!(log_text(&long), "short");
        assert_eq!(log_text(&[]), "");
    }
}
