//! What a key may use: sessions at once, their memory, creations per minute.
//!
//! Counted in memory, by this server: a session counts from the moment that its creation is admitted until its end is
//! decided, so two creations that race cannot both take the last place. A restart counts what it adopts.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use berth_store::KeyRow;
use jiff::{SignedDuration, Timestamp};

use crate::error::ControlError;

/// The time over which creations are counted.
const WINDOW: SignedDuration = SignedDuration::from_mins(1);

/// Counts of all keys that have sessions.
#[derive(Debug, Default)]
pub(crate) struct Quotas {
    keys: Mutex<HashMap<String, Use>>,
}

#[derive(Debug, Default)]
struct Use {
    sessions: u32,
    memory_bytes: u64,
    /// Creations of the last minute, oldest first. Kept only for keys that are limited by it, so never longer than
    /// that limit.
    creations: VecDeque<Timestamp>,
}

/// A session's place in the counts; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Admission {
    quotas: Arc<Quotas>,
    key_id: String,
    memory_bytes: u64,
}

impl Quotas {
    /// Admits a new session of this key, or says which limit is reached.
    pub(crate) fn admit(
        self: &Arc<Self>,
        key: &KeyRow,
        memory_bytes: u64,
        now: Timestamp,
    ) -> Result<Admission, ControlError> {
        let mut keys = self.lock();
        let used = keys.entry(key.id.clone()).or_default();
        let refuse = |limit, allowed: u64, used: u64, remedy| {
            let key = key.name.clone();
            Err(ControlError::Quota {
                limit,
                key,
                allowed,
                used,
                remedy,
            })
        };
        if let Some(allowed) = key.limits.sessions.filter(|allowed| used.sessions >= *allowed) {
            let remedy = "release one first";
            return refuse(QuotaLimit::Sessions, allowed.into(), used.sessions.into(), remedy);
        }
        let memory_mib = (used.memory_bytes + memory_bytes) >> 20;
        if let Some(allowed) = key.limits.memory_mib.filter(|allowed| memory_mib > *allowed) {
            let remedy = "release a session, or use an image that needs less";
            return refuse(QuotaLimit::Memory, allowed, memory_mib, remedy);
        }
        if let Some(allowed) = key.limits.creations_per_minute {
            let begin = now.checked_sub(WINDOW).unwrap_or(Timestamp::MIN);
            while used.creations.front().is_some_and(|at| *at <= begin) {
                used.creations.pop_front();
            }
            if used.creations.len() >= allowed as usize {
                let remedy = "wait a moment";
                return refuse(
                    QuotaLimit::Creations,
                    allowed.into(),
                    used.creations.len() as u64,
                    remedy,
                );
            }
            used.creations.push_back(now);
        }
        Ok(self.count(used, &key.id, memory_bytes))
    }

    /// Counts a session that exists already.
    pub(crate) fn adopt(self: &Arc<Self>, key_id: &str, memory_bytes: u64) -> Admission {
        let mut keys = self.lock();
        self.count(keys.entry(key_id.to_owned()).or_default(), key_id, memory_bytes)
    }

    fn count(self: &Arc<Self>, used: &mut Use, key_id: &str, memory_bytes: u64) -> Admission {
        used.sessions += 1;
        used.memory_bytes += memory_bytes;
        Admission {
            quotas: Arc::clone(self),
            key_id: key_id.to_owned(),
            memory_bytes,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Use>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut keys = self.quotas.lock();
        if let Some(used) = keys.get_mut(&self.key_id) {
            used.sessions = used.sessions.saturating_sub(1);
            used.memory_bytes = used.memory_bytes.saturating_sub(self.memory_bytes);
            if used.sessions == 0 && used.creations.is_empty() {
                keys.remove(&self.key_id);
            }
        }
    }
}

/// A limit of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaLimit {
    /// Sessions at once.
    Sessions,
    /// Memory of all its sessions together, in MiB, as their limits say.
    Memory,
    /// Sessions made within a minute.
    Creations,
}

impl std::fmt::Display for QuotaLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            QuotaLimit::Sessions => "sessions at once",
            QuotaLimit::Memory => "MiB of memory in all",
            QuotaLimit::Creations => "new sessions per minute",
        })
    }
}

#[cfg(test)]
mod tests {
    use berth_store::KeyLimits;

    use super::*;

    fn key(limits: KeyLimits) -> KeyRow {
        KeyRow {
            id: "k1".into(),
            name: "team".into(),
            created: Timestamp::UNIX_EPOCH,
            revoked: None,
            expires: None,
            limits,
        }
    }

    fn refusal(result: Result<Admission, ControlError>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn places_are_limited_and_come_back() {
        let quotas = Arc::new(Quotas::default());
        let key = key(KeyLimits {
            sessions: Some(2),
            ..KeyLimits::default()
        });
        let now = Timestamp::UNIX_EPOCH;
        let first = quotas.admit(&key, 1, now).unwrap();
        let _second = quotas.adopt("k1", 1);
        let text = refusal(quotas.admit(&key, 1, now));
        assert!(
            text.contains("`team`") && text.contains("2 sessions at once"),
            "{text}"
        );
        drop(first);
        quotas.admit(&key, 1, now).unwrap();
    }

    #[test]
    fn memory_is_counted_by_what_sessions_may_use() {
        let quotas = Arc::new(Quotas::default());
        let key = key(KeyLimits {
            memory_mib: Some(3),
            ..KeyLimits::default()
        });
        let now = Timestamp::UNIX_EPOCH;
        let _first = quotas.admit(&key, 2 << 20, now).unwrap();
        assert!(refusal(quotas.admit(&key, 2 << 20, now)).contains("3 MiB of memory"));
        let _second = quotas.admit(&key, 1 << 20, now).unwrap();
    }

    #[test]
    fn creations_are_counted_for_a_minute_whatever_became_of_them() {
        let quotas = Arc::new(Quotas::default());
        let key = key(KeyLimits {
            creations_per_minute: Some(2),
            ..KeyLimits::default()
        });
        let at = |second| Timestamp::from_second(second).unwrap();
        drop(quotas.admit(&key, 1, at(0)).unwrap());
        drop(quotas.admit(&key, 1, at(30)).unwrap());
        assert!(refusal(quotas.admit(&key, 1, at(59))).contains("2 new sessions per minute"));
        drop(quotas.admit(&key, 1, at(60)).unwrap());
        assert!(quotas.admit(&key, 1, at(61)).is_err());
    }

    #[test]
    fn nothing_is_kept_of_a_key_without_sessions() {
        let quotas = Arc::new(Quotas::default());
        drop(
            quotas
                .admit(&key(KeyLimits::default()), 1, Timestamp::UNIX_EPOCH)
                .unwrap(),
        );
        assert!(quotas.lock().is_empty());
    }
}
