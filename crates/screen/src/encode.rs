//! From two pictures to drawing operations: moves first, then what is left to paint.
//!
//! The one place that decides how a change is sent. Today every change is sent without loss; motion that is better
//! sent as video is a second [`Treatment`], decided in [`classify`].

use crate::ops::Ops;
use crate::picture::{Picture, Rect};
use crate::region::Region;
use crate::{scroll, tiles};

/// Bytes of operations that one update holds at most, however cheap they are on the wire: the page keeps a whole
/// update in memory.
const MAX_OPS_BYTES: usize = 4 << 20;

/// How a change is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// Nothing differs.
    Nothing,
    /// Copies and exact pixels, about this many bytes of them; the rest follows in later updates.
    Lossless {
        /// Bytes on the wire.
        budget: usize,
    },
}

/// Decides how the `changes` (tight rectangles of what differs) are sent.
pub fn classify(changes: &[Rect], budget: usize) -> Treatment {
    if changes.is_empty() {
        Treatment::Nothing
    } else {
        Treatment::Lossless { budget }
    }
}

/// Writes the operations that turn `shown` into `wanted` inside `behind`, and applies them to `shown`. What did not
/// fit the budget stays in `behind`.
pub fn encode(shown: &mut Picture, wanted: &Picture, behind: &mut Region, budget: usize, ops: &mut Ops) {
    ops.clear();
    let bounds = wanted.bounds();
    let changes: Vec<Rect> = behind
        .drain()
        .iter()
        .filter_map(|rect| tiles::difference(shown, wanted, &rect.intersection(&bounds)))
        .collect();
    match classify(&changes, budget) {
        Treatment::Nothing => {}
        Treatment::Lossless { budget } => {
            for change in changes {
                if let Some(rest) = lossless(shown, wanted, &change, budget, ops) {
                    behind.add(rest);
                }
            }
        }
    }
}

fn lossless(
    shown: &mut Picture,
    wanted: &Picture,
    change: &Rect,
    budget: usize,
    ops: &mut Ops,
) -> Option<Rect> {
    let full = |ops: &Ops| ops.cost() >= budget || ops.bytes().len() >= MAX_OPS_BYTES;
    if full(ops) {
        return Some(*change);
    }
    for copy in scroll::find(shown, wanted, change) {
        ops.copy(copy.sx, copy.sy, &copy.to);
        shown.shift(copy.sx, copy.sy, &copy.to);
    }
    tiles::paint_difference(shown, wanted, change, ops, full)
}

#[cfg(test)]
#[path = "encode_tests.rs"]
pub(crate) mod tests;
