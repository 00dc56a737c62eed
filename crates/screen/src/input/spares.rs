//! Key codes that mean nothing, lent to characters that the keyboard map lacks. Pure: callers bring the time.
//!
//! A code has two places, plain and with shift. Applications look a key press up when they *handle* it, which may be a
//! while after it was made. So a place keeps its symbol for as long as other places can be had, and for [`GRACE`] after
//! its last use in any case.

use std::time::{Duration, Instant};

use super::keymap::{Keycode, Stroke};

/// Time after which every application has handled a key press.
const GRACE: Duration = Duration::from_millis(150);
/// Free codes that are left alone: `xdotool` and the like need one as well.
const LEFT_FREE: usize = 2;

/// The codes that are lent, or can be.
#[derive(Debug, Default)]
pub struct Spares {
    places: Vec<Place>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    stroke: Stroke,
    /// 0: lent to nobody.
    symbol: u32,
    used: Option<Instant>,
}

/// What has to be done before a set of symbols can be typed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Loan {
    /// Codes that get another meaning, plain and with shift; lowest first.
    pub changes: Vec<(Keycode, [u32; 2])>,
    /// How long to wait before that.
    pub wait: Duration,
}

impl Spares {
    /// Adjusts to a map that was read anew: `free` codes mean nothing there, `meaning` is what a code means there, plain
    /// and with shift. Codes to which somebody else gave a meaning are given up.
    pub fn follow(&mut self, free: &[Keycode], meaning: impl Fn(Keycode) -> [u32; 2]) {
        for place in &mut self.places {
            if meaning(place.stroke.keycode) == [0, 0] {
                place.symbol = 0;
            }
        }
        // X may say nothing for shift where it means the same as plain.
        let kept = |code: Keycode| {
            let (ours, theirs) = (self.meaning(code), meaning(code));
            ours[0] == theirs[0] && (ours[1] == theirs[1] || theirs[1] == 0)
        };
        let kept: Vec<Keycode> = self.keycodes().into_iter().filter(|code| kept(*code)).collect();
        self.places.retain(|place| kept.contains(&place.stroke.keycode));
        let fresh: Vec<_> = free.iter().filter(|code| !kept.contains(code)).collect();
        let take = fresh.len().saturating_sub(LEFT_FREE);
        // Plain places first: they need no shift.
        for shift in [false, true] {
            self.places.extend(fresh.iter().take(take).map(|code| Place {
                stroke: Stroke {
                    shift,
                    ..Stroke::plain(**code)
                },
                symbol: 0,
                used: None,
            }));
        }
    }

    /// What a code was made to mean, plain and with shift. A single meaning counts for both, as X has it.
    fn meaning(&self, code: Keycode) -> [u32; 2] {
        let of = |shift| {
            self.places
                .iter()
                .find(|p| {
                    p.stroke
                        == Stroke {
                            shift,
                            ..Stroke::plain(code)
                        }
                })
                .map_or(0, |p| p.symbol)
        };
        match [of(false), of(true)] {
            [plain, 0] => [plain; 2],
            [0, shifted] => [shifted; 2],
            both => both,
        }
    }

    /// All codes that are lent or kept for it, lowest first.
    pub fn keycodes(&self) -> Vec<Keycode> {
        let mut codes: Vec<Keycode> = self.places.iter().map(|place| place.stroke.keycode).collect();
        codes.sort_unstable();
        codes.dedup();
        codes
    }

    /// Codes that mean something now, lowest first.
    pub fn lent(&self) -> Vec<Keycode> {
        self.keycodes()
            .into_iter()
            .filter(|code| self.meaning(*code) != [0, 0])
            .collect()
    }

    /// How many symbols can be typed without a change in between.
    pub fn capacity(&self) -> usize {
        self.places.len()
    }

    /// How to press the key that means `symbol`, if one does; it counts as used.
    pub fn stroke(&mut self, symbol: u32, now: Instant) -> Option<Stroke> {
        let place = self.places.iter_mut().find(|place| place.symbol == symbol)?;
        place.used = Some(now);
        Some(place.stroke)
    }

