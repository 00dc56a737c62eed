//! Key codes that mean nothing, lent to characters that the keyboard map lacks. Pure: callers bring the time.
//!
//! Applications look a key code up when they *handle* a key press, which may be a while after it was made. So a code
//! keeps its character for as long as other codes can be had, and for [`GRACE`] after its last use in any case.

use std::time::{Duration, Instant};

use super::keymap::Keycode;

/// Time after which every application has handled a key press.
const GRACE: Duration = Duration::from_millis(150);
/// Free codes that are left alone: `xdotool` and the like need some as well.
const LEFT_FREE: usize = 4;

/// The codes that are lent, or can be.
#[derive(Debug, Default)]
pub struct Spares {
    slots: Vec<Slot>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    keycode: Keycode,
    /// 0: lent to nobody.
    symbol: u32,
    used: Option<Instant>,
}

/// What has to be done before a set of symbols can be typed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Loan {
    /// Codes that get another meaning, lowest first.
    pub changes: Vec<(Keycode, u32)>,
    /// How long to wait before that.
    pub wait: Duration,
}

impl Spares {
    /// Adjusts to a map that was read anew: `free` codes mean nothing there, `first` is a code's symbol there. Codes to
    /// which somebody else gave a meaning are given up.
    pub fn follow(&mut self, free: &[Keycode], first: impl Fn(Keycode) -> u32) {
        for slot in &mut self.slots {
            if first(slot.keycode) == 0 {
                slot.symbol = 0;
            }
        }
        self.slots.retain(|slot| slot.symbol == first(slot.keycode));
        let fresh: Vec<_> = free
            .iter()
            .filter(|code| self.slots.iter().all(|s| s.keycode != **code))
            .collect();
        let take = fresh.len().saturating_sub(LEFT_FREE);
        self.slots.extend(fresh.into_iter().take(take).map(|code| Slot {
            keycode: *code,
            symbol: 0,
            used: None,
        }));
    }

    /// All codes that are lent or kept for it.
    pub fn keycodes(&self) -> Vec<Keycode> {
        self.slots.iter().map(|slot| slot.keycode).collect()
    }

    /// Codes that mean something now.
    pub fn lent(&self) -> Vec<Keycode> {
        self.slots
            .iter()
            .filter(|slot| slot.symbol != 0)
            .map(|slot| slot.keycode)
            .collect()
    }

    /// How many symbols can be typed without a change in between.
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// The code that means `symbol`, if one does; it counts as used.
    pub fn use_code(&mut self, symbol: u32, now: Instant) -> Option<Keycode> {
        let slot = self.slots.iter_mut().find(|slot| slot.symbol == symbol)?;
        slot.used = Some(now);
        Some(slot.keycode)
    }

    /// Lends codes to those of `symbols` (different ones) that have none, taking the code that was used longest ago
    /// and never one of `symbols` itself, nor one that is `held`. As many get one as there are codes.
    pub fn lend(&mut self, symbols: &[u32], held: impl Fn(Keycode) -> bool, now: Instant) -> Loan {
        let mut loan = Loan::default();
        let missing: Vec<u32> = symbols
            .iter()
            .copied()
            .filter(|symbol| self.slots.iter().all(|slot| slot.symbol != *symbol))
            .collect();
        let mut victims: Vec<&mut Slot> = self
            .slots
            .iter_mut()
            .filter(|slot| !symbols.contains(&slot.symbol) && !held(slot.keycode))
            .collect();
        victims.sort_by_key(|slot| (slot.symbol != 0, slot.used, slot.keycode));
        for (symbol, slot) in missing.into_iter().zip(victims) {
            let rest = slot
                .used
                .map(|used| (used + GRACE).saturating_duration_since(now));
            loan.wait = loan.wait.max(rest.unwrap_or_default());
            slot.symbol = symbol;
            loan.changes.push((slot.keycode, symbol));
        }
        loan.changes.sort_unstable();
        loan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spares(codes: std::ops::Range<u8>) -> Spares {
        let mut spares = Spares::default();
        spares.follow(&codes.collect::<Vec<_>>(), |_| 0);
        spares
    }

    #[test]
    fn some_codes_stay_free() {
        assert_eq!(spares(200..210).capacity(), 10 - LEFT_FREE);
        assert_eq!(spares(200..203).capacity(), 0);
    }

    #[test]
    fn a_code_keeps_its_symbol_while_others_can_be_had() {
        let (mut spares, start) = (spares(200..207), Instant::now());
        assert_eq!(spares.capacity(), 3);
        assert_eq!(
            spares.lend(&[1, 2], |_| false, start).changes,
            [(200, 1), (201, 2)]
        );
        assert_eq!(spares.use_code(1, start), Some(200));
        let later = start + GRACE;
        assert_eq!(spares.use_code(2, later), Some(201));
        assert_eq!(spares.lend(&[3], |_| false, later).changes, [(202, 3)]);
        assert_eq!(spares.use_code(3, later), Some(202));
        // All are lent now: the one used longest ago goes, and at once, for its use is past.
        let loan = spares.lend(&[4], |_| false, later);
        assert_eq!(
            loan,
            Loan {
                changes: vec![(200, 4)],
                wait: Duration::ZERO
            }
        );
    }

    #[test]
    fn a_code_used_just_now_is_waited_for_and_a_held_one_is_not_taken() {
        let (mut spares, start) = (spares(200..206), Instant::now());
        spares.lend(&[1, 2], |_| false, start);
        spares.use_code(1, start);
        spares.use_code(2, start);
        let loan = spares.lend(&[3], |code| code == 200, start + Duration::from_millis(50));
        assert_eq!(
            loan,
            Loan {
                changes: vec![(201, 3)],
                wait: GRACE - Duration::from_millis(50)
            }
        );
    }

    #[test]
    fn what_somebody_else_changed_is_given_up_and_what_they_reset_is_free_again() {
        let (mut spares, start) = (spares(200..207), Instant::now());
        spares.lend(&[1, 2, 3], |_| false, start);
        spares.follow(&[], |code| {
            if code == 200 {
                77
            } else if code == 201 {
                0
            } else {
                3
            }
        });
        assert_eq!(spares.keycodes(), [201, 202]);
        assert_eq!(spares.use_code(2, start), None);
        assert_eq!(spares.use_code(3, start), Some(202));
    }
}
