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

/// Bytes on the wire of a tile with one colour, one with few colours, and a photo's pixel. Measured.
const FLAT_TILE_COST: usize = 8;
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

    /// The first picture of a page that draws stills. What looks like text is written to `ops`, so that it is sharp from the
    /// beginning; the rest is returned, to be drawn from stills by [`Self::draw`].
    pub fn begin(&mut self, wanted: &Picture, allowance: &Allowance, now: Instant, ops: &mut Ops) -> Region {
        ops.clear();
        self.is_blank = false;
        self.behind = Region::default();
        let changes = tiles::changes(&self.picture, wanted, &wanted.bounds());
        let mut is_text =
            |change: &Change| ops.is_text_like(wanted, &change.rect) && !is_dithered(wanted, &change.rect);
        let (mut exact, photos): (Vec<Change>, Vec<Change>) =
            changes.iter().partition(|change| is_text(change));
        let mut stills = Region::default();
        if photos.iter().map(photo_cost).sum::<usize>() > at_once(allowance) {
            photos.iter().for_each(|photo| stills.add(photo.tile));
        } else {
            exact = changes;
        }
        self.paint(wanted, &mut exact, usize::MAX, now, ops);
        stills
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
        // Area by area, smallest first.
        let mut changes: Vec<Vec<Change>> = areas
            .iter()
            .map(|area| tiles::changes(&self.picture, wanted, area))
            .collect();
        let moving = if video {
            self.take_motion(wanted, &mut changes, allowance, now, ops)
        } else {
            Region::default()
        };
        for changes in &mut changes {
            self.paint(wanted, changes, allowance.budget, now, ops);
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

    /// Takes out of `changes` what video shows better.
    fn take_motion(
        &mut self,
        wanted: &Picture,
        changes: &mut [Vec<Change>],
        allowance: &Allowance,
        now: Instant,
        ops: &mut Ops,
    ) -> Region {
        let pixels: usize = changes.iter().flatten().map(|change| change.rect.area()).sum();
        if pixels <= SMALL {
            return Region::default();
        }
        let (mut text, mut photo) = (ops.cost(), 0);
        let mut photos = Region::default();
        let plays = self.motion.is_active(now);
        for change in changes.iter().flatten() {
            // What is part of a film stays one while that plays: looking at all of its pixels again would be a tenth of the work.
            let is_film = plays && self.lossy.shows(&change.tile);
            if !is_film && ops.is_text_like(wanted, &change.rect) {
                text += if ops.is_one_colour() {
                    FLAT_TILE_COST
                } else {
                    TEXT_TILE_COST
                };
            } else {
                photo += photo_cost(change);
                photos.add(change.tile);
            }
        }
        let is_motion = self.motion.changed(photo, now);
        let at_once = at_once(allowance);
        if !is_motion && text + photo <= at_once {
            return Region::default();
        }
        let mut moving = Region::default();
        for change in changes.iter_mut().flat_map(|changes| {
            changes.extract_if(.., |change| {
                // What touches a film belongs to it, and must not be drawn before the rest of the frame.
                text > at_once || photos.rects().iter().any(|photo| touches(photo, &change.tile))
            })
        }) {
            moving.add(change.tile);
        }
        moving
    }

    /// Paints `changes` of one area exactly, as far as `budget` lasts.
    fn paint(
        &mut self,
        wanted: &Picture,
        changes: &mut [Change],
        budget: usize,
        now: Instant,
        ops: &mut Ops,
    ) {
        // Goes on where the last update was full, and comes back to what is above.
        let first = changes.partition_point(|change| change.rect.y1 <= self.resume);
        if first < changes.len() {
            changes.rotate_left(first);
        }
        let mut rest = changes;
        while let Some(run) = tiles::first_run(rest) {
            if is_full(ops, budget) {
                self.resume = rest.first().map_or(0, |change| change.rect.y0);
                rest.iter().for_each(|change| self.behind.add(change.rect));
                return;
            }
            let (now_painted, later) = rest.split_at_mut(run);
            for change in now_painted.iter() {
                self.picture.take(wanted, &change.rect);
                self.lossy.touch(&change.rect, now);
            }
            tiles::paint_run(wanted, now_painted, ops);
            rest = later;
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

/// Whether many neighbours in `rect` differ a little, as in dithered gradients: those have few colours and deflate badly.
fn is_dithered(picture: &Picture, rect: &Rect) -> bool {
    const FAINT: u8 = 6;
    let is_faint = |pair: &&[u32]| {
        let (left, right) = (pair[0].to_le_bytes(), pair[1].to_le_bytes());
        pair[0] != pair[1] && left.iter().zip(right).all(|(a, b)| a.abs_diff(b) <= FAINT)
    };
    let faint = |y| {
        picture
            .row(y, rect.x0, rect.x1)
            .windows(2)
            .filter(is_faint)
            .count()
    };
    (rect.y0..rect.y1).map(faint).sum::<usize>() > rect.area() / 32
}

fn photo_cost(change: &Change) -> usize {
    (change.rect.area() as f64 * PHOTO_PIXEL_COST) as usize
}

/// Bytes that are sent exactly without looking for anything better.
fn at_once(allowance: &Allowance) -> usize {
    (allowance.rate * EXACT_SPAN).clamp(EXACT.0, EXACT.1) as usize
}

/// Whether two rectangles overlap or lie side by side, up to a tile apart.
fn touches(a: &Rect, b: &Rect) -> bool {
    a.x0 <= b.x1 + TILE_WIDTH
        && b.x0 <= a.x1 + TILE_WIDTH
        && a.y0 <= b.y1 + TILE_HEIGHT
        && b.y0 <= a.y1 + TILE_HEIGHT
}

fn is_full(ops: &Ops, budget: usize) -> bool {
    ops.cost() >= budget || ops.bytes().len() >= MAX_OPS_BYTES
}

#[cfg(test)]
#[path = "encode_tests.rs"]
pub(crate) mod tests;
