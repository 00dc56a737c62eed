//! Whatever happens on a screen, the page ends up with exactly its pixels.

use proptest::prelude::*;

use super::*;
use crate::painter::Painter;

/// Something that changes a picture, as desktops do.
#[derive(Debug, Clone)]
pub enum Change {
    /// One colour.
    Fill(Rect, u32),
    /// Few colours, in a pattern.
    Text(Rect, u32),
    /// Many colours.
    Photo(Rect, u32),
    /// An area moves up or down, and a new line appears.
    Scroll(Rect, i8),
}

/// Draws `change`, and gives the area that it touched, cut to the picture.
pub fn apply(picture: &mut Picture, change: &Change) -> Rect {
    let bounds = picture.bounds();
    match change {
        Change::Fill(rect, colour) => {
            let rect = rect.intersection(&bounds);
            for y in rect.y0..rect.y1 {
                picture.draw_row(y, rect.x0, rect.x1, |row| row.fill(colour & 0xFF_FFFF));
            }
            rect
        }
        Change::Text(rect, seed) | Change::Photo(rect, seed) => {
            let rect = rect.intersection(&bounds);
            let colours = if matches!(change, Change::Text(..)) {
                seed % 40 + 2
            } else {
                u32::MAX
            };
            for y in rect.y0..rect.y1 {
                picture.draw_row(y, rect.x0, rect.x1, |row| {
                    for (x, pixel) in row.iter_mut().enumerate() {
                        let noise =
                            (x as u32 ^ (y as u32).rotate_left(11) ^ seed).wrapping_mul(2_654_435_761) >> 7;
                        *pixel = (noise % colours).wrapping_mul(0x01_03_07) & 0xFF_FFFF;
                    }
                });
            }
            rect
        }
        Change::Scroll(rect, by) => {
            let rect = rect.intersection(&bounds);
            let distance = usize::from(by.unsigned_abs());
            if rect.is_empty() || distance >= rect.height() {
                return Rect::at(0, 0, 0, 0);
            }
            if *by < 0 {
                picture.shift(
                    rect.x0,
                    rect.y0 + distance,
                    &Rect {
                        y1: rect.y1 - distance,
                        ..rect
                    },
                );
            } else {
                picture.shift(
                    rect.x0,
                    rect.y0,
                    &Rect {
                        y0: rect.y0 + distance,
                        ..rect
                    },
                );
            }
            rect
        }
    }
}

pub fn any_rect() -> impl Strategy<Value = Rect> {
    (0..330usize, 0..210usize, 1..340usize, 1..220usize).prop_map(|(x, y, w, h)| Rect::at(x, y, w, h))
}

pub fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any_rect(), any::<u32>()).prop_map(|(rect, colour)| Change::Fill(rect, colour)),
        (any_rect(), any::<u32>()).prop_map(|(rect, seed)| Change::Text(rect, seed)),
        (any_rect(), any::<u32>()).prop_map(|(rect, seed)| Change::Photo(rect, seed)),
        (any_rect(), any::<i8>()).prop_map(|(rect, by)| Change::Scroll(rect, by)),
    ]
}

pub fn any_size() -> impl Strategy<Value = (usize, usize)> {
    (1..330usize, 1..210usize)
}

pub fn same(painter: &Painter, picture: &Picture) -> bool {
    (0..picture.height())
        .all(|y| painter.pixels[y * painter.width..][..painter.width] == *picture.row(y, 0, picture.width()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn decoding_gives_the_picture(
        (width, height) in any_size(),
        changes in prop::collection::vec(prop::collection::vec(any_change(), 1..4), 1..8),
        budget in prop_oneof![Just(1usize), Just(3_000), Just(1 << 20)],
    ) {
        let mut wanted = Picture::unknown(width, height);
        let bounds = wanted.bounds();
        apply(&mut wanted, &Change::Fill(bounds, 0x30_3030));
        let (mut shown, mut painter) = (Shown::nothing(width, height), Painter::sized(width, height));
        let mut ops = Ops::default();
        for round in changes {
            for change in round {
                shown.changed(&Region::of(apply(&mut wanted, &change)));
            }
            shown.catch_up(&wanted, budget, &mut ops);
            painter.draw(ops.bytes());
        }
        let mut rounds = 0;
        while !shown.is_current() {
            shown.catch_up(&wanted, budget, &mut ops);
            painter.draw(ops.bytes());
            rounds += 1;
            prop_assert!(rounds < 500, "each round must get somewhere");
        }
        prop_assert!(shown.picture == wanted);
        prop_assert!(same(&painter, &wanted));
    }
}

#[test]
fn motion_that_does_not_fit_is_repainted_all_over() {
    let (mut shown, mut ops) = (Shown::nothing(320, 200), Ops::default());
    let (mut wanted, mut painter) = (Picture::unknown(320, 200), Painter::sized(320, 200));
    let mut bottoms = 0;
    for frame in 0..30 {
        let all = apply(&mut wanted, &Change::Photo(Rect::at(0, 0, 320, 200), frame * 977));
        shown.changed(&Region::of(all));
        shown.catch_up(&wanted, 320 * 50 * 2, &mut ops);
        painter.draw(ops.bytes());
        let bottom = &painter.pixels[320 * 199..];
        bottoms += u32::from(bottom == wanted.row(199, 0, 320));
    }
    assert!(bottoms >= 5, "the last row was right {bottoms} times");
}

#[test]
fn a_letter_costs_little_and_a_scrolled_terminal_costs_a_line() {
    let (mut shown, mut ops) = (Shown::nothing(640, 480), Ops::default());
    let mut wanted = Picture::unknown(640, 480);
    for y in 0..480 {
        apply(
            &mut wanted,
            &Change::Text(Rect::at(0, y, 640, 1), (y as u32 / 12 * 7919) << 8),
        );
    }
    shown.changed(&Region::of(wanted.bounds()));
    shown.catch_up(&wanted, usize::MAX, &mut ops);
    let all = ops.bytes().len();

    let bounds = wanted.bounds();
    apply(&mut wanted, &Change::Scroll(bounds, -12));
    let line = apply(&mut wanted, &Change::Text(Rect::at(0, 468, 640, 12), 11));
    shown.changed(&Region::of(wanted.bounds()));
    shown.catch_up(&wanted, usize::MAX, &mut ops);
    assert!(
        ops.bytes().len() < line.area() + 300,
        "{} of {all}",
        ops.bytes().len()
    );

    let letter = apply(&mut wanted, &Change::Text(Rect::at(100, 100, 7, 12), 5));
    shown.changed(&Region::of(letter));
    shown.catch_up(&wanted, usize::MAX, &mut ops);
    assert!(ops.bytes().len() < 150, "{}", ops.bytes().len());

    shown.changed(&Region::of(wanted.bounds()));
    shown.catch_up(&wanted, usize::MAX, &mut ops);
    assert!(ops.bytes().is_empty());
}
