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

/// A link that takes `budget` bytes an update.
pub fn allows(budget: usize) -> Allowance {
    Allowance {
        budget,
        rate: 2e7,
        kbps: 2_000,
        is_idle: true,
    }
}

/// One update without video.
fn catch_up(shown: &mut Shown, wanted: &Picture, budget: usize, ops: &mut Ops) {
    let moving = shown.catch_up(wanted, &allows(budget), false, Instant::now(), ops);
    assert!(moving.is_empty());
}

pub fn same(painter: &Painter, picture: &Picture) -> bool {
    (0..picture.height()).all(|y| painter.row(y) == picture.row(y, 0, picture.width()))
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
            catch_up(&mut shown, &wanted, budget, &mut ops);
            painter.draw(ops.bytes());
        }
        let mut rounds = 0;
        while !shown.is_current() {
            catch_up(&mut shown, &wanted, budget, &mut ops);
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
        catch_up(&mut shown, &wanted, 320 * 50 * 2, &mut ops);
        painter.draw(ops.bytes());
        let bottom = painter.row(199);
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
    catch_up(&mut shown, &wanted, usize::MAX, &mut ops);
    let all = ops.bytes().len();

    let bounds = wanted.bounds();
    apply(&mut wanted, &Change::Scroll(bounds, -12));
    let line = apply(&mut wanted, &Change::Text(Rect::at(0, 468, 640, 12), 11));
    shown.changed(&Region::of(wanted.bounds()));
    catch_up(&mut shown, &wanted, usize::MAX, &mut ops);
    assert!(
        ops.bytes().len() < line.area() + 300,
        "{} of {all}",
        ops.bytes().len()
    );

    let letter = apply(&mut wanted, &Change::Text(Rect::at(100, 100, 7, 12), 5));
    shown.changed(&Region::of(letter));
    catch_up(&mut shown, &wanted, usize::MAX, &mut ops);
    assert!(ops.bytes().len() < 150, "{}", ops.bytes().len());

    shown.changed(&Region::of(wanted.bounds()));
    catch_up(&mut shown, &wanted, usize::MAX, &mut ops);
    assert!(ops.bytes().is_empty());
}

/// What one update does to a page that can show video: draws the frame's area as it is, which is better than any codec
/// does, and says how large it was.
fn watch(shown: &mut Shown, wanted: &Picture, painter: &mut Painter, now: Instant) -> usize {
    let mut ops = Ops::default();
    let moving = shown.catch_up(wanted, &allows(usize::MAX), true, now, &mut ops);
    painter.draw(ops.bytes());
    shown.draw(wanted, moving.rects(), now);
    for rect in moving.rects() {
        painter.blur(rect.x0, rect.y0, rect.width(), rect.height());
    }
    moving.rects().iter().map(Rect::area).sum()
}

#[test]
fn a_film_is_video_the_text_beside_it_is_exact_and_all_is_exact_in_the_end() {
    let (width, height) = (1280, 720);
    let (mut shown, mut painter) = (Shown::nothing(width, height), Painter::sized(width, height));
    let mut wanted = Picture::unknown(width, height);
    apply(&mut wanted, &Change::Text(Rect::at(0, 0, width, height), 3));
    let start = Instant::now();
    let at = |ms| start + std::time::Duration::from_millis(ms);
    assert_eq!(
        watch(&mut shown, &wanted, &mut painter, at(0)),
        0,
        "text is sent exactly"
    );
    assert!(same(&painter, &wanted));

    let film = Rect::at(640, 128, 512, 320);
    for frame in 0..30u64 {
        let area = apply(&mut wanted, &Change::Photo(film, frame as u32 * 977));
        let letter = apply(
            &mut wanted,
            &Change::Text(Rect::at(40 + frame as usize * 8, 600, 8, 12), frame as u32),
        );
        shown.changed(&Region::of(area));
        shown.changed(&Region::of(letter));
        let moving = watch(&mut shown, &wanted, &mut painter, at(100 + frame * 33));
        if frame > 3 {
            assert!(
                (film.area()..film.area() * 5 / 4).contains(&moving),
                "{moving} pixels"
            );
        }
        for y in 600..612 {
            let row = painter.row(y);
            assert!(row == wanted.row(y, 0, width), "what is typed meanwhile is exact");
        }
    }
    assert!(shown.is_current() && !shown.is_exact());
    assert!(!same(&painter, &wanted));
    let mut now = at(100 + 29 * 33);
    let mut rounds = 0;
    while let Some(due) = shown.sharpen_due() {
        now = now.max(due);
        assert_eq!(watch(&mut shown, &wanted, &mut painter, now), 0);
        rounds += 1;
        assert!(rounds < 300, "each round must get somewhere");
    }
    assert!(same(&painter, &wanted));
}

#[test]
fn scrolling_text_is_never_video() {
    let (mut shown, mut painter) = (Shown::nothing(640, 480), Painter::sized(640, 480));
    let mut wanted = Picture::unknown(640, 480);
    for y in 0..480 {
        apply(
            &mut wanted,
            &Change::Text(Rect::at(0, y, 640, 1), (y as u32 / 12 * 7919) << 8),
        );
    }
    let start = Instant::now();
    for line in 0..60u64 {
        let now = start + std::time::Duration::from_millis(line * 33);
        shown.changed(&Region::of(wanted.bounds()));
        assert_eq!(watch(&mut shown, &wanted, &mut painter, now), 0);
        let bounds = wanted.bounds();
        apply(&mut wanted, &Change::Scroll(bounds, -12));
        apply(&mut wanted, &Change::Text(Rect::at(0, 468, 640, 12), line as u32));
    }
}
