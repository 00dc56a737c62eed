//! Turns of a wheel into clicks of buttons 4 to 7, which is how X scrolls.

/// Wheel units of one notch.
const NOTCH: i32 = 120;

/// X's button for a notch up, down, left and right.
const UP: u8 = 4;
const DOWN: u8 = 5;
const LEFT: u8 = 6;
const RIGHT: u8 = 7;

/// What a viewer has turned the wheel beyond whole notches.
#[derive(Debug, Default, Clone, Copy)]
pub struct Wheel {
    x: i32,
    y: i32,
}

impl Wheel {
    /// Turns on by `dx` and `dy`; gives the buttons to click, and how often.
    pub fn turn(&mut self, dx: i16, dy: i16) -> [(u8, u32); 2] {
        [
            axis(&mut self.x, dx, LEFT, RIGHT),
            axis(&mut self.y, dy, UP, DOWN),
        ]
    }
}

fn axis(held: &mut i32, by: i16, back: u8, forth: u8) -> (u8, u32) {
    let by = i32::from(by);
    // A turn back starts at once instead of undoing the rest of the turn forth.
    if *held * by < 0 {
        *held = 0;
    }
    *held += by;
    let notches = *held / NOTCH;
    *held %= NOTCH;
    (if notches < 0 { back } else { forth }, notches.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn small_turns_add_up_to_notches() {
        let mut wheel = Wheel::default();
        assert_eq!(wheel.turn(0, 50)[1].1, 0);
        assert_eq!(wheel.turn(0, 80)[1], (DOWN, 1));
        assert_eq!(wheel.turn(0, -120)[1], (UP, 1));
        assert_eq!(wheel.turn(-240, 0), [(LEFT, 2), (DOWN, 0)]);
        assert_eq!(wheel.turn(120, 0)[0], (RIGHT, 1));
    }

    proptest! {
        #[test]
        fn no_notch_is_lost_in_one_direction(turns in prop::collection::vec(0i16..500, 0..50)) {
            let mut wheel = Wheel::default();
            let clicks: u32 = turns.iter().map(|dy| wheel.turn(0, *dy)[1].1).sum();
            let sum: i32 = turns.iter().map(|dy| i32::from(*dy)).sum();
            prop_assert_eq!(clicks as i32, sum / NOTCH);
        }
    }
}
