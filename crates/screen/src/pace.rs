//! When the next capture may be. Pure: callers bring the time.
//!
//! The first change after quiet goes at once (after a moment to [`settle`], so that one redraw of an application is one
//! capture); steady change is held to a rate; and a capture that took long is followed by half as long a rest, so that a
//! session with moving pictures leaves its processor to those who draw them. While a person acts, that rest is left out.

use std::time::{Duration, Instant};

/// From the first sign of a change to its capture, for one of a part of the screen and for one of much of it, which takes
/// longer to draw.
const SETTLE_PART: Duration = Duration::from_micros(500);
const SETTLE_MUCH: Duration = Duration::from_micros(1500);
/// A change of more than one pixel in so many is one of much of the screen.
const MUCH: usize = 8;

/// Time a capture costs in the bucket: slightly less than a sixtieth of a second, so that a 60 Hz animation is not
/// cut to 59.
const INTERVAL: Duration = Duration::from_micros(15_500);
/// Captures that may follow each other after quiet.
const BURST: u32 = 3;
/// Even within a burst.
const SHORTEST_GAP: Duration = Duration::from_millis(3);

/// How long a change of so many pixels takes to be drawn whole.
pub fn settle(changed: usize, screen: usize) -> Duration {
    if changed > screen / MUCH {
        SETTLE_MUCH
    } else {
        SETTLE_PART
    }
}

/// A token bucket, kept as the time at which it will be full again.
#[derive(Debug, Default)]
pub struct Pace {
    full_at: Option<Instant>,
    /// The next capture is no burst from here on.
    apart: Option<Instant>,
    /// And others have had their share of the processor.
    rested: Option<Instant>,
}

impl Pace {
    /// The earliest time for a capture of what has settled at `settled`. An `urgent` one does not rest.
    pub fn due(&self, settled: Instant, urgent: bool) -> Instant {
        // With the bucket full at `t`, the first of its tokens is there `BURST - 1` intervals before.
        let token = self
            .full_at
            .map(|full| full.checked_sub(INTERVAL * (BURST - 1)).unwrap_or(full));
        let rested = if urgent { self.apart } else { self.rested };
        [token, rested].into_iter().flatten().fold(settled, Instant::max)
    }

    /// A capture, and all the encoding that it caused, ran from `started` to `ended`.
    pub fn captured(&mut self, started: Instant, ended: Instant) {
        let full = self.full_at.map_or(started, |full| full.max(started));
        self.full_at = Some(full + INTERVAL);
        let took = ended.saturating_duration_since(started);
        let apart = started + SHORTEST_GAP;
        self.apart = Some(apart);
        self.rested = Some(apart.max(ended + took / 2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn the_first_change_after_quiet_only_settles() {
        let start = Instant::now();
        assert_eq!(Pace::default().due(start, false), start);
        let mut pace = Pace::default();
        pace.captured(start, start + ms(1));
        assert_eq!(pace.due(start + ms(500), false), start + ms(500));
        assert!(settle(900_000, 921_600) > settle(2_000, 921_600));
    }

    #[test]
    fn steady_change_is_captured_sixty_times_a_second() {
        let start = Instant::now();
        let (mut pace, mut now, mut captures) = (Pace::default(), start, 0);
        while now < start + ms(10_000) {
            now = pace.due(now, false);
            pace.captured(now, now + Duration::from_micros(400));
            captures += 1;
        }
        assert!((600..=660).contains(&captures), "{captures}");
    }

    #[test]
    fn three_changes_may_follow_each_other() {
        let start = Instant::now();
        let (mut pace, mut now) = (Pace::default(), start);
        for _ in 0..3 {
            now = pace.due(now, false);
            pace.captured(now, now);
        }
        assert!(now < start + ms(10));
        assert!(pace.due(now, false) > start + ms(14));
    }

    #[test]
    fn a_long_encoding_is_followed_by_a_rest() {
        let start = Instant::now();
        let mut pace = Pace::default();
        pace.captured(start, start + ms(40));
        assert_eq!(pace.due(start + ms(40), false), start + ms(60));
        assert_eq!(pace.due(start + ms(40), true), start + ms(40), "a person acts");
    }
}