    /// Lends places to those of `symbols` (different ones) that have none, taking the place that was used longest ago
    /// and never one of `symbols` itself, nor a key that is `held`. As many get one as there are places.
    pub fn lend(&mut self, symbols: &[u32], held: impl Fn(Keycode) -> bool, now: Instant) -> Loan {
        let mut loan = Loan::default();
        let has_none = |symbol: &u32| self.places.iter().all(|place| place.symbol != *symbol);
        let missing: Vec<u32> = symbols.iter().copied().filter(has_none).collect();
        let mut victims: Vec<&mut Place> = self
            .places
            .iter_mut()
            .filter(|place| !symbols.contains(&place.symbol) && !held(place.stroke.keycode))
            .collect();
        victims.sort_by_key(|place| {
            (
                place.symbol != 0,
                place.used,
                place.stroke.shift,
                place.stroke.keycode,
            )
        });
        let mut changed = Vec::new();
        for (symbol, place) in missing.into_iter().zip(victims) {
            let rest = place
                .used
                .map(|used| (used + GRACE).saturating_duration_since(now));
            loan.wait = loan.wait.max(rest.unwrap_or_default());
            (place.symbol, place.used) = (symbol, None);
            changed.push(place.stroke.keycode);
        }
        changed.sort_unstable();
        changed.dedup();
        loan.changes = changed
            .into_iter()
            .map(|code| (code, self.meaning(code)))
            .collect();
        loan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: fn() -> Instant = Instant::now;

    /// Spares with so many codes to lend, from 200 on.
    fn spares(codes: u8) -> Spares {
        let mut spares = Spares::default();
        spares.follow(&(200..200 + codes + LEFT_FREE as u8).collect::<Vec<_>>(), |_| {
            [0, 0]
        });
        spares
    }

    fn nobody(_: Keycode) -> bool {
        false
    }

    #[test]
    fn some_codes_stay_free() {
        assert_eq!(spares(6).keycodes(), [200, 201, 202, 203, 204, 205]);
        assert_eq!(spares(6).capacity(), 12);
        assert_eq!(spares(0).capacity(), 0);
    }

    #[test]
    fn a_place_keeps_its_symbol_while_others_can_be_had() {
        let (mut spares, start) = (spares(2), START());
        assert_eq!(
            spares.lend(&[1, 2, 3], nobody, start).changes,
            [(200, [1, 3]), (201, [2, 2])]
        );
        assert_eq!(
            spares.stroke(3, start),
            Some(Stroke {
                keycode: 200,
                shift: true,
                level3: false
            })
        );
        for symbol in [1, 2] {
            spares.stroke(symbol, start + GRACE);
        }
        assert_eq!(spares.lend(&[4], nobody, start + GRACE).changes, [(201, [2, 4])]);
        spares.stroke(4, start + GRACE);
        // All are lent now: the one used longest ago goes, and at once, for its use is past.
        let loan = spares.lend(&[5], nobody, start + GRACE);
        assert_eq!(
            loan,
            Loan {
                changes: vec![(200, [1, 5])],
                wait: Duration::ZERO
            }
        );
    }

    #[test]
    fn a_place_used_just_now_is_waited_for_and_a_held_key_is_not_taken() {
        let (mut spares, start) = (spares(2), START());
        spares.lend(&[1, 2, 3, 4], nobody, start);
        for symbol in 1..=4 {
            spares.stroke(symbol, start);
        }
        let loan = spares.lend(&[5], |code| code == 200, start + Duration::from_millis(50));
        assert_eq!(
            loan,
            Loan {
                changes: vec![(201, [5, 4])],
                wait: GRACE - Duration::from_millis(50)
            }
        );
    }

    #[test]
    fn more_symbols_than_places_get_as_many_as_there_are() {
        let mut spares = spares(1);
        assert_eq!(spares.lend(&[1, 2, 3], nobody, START()).changes, [(200, [1, 2])]);
        assert_eq!(spares.stroke(3, START()), None);
    }

    #[test]
    fn what_somebody_else_changed_is_given_up_and_what_they_reset_is_free_again() {
        let (mut spares, start) = (spares(3), START());
        spares.lend(&[1, 2, 3], nobody, start);
        spares.follow(&[201], |code| match code {
            200 => [77, 77],
            201 => [0, 0],
            _ => [3, 3],
        });
        assert_eq!(spares.keycodes(), [201, 202]);
        assert_eq!(spares.stroke(2, start), None);
        assert_eq!(spares.stroke(3, start), Some(Stroke::plain(202)));
    }
}
