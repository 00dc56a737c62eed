//! From two pictures to what a page draws: moves first, then exact pixels, and video for what is in motion.
//!
//! The one place that decides how a change is sent, and when what was sent with loss is sent again without.

use std::time::Instant;

use crate::lossy::Lossy;
use crate::motion::Motion;
use crate::ops::Ops;
use crate::picture::{Picture, Rect};
use crate::region::Region;
use crate::tiles::{Change, TILE_HEIGHT, TILE_WIDTH};
use crate::{scroll, tiles};

/// Bytes of operations that one update holds at most, however cheap they are on the wire: the page keeps a whole
/// update in memory.
const MAX_OPS_BYTES: usize = 8 << 20;

/// Bytes on the wire of a tile with few colours, and of a photo's pixel. Measured.
const TEXT_TILE_COST: usize = 300;
const PHOTO_PIXEL_COST: f64 = 1.1;

/// How long exact pixels may take before video is the better answer.
const EXACT_SPAN: f64 = 0.040;
/// Bounds of what is sent exactly at once.
const EXACT: (f64, f64) = (20_000.0, 200_000.0);
/// Changes of fewer pixels are not worth looking at: they are sent exactly.
const SMALL: usize = 8 * TILE_WIDTH * TILE_HEIGHT;

/// How much exact repainting takes of the link at a time.
const SHARPEN_SPAN: f64 = 0.025;
/// Bounds of it.
const SHARPEN: (f64, f64) = (3_000.0, 200_000.0);

/// What may be sent now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Allowance {
    /// Bytes that one update should not exceed by much.
    pub budget: usize,
    /// Bytes a second that the link delivers.
    pub rate: f64,
    /// kbit/s for video.
    pub kbps: u32,
    /// Little is on its way, so what is not urgent may be sent.
    pub is_idle: bool,
}

impl Allowance {
    /// What both may be sent.
    pub fn least(self, other: Self) -> Self {
        Self {
            budget: self.budget.min(other.budget),
            rate: self.rate.min(other.rate),
            kbps: self.kbps.min(other.kbps),
            is_idle: self.is_idle && other.is_idle,
        }
    }
}

/// What a page shows, and where that may not be what the screen shows.
#[derive(Clone)]
pub struct Shown {
    /// The page's picture, as it would be if nothing were lossy.
    picture: Picture,
    /// Outside of this it equals the latest capture.
    behind: Region,
    /// Where the last update was full. The next one goes on there, or what is below an area in motion would never be
    /// sent over a slow link.
    resume: usize,
    lossy: Lossy,
    motion: Motion,
    is_blank: bool,
}

impl Shown {
    /// A page that shows nothing of a picture this size.
    pub fn nothing(width: usize, height: usize) -> Self {
        let picture = Picture::unknown(width, height);
        Self {
            behind: Region::of(picture.bounds()),
            lossy: Lossy::none(picture.bounds()),
            picture,
            resume: 0,
            motion: Motion::default(),
            is_blank: true,
        }
    }

    /// Whether it was never shown anything.
    pub fn is_blank(&self) -> bool {
        self.is_blank
    }

    /// The screen changed in `fresh`.
    pub fn changed(&mut self, fresh: &Region) {
        self.behind.add_all(fresh);
    }

    /// Whether it shows the latest capture, be it with loss.
    pub fn is_current(&self) -> bool {
        self.behind.is_empty()
    }

    /// Whether what it shows is exact.
    pub fn is_exact(&self) -> bool {
        self.lossy.is_empty()
    }

    /// When something that is shown with loss has come to rest.
    pub fn sharpen_due(&self) -> Option<Instant> {
        self.lossy.due()
    }

    /// Decides how to make the page show `wanted`, or more of it. Exact parts are written to `ops`; what is in
    /// motion is returned, to be drawn from a video frame by [`Self::draw`]. Without `video` everything is exact.
    pub fn catch_up(
        &mut self,
        wanted: &Picture,
        allowance: &Allowance,
        video: bool,
        now: Instant,
        ops: &mut Ops,
    ) -> Region {
        ops.clear();
        self.is_blank = false;
        let rects = self.behind.drain();
        let areas: Vec<Rect> = rects
            .iter()
            .filter_map(|rect| tiles::difference(&self.picture, wanted, rect))
            .collect();
        for area in &areas {
            for copy in scroll::find(&self.picture, wanted, area) {
                ops.copy(copy.sx, copy.sy, &copy.to);
                self.picture.shift(copy.sx, copy.sy, &copy.to);
                self.lossy.shift(copy.sx, copy.sy, &copy.to, now);
            }
        }
        let (exact, moving) = if video && areas.iter().map(Rect::area).sum::<usize>() > SMALL {
            self.classify(wanted, &areas, allowance, now, ops)
        } else {
            (areas, Region::default())
        };
        let start = self.resume;
        for area in &exact {
            self.paint(wanted, area, start, allowance.budget, now, ops);
        }
        if self.behind.is_empty() {
            self.resume = 0;
            if moving.is_empty() && allowance.is_idle {
                self.sharpen(wanted, allowance, now, ops);
            }
        }
        moving
    }

