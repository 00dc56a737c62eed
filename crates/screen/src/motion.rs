//! When change is motion, which video shows better than exact pixels do.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What is looked back at.
const SPAN: Duration = Duration::from_millis(500);
/// Changes within [`SPAN`] without which it is no motion: a window that opens is one change, or two.
const CHANGES: usize = 3;
/// Bytes within [`SPAN`], of exact pixels of photos, from which on it is motion: 3 Mbit/s.
const BYTES: usize = 200_000;

/// The photo-like changes of the last half second. Pure: callers bring the time.
#[derive(Debug, Clone, Default)]
pub struct Motion {
    changes: VecDeque<(Instant, usize)>,
}

impl Motion {
    /// Whether there was motion just now.
    pub fn is_active(&self, now: Instant) -> bool {
        let lately = |(at, _): &&(Instant, usize)| now.saturating_duration_since(*at) < SPAN;
        is_motion(self.changes.iter().filter(lately).map(|(_, bytes)| *bytes))
    }

    /// Photo-like tiles changed; sent exactly they would take `bytes`. Says whether this is motion.
    pub fn changed(&mut self, bytes: usize, now: Instant) -> bool {
        self.changes
            .retain(|(at, _)| now.saturating_duration_since(*at) < SPAN);
        if bytes > 0 {
            self.changes.push_back((now, bytes));
        }
        is_motion(self.changes.iter().map(|(_, bytes)| *bytes))
    }
}

fn is_motion(changes: impl Iterator<Item = usize>) -> bool {
    let (count, bytes) = changes.fold((0, 0), |(count, bytes), more| (count + 1, bytes + more));
    count >= CHANGES && bytes >= BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_is_motion_and_what_happens_once_is_not() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut motion = Motion::default();
        assert!(!motion.changed(2_000_000, at(0)), "a window opens");
        assert!(!motion.changed(50_000, at(30)));
        assert!(!motion.is_active(at(60)));
        assert!(motion.changed(50_000, at(60)), "and a film begins to play in it");
        assert!(motion.is_active(at(90)) && !motion.is_active(at(600)));
        assert!(!motion.changed(50_000, at(1_000)), "which stopped");
        assert!(
            !(0..20).any(|n| motion.changed(3_000, at(2_000 + n * 33))),
            "a small animation"
        );
    }
}
