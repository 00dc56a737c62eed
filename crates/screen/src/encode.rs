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
const MAX_OPS_BYTES: usize = 8 << 20;

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

/// What a page shows, and where that may not be what the screen shows.
#[derive(Clone)]
pub struct Shown {
    /// The page's picture.
    picture: Picture,
    /// Outside of this it equals the latest capture.
    behind: Region,
    /// Where the last update was full. The next one goes on there, or what is below an area in motion would never be
    /// sent over a slow link.
    resume: usize,
}

impl Shown {
    /// A page that shows nothing of a picture this size.
    pub fn nothing(width: usize, height: usize) -> Self {
        let picture = Picture::unknown(width, height);
        Self {
            behind: Region::of(picture.bounds()),
            picture,
            resume: 0,
        }
    }

    /// The screen changed in `fresh`.
    pub fn changed(&mut self, fresh: &Region) {
        self.behind.add_all(fresh);
    }

    /// Whether it shows the latest capture.
    pub fn is_current(&self) -> bool {
        self.behind.is_empty()
    }

    /// Writes the operations that make the page show more of `wanted`: all of it, if that fits `budget`.
    pub fn catch_up(&mut self, wanted: &Picture, budget: usize, ops: &mut Ops) {
        ops.clear();
        let rects = self.behind.drain();
        let changes: Vec<Rect> = rects
            .iter()
            .filter_map(|rect| tiles::difference(&self.picture, wanted, rect))
            .collect();
        match classify(&changes, budget) {
            Treatment::Nothing => {}
            Treatment::Lossless { budget } => {
                let start = self.resume;
                for change in changes {
                    self.lossless(wanted, &change, start, budget, ops);
                }
            }
        }
        if self.behind.is_empty() {
            self.resume = 0;
        }
    }

    fn lossless(&mut self, wanted: &Picture, change: &Rect, start: usize, budget: usize, ops: &mut Ops) {
        let full = |ops: &Ops| ops.cost() >= budget || ops.bytes().len() >= MAX_OPS_BYTES;
        if full(ops) {
            return self.behind.add(*change);
        }
        for copy in scroll::find(&self.picture, wanted, change) {
            ops.copy(copy.sx, copy.sy, &copy.to);
            self.picture.shift(copy.sx, copy.sy, &copy.to);
        }
        let start = if (change.y0..change.y1).contains(&start) {
            start
        } else {
            change.y0
        };
        for part in [Rect { y0: start, ..*change }, Rect { y1: start, ..*change }] {
            if let Some(rest) = tiles::paint_difference(&mut self.picture, wanted, &part, ops, full) {
                self.behind.add(rest);
                if rest.y0 > part.y0 {
                    self.resume = rest.y0;
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "encode_tests.rs"]
pub(crate) mod tests;
