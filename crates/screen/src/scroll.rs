//! Finds what only moved up or down, so that the page can copy it within its own canvas.
//!
//! The changed area is cut into strips of columns, each row of a strip is hashed in the old and the new picture, and
//! every row that reappears elsewhere votes for a distance. Strips, because a scroll bar, a side bar or a blinking
//! cursor beside the text must not hide that the text moved. Each strip then says which rows the winning distance
//! explains, and strips that agree become one copy.
//!
//! The caller compares after it applied the copies, so that what is missed here costs bytes only.

use std::borrow::Cow;
use std::ops::Range;

use crate::picture::{Picture, Rect, STRIP_WIDTH};

/// Strips that are looked at first.
const SAMPLE: usize = 8;
/// Rows that must move together to be worth an operation.
const MIN_RUN: usize = 8;
/// Smaller changes are cheaper to paint than to search.
const MIN_ROWS: usize = 48;
/// Equal rows of the old picture that one row may vote for: blank lines would vote for everything.
const MAX_EQUAL_ROWS: usize = 8;
/// Votes without which a distance is chance.
const MIN_VOTES: u32 = 8;

const BUCKETS: usize = 4096;
const NONE: u32 = u32::MAX;

/// An area of the old picture that appears elsewhere in the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copy {
    /// Column of the source.
    pub sx: usize,
    /// Row of the source.
    pub sy: usize,
    /// Where it goes.
    pub to: Rect,
}

/// The copies that bring `shown` closer to `wanted` inside `area`, in the order in which they must be applied.
pub fn find(shown: &Picture, wanted: &Picture, area: &Rect) -> Vec<Copy> {
    if area.height() < MIN_ROWS || area.width() < STRIP_WIDTH / 2 {
        return Vec::new();
    }
    // What moved came from beside the change as well: a copied area's last lines come from below it.
    let margin = area.height() / 2;
    let source = area.y0.saturating_sub(margin)..(area.y1 + margin).min(shown.height());
    let starts = (area.x0 / STRIP_WIDTH..area.x1.div_ceil(STRIP_WIDTH)).map(|strip| strip * STRIP_WIDTH);
    let strips: Vec<Strip<'_>> = starts
        .map(|x| {
            let columns = x.max(area.x0)..(x + STRIP_WIDTH).min(area.x1);
            let old = shown.hashes(source.clone(), &columns);
            let new = wanted.hashes(area.y0..area.y1, &columns);
            Strip {
                columns,
                old,
                new,
                above: area.y0 - source.start,
            }
        })
        .collect();
    let Some(distance) = elect(&strips) else {
        return Vec::new();
    };

    let mut copies = Vec::new();
    let mut group: Option<Group> = None;
    for strip in &strips {
        let next = Group::of(strip, distance);
        // Strips that a copy would not change neither start nor hold up a group.
        group = match group {
            None => next.has_use().then_some(next),
            Some(held) => match held.join(&next) {
                Some(joined) => Some(joined),
                None => {
                    held.emit(area, distance, &mut copies);
                    next.has_use().then_some(next)
                }
            },
        };
    }
    if let Some(held) = group {
        held.emit(area, distance, &mut copies);
    }
    copies
}

/// Columns, with the hashes of their rows.
struct Strip<'a> {
    columns: Range<usize>,
    /// Rows of the old picture, from `above` rows above the area to below it.
    old: Cow<'a, [u64]>,
    /// Rows of the area in the new picture.
    new: Cow<'a, [u64]>,
    above: usize,
}

impl Strip<'_> {
    /// Whether row `y` of the area is another than before.
    fn changed(&self, y: usize) -> bool {
        self.new[y] != self.old[y + self.above]
    }

    /// Whether row `y` is what stood `distance` rows above.
    fn moved(&self, y: usize, distance: isize) -> bool {
        (y + self.above)
            .checked_add_signed(-distance)
            .is_some_and(|from| self.old.get(from) == Some(&self.new[y]))
    }
}

