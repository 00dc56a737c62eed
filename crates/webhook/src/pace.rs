//! When an event is tried again, and when no more. Pure: callers bring the time and the chance.

use std::time::Duration;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// For one attempt, from the connection to the head of the answer.
    pub timeout: Duration,
    /// The pause after the first failed attempt. It doubles with each.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// An event that is older when an attempt fails is given up.
    pub give_up_after: Duration,
    /// How often the store is looked at while nothing is due.
    pub look_every: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            first_pause: Duration::from_secs(5),
            longest_pause: Duration::from_secs(3600),
            give_up_after: Duration::from_secs(24 * 3600),
            look_every: Duration::from_secs(1),
        }
    }
}

impl Pace {
    /// The pause after an attempt has failed; `None` when it was the last. `failures` counts it; `chance` is 0 to 1.
    ///
    /// The pause is between two thirds of its nominal length and all of it, so that events which failed together do
    /// not come back together.
    pub(crate) fn pause(&self, failures: u32, age: Duration, chance: f64) -> Option<Duration> {
        if age >= self.give_up_after {
            return None;
        }
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        let nominal = (self.first_pause * 3 / 2)
            .saturating_mul(doubled)
            .min(self.longest_pause);
        Some(nominal.mul_f64(2.0 / 3.0 + chance.clamp(0.0, 1.0) / 3.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pauses_double_from_five_seconds_to_an_hour() {
        let pace = Pace::default();
        let seconds = |failures, chance| {
            pace.pause(failures, Duration::ZERO, chance)
                .unwrap()
                .as_secs_f64()
                .round()
        };
        let shortest: Vec<_> = (1..=5).map(|failures| seconds(failures, 0.0)).collect();
        assert_eq!(shortest, [5.0, 10.0, 20.0, 40.0, 80.0]);
        assert_eq!(
            (seconds(1, 1.0), seconds(20, 1.0), seconds(20, 0.0)),
            (8.0, 3600.0, 2400.0)
        );
    }

    #[test]
    fn an_event_is_given_up_after_a_day() {
        let pace = Pace::default();
        let day = Duration::from_secs(24 * 3600);
        assert!(pace.pause(30, day - Duration::from_secs(1), 0.5).is_some());
        assert_eq!(pace.pause(1, day, 0.5), None);
    }

    proptest! {
        #[test]
        fn any_pause_is_within_its_bounds(failures: u32, chance in -1.0..2.0) {
            let pace = Pace::default();
            let pause = pace.pause(failures, Duration::ZERO, chance).unwrap();
            prop_assert!(pause.as_secs_f64() > 4.999 && pause <= pace.longest_pause);
        }
    }
}