    /// A video frame of `wanted` is drawn in `rects`.
    pub fn draw(&mut self, wanted: &Picture, rects: &[Rect], now: Instant) {
        for rect in rects {
            self.picture.take(wanted, rect);
            self.lossy.mark(rect, now);
        }
    }

    /// A video frame was left out: `rects` are still to be shown.
    pub fn left_out(&mut self, rects: &[Rect]) {
        rects.iter().for_each(|rect| self.behind.add(*rect));
    }

    /// Tells what is sent exactly from what video shows.
    fn classify(
        &mut self,
        wanted: &Picture,
        areas: &[Rect],
        allowance: &Allowance,
        now: Instant,
        ops: &mut Ops,
    ) -> (Vec<Rect>, Region) {
        let changes: Vec<Change> = areas
            .iter()
            .flat_map(|area| tiles::changes(&self.picture, wanted, area, ops))
            .collect();
        let photo = changes.iter().filter(|change| change.is_photo);
        let photo =
            (photo.map(|change| change.rect.area()).sum::<usize>() as f64 * PHOTO_PIXEL_COST) as usize;
        let text = changes.iter().filter(|change| !change.is_photo).count() * TEXT_TILE_COST;
        let is_motion = self.motion.changed(photo, now);
        let at_once = (allowance.rate * EXACT_SPAN).clamp(EXACT.0, EXACT.1) as usize;
        if !is_motion && ops.cost() + text + photo <= at_once {
            return (areas.to_vec(), Region::default());
        }
        let text_is_exact = ops.cost() + text <= at_once;
        let (mut exact, mut moving) = (Vec::new(), Region::default());
        for change in changes {
            if change.is_photo || !text_is_exact {
                moving.add(change.tile);
            } else {
                exact.push(change.rect);
            }
        }
        (exact, moving)
    }

    fn paint(
        &mut self,
        wanted: &Picture,
        area: &Rect,
        start: usize,
        budget: usize,
        now: Instant,
        ops: &mut Ops,
    ) {
        let full = |ops: &Ops| is_full(ops, budget);
        if full(ops) {
            return self.behind.add(*area);
        }
        self.lossy.touch(area, now);
        let start = if (area.y0..area.y1).contains(&start) {
            start
        } else {
            area.y0
        };
        for part in [Rect { y0: start, ..*area }, Rect { y1: start, ..*area }] {
            if let Some(rest) = tiles::paint_difference(&mut self.picture, wanted, &part, ops, full) {
                self.behind.add(rest);
                if rest.y0 > part.y0 {
                    self.resume = rest.y0;
                }
            }
        }
    }

    /// Repaints exactly what is lossy and at rest, a little at a time.
    fn sharpen(&mut self, wanted: &Picture, allowance: &Allowance, now: Instant, ops: &mut Ops) {
        let budget = (allowance.rate * SHARPEN_SPAN).clamp(SHARPEN.0, SHARPEN.1) as usize;
        // Neighbours are cheaper together, and a slow link takes one tile at a time.
        let width = (budget / TILE_HEIGHT / TILE_WIDTH).clamp(1, 16) * TILE_WIDTH;
        for rect in self.lossy.at_rest(now) {
            for x0 in (rect.x0..rect.x1).step_by(width) {
                if is_full(ops, budget) {
                    return;
                }
                let part = Rect {
                    x0,
                    x1: (x0 + width).min(rect.x1),
                    ..rect
                };
                tiles::paint(wanted, &part, ops);
                self.lossy.clear(&part);
            }
        }
    }
}

fn is_full(ops: &Ops, budget: usize) -> bool {
    ops.cost() >= budget || ops.bytes().len() >= MAX_OPS_BYTES
}

#[cfg(test)]
#[path = "encode_tests.rs"]
pub(crate) mod tests;