/// The distance that most rows moved: positive is down. None when too few agree.
fn elect(strips: &[Strip<'_>]) -> Option<isize> {
    let first = strips.first()?;
    let rows = first.old.len();
    let mut votes = vec![0u32; 2 * rows + 1];
    let mut heads = vec![NONE; BUCKETS];
    let mut nexts = vec![NONE; rows];
    let mut voters = 0u32;
    // Some strips tell whether anything moved; most changes are no scroll.
    for strip in strips.iter().step_by(strips.len().div_ceil(SAMPLE)) {
        let Strip { old, new, above, .. } = strip;
        heads.fill(NONE);
        // A row like the one above it says nothing about where it came from.
        let telling = |hashes: &[u64], y: usize| y == 0 || hashes[y] != hashes[y - 1];
        for y in (0..rows).rev().filter(|&y| telling(old, y)) {
            let bucket = bucket(old[y]);
            (nexts[y], heads[bucket]) = (heads[bucket], y as u32);
        }
        for y in (0..new.len()).filter(|&y| strip.changed(y) && telling(new, y)) {
            voters += 1;
            let mut at = heads[bucket(new[y])];
            let mut equal = 0;
            while at != NONE && equal < MAX_EQUAL_ROWS {
                let from = at as usize;
                if old[from] == new[y] {
                    equal += 1;
                    votes[y + above + rows - from] += 1;
                }
                at = nexts[from];
            }
        }
    }
    let (winner, count) = votes.iter().enumerate().max_by_key(|(_, count)| **count)?;
    (*count >= MIN_VOTES && *count * 8 >= voters && winner != rows).then_some(winner as isize - rows as isize)
}

fn bucket(hash: u64) -> usize {
    (hash >> 52) as usize
}

/// Neighbouring strips that one copy serves.
struct Group {
    columns: Range<usize>,
    /// Rows that the distance explains in every strip.
    explained: Vec<bool>,
    /// Rows that it explains and that are not right already, in any strip.
    useful: Vec<bool>,
    /// Columns up to the last strip that has use of the copy.
    useful_end: usize,
}

impl Group {
    fn of(strip: &Strip<'_>, distance: isize) -> Self {
        let rows = 0..strip.new.len();
        let explained: Vec<bool> = rows.clone().map(|y| strip.moved(y, distance)).collect();
        let useful = rows.map(|y| explained[y] && strip.changed(y)).collect();
        Self {
            columns: strip.columns.clone(),
            explained,
            useful,
            useful_end: strip.columns.end,
        }
    }

    /// Both together, unless that loses more than a tenth of what one of them could copy.
    fn join(&self, next: &Self) -> Option<Self> {
        let explained = both(&self.explained, &next.explained, |a, b| a && b);
        let kept = covered(&explained);
        if kept * 10 < covered(&self.explained).max(covered(&next.explained)) * 9 {
            return None;
        }
        Some(Self {
            columns: self.columns.start..next.columns.end,
            explained,
            useful: both(&self.useful, &next.useful, |a, b| a || b),
            useful_end: if next.has_use() {
                next.columns.end
            } else {
                self.useful_end
            },
        })
    }

    fn has_use(&self) -> bool {
        runs(&self.explained).any(|run| self.useful[run].contains(&true))
    }

    fn emit(&self, area: &Rect, distance: isize, copies: &mut Vec<Copy>) {
        let mut found: Vec<Copy> = runs(&self.explained)
            .filter_map(|run| {
                let first = run.clone().find(|&y| self.useful[y])?;
                let last = run.clone().rev().find(|&y| self.useful[y])?;
                let to = Rect {
                    x0: self.columns.start,
                    x1: self.useful_end,
                    y0: area.y0 + first,
                    y1: area.y0 + last + 1,
                };
                (to.height() >= MIN_RUN).then(|| Copy {
                    sx: to.x0,
                    sy: to.y0.saturating_add_signed(-distance),
                    to,
                })
            })
            .collect();
        // What moves down is copied from the bottom up, so that no copy overwrites the source of a later one.
        if distance > 0 {
            found.reverse();
        }
        copies.append(&mut found);
    }
}

fn both(a: &[bool], b: &[bool], f: impl Fn(bool, bool) -> bool) -> Vec<bool> {
    a.iter().zip(b).map(|(a, b)| f(*a, *b)).collect()
}

fn covered(rows: &[bool]) -> usize {
    runs(rows).map(|run| run.len()).sum()
}

/// Stretches of at least [`MIN_RUN`] rows that are set.
fn runs(rows: &[bool]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut y = 0;
    std::iter::from_fn(move || {
        loop {
            let start = y + rows.get(y..)?.iter().position(|set| *set)?;
            let end = rows[start..]
                .iter()
                .position(|set| !*set)
                .map_or(rows.len(), |n| start + n);
            y = end;
            if end - start >= MIN_RUN {
                return Some(start..end);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture in which every row is unlike every other.
    fn lined(width: usize, height: usize, seed: u32) -> Picture {
        let mut picture = Picture::unknown(width, height);
        for y in 0..height {
            picture.draw_row(y, 0, width, |row| {
                for (x, pixel) in row.iter_mut().enumerate() {
                    let hash = (seed + y as u32).wrapping_mul(2_654_435_761);
                    *pixel = hash.wrapping_add(x as u32 * 7) & 0xFF_FFFF;
                }
            });
        }
        picture
    }

    fn apply(picture: &mut Picture, copies: &[Copy]) {
        for copy in copies {
            picture.shift(copy.sx, copy.sy, &copy.to);
        }
    }

    #[test]
    fn a_scroll_up_is_one_copy() {
        let (shown, wanted) = (lined(300, 200, 0), lined(300, 200, 13));
        let copies = find(&shown, &wanted, &shown.bounds());
        assert_eq!(
            copies,
            [Copy {
                sx: 0,
                sy: 13,
                to: Rect::at(0, 0, 300, 187)
            }]
        );
    }

    #[test]
    fn a_scroll_down_beside_a_changing_bar_is_found() {
        let (mut shown, mut wanted) = (lined(400, 200, 50), lined(400, 200, 37));
        for y in 0..200 {
            shown.draw_row(y, 390, 400, |row| row.fill(y as u32));
            wanted.draw_row(y, 390, 400, |row| row.fill(1000 - y as u32));
        }
        let copies = find(&shown, &wanted, &shown.bounds());
        apply(&mut shown, &copies);
        for y in 13..200 {
            assert_eq!(shown.row(y, 0, 320), wanted.row(y, 0, 320), "row {y}");
        }
    }

    #[test]
    fn a_blank_line_that_stays_cuts_no_scroll_apart_wrongly() {
        let (mut shown, mut wanted) = (lined(256, 240, 20), lined(256, 240, 0));
        // Two pieces of a list move down past a row that stands still.
        shown.draw_row(120, 0, 256, |row| row.fill(9));
        wanted.draw_row(120, 0, 256, |row| row.fill(9));
        let copies = find(&shown, &wanted, &shown.bounds());
        assert!(copies.len() >= 2);
        let before = shown.clone();
        apply(&mut shown, &copies);
        for copy in &copies {
            for y in copy.to.y0..copy.to.y1 {
                let from = y + copy.sy - copy.to.y0;
                assert_eq!(
                    shown.row(y, 0, 256),
                    before.row(from, 0, 256),
                    "row {y} was read after it was overwritten"
                );
            }
        }
    }

    #[test]
    fn unlike_pictures_give_nothing() {
        let (shown, wanted) = (lined(300, 200, 0), lined(300, 200, 5000));
        assert_eq!(find(&shown, &wanted, &shown.bounds()), []);
    }
}
