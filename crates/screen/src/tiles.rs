//! Finds what differs between two pictures, and paints it.
//!
//! The picture is cut into tiles of [`TILE_WIDTH`] by [`TILE_HEIGHT`]. Each tile that differs shrinks to the tight
//! rectangle around its changes; neighbours along a band join, so that a line of text is one operation. Tight
//! rectangles save more than any choice of codec.

use crate::ops::Ops;
use crate::picture::{Picture, Rect};

/// Columns of a tile.
pub const TILE_WIDTH: usize = 64;
/// Rows of a tile, and of a band.
pub const TILE_HEIGHT: usize = 32;

/// Columns between two changes that are still painted as one.
const JOIN_GAP: usize = 8;

/// The tight rectangle around what differs inside `area`, if anything does.
pub fn difference(shown: &Picture, wanted: &Picture, area: &Rect) -> Option<Rect> {
    let mut tight: Option<Rect> = None;
    for y in area.y0..area.y1 {
        let (old, new) = (shown.row(y, area.x0, area.x1), wanted.row(y, area.x0, area.x1));
        if old == new {
            continue;
        }
        let mut differing = old.iter().zip(new).map(|(a, b)| a != b);
        let (Some(first), Some(last)) = (differing.clone().position(|d| d), differing.rposition(|d| d))
        else {
            continue;
        };
        let line = Rect::at(area.x0 + first, y, last - first + 1, 1);
        tight = Some(tight.map_or(line, |held| held.union(&line)));
    }
    tight
}

/// A tile that differs.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    /// The tile, cut to the picture.
    pub tile: Rect,
    /// The tight rectangle around its changes.
    pub rect: Rect,
    /// It has more colours than a palette holds.
    pub is_photo: bool,
}

/// What differs inside `area`, tile by tile.
pub fn changes(shown: &Picture, wanted: &Picture, area: &Rect, ops: &mut Ops) -> Vec<Change> {
    let whole = Rect {
        x0: area.x0 / TILE_WIDTH * TILE_WIDTH,
        y0: area.y0 / TILE_HEIGHT * TILE_HEIGHT,
        ..*area
    };
    let change = |part: Rect| {
        let rect = difference(shown, wanted, &part.intersection(area))?;
        let (column, row) = (part.x0 / TILE_WIDTH, part.y0 / TILE_HEIGHT);
        let tile = Rect::at(column * TILE_WIDTH, row * TILE_HEIGHT, TILE_WIDTH, TILE_HEIGHT);
        Some(Change {
            tile: tile.intersection(&wanted.bounds()),
            rect,
            is_photo: !ops.is_text_like(wanted, &rect),
        })
    };
    tiles(&whole).filter_map(change).collect()
}

/// The tiles of `area`, which begins with one, from the top.
pub fn tiles(area: &Rect) -> impl Iterator<Item = Rect> + use<> {
    let area = *area;
    let bands = (area.y0..area.y1).step_by(TILE_HEIGHT);
    bands.flat_map(move |y| {
        let columns = (area.x0..area.x1).step_by(TILE_WIDTH);
        columns.map(move |x| Rect::at(x, y, TILE_WIDTH, TILE_HEIGHT).intersection(&area))
    })
}

/// Paints all of `area`, a row of tiles.
pub fn paint(wanted: &Picture, area: &Rect, ops: &mut Ops) {
    paint_run(wanted, &tiles(area).collect::<Vec<_>>(), ops);
}

/// Paints what differs inside `area`, band by band, and makes `shown` equal `wanted` where it painted. Stops after a
/// band that `full` finds to be enough, and gives back the rest of the area.
pub fn paint_difference(
    shown: &mut Picture,
    wanted: &Picture,
    area: &Rect,
    ops: &mut Ops,
    full: impl Fn(&Ops) -> bool,
) -> Option<Rect> {
    let mut y0 = area.y0;
    while y0 < area.y1 {
        if full(ops) {
            return Some(Rect { y0, ..*area });
        }
        let y1 = next_multiple(y0, TILE_HEIGHT).min(area.y1);
        paint_band(shown, wanted, &Rect { y0, y1, ..*area }, ops);
        y0 = y1;
    }
    None
}

fn paint_band(shown: &mut Picture, wanted: &Picture, band: &Rect, ops: &mut Ops) {
    // The changes of neighbouring tiles that would be painted together.
    let mut run: Vec<Rect> = Vec::new();
    let mut x0 = band.x0;
    while x0 < band.x1 {
        let x1 = next_multiple(x0, TILE_WIDTH).min(band.x1);
        if let Some(change) = difference(shown, wanted, &Rect { x0, x1, ..*band }) {
            if run.last().is_some_and(|last| change.x0 - last.x1 > JOIN_GAP) {
                paint_run(wanted, &run, ops);
                run.clear();
            }
            shown.take(wanted, &change);
            run.push(change);
        }
        x0 = x1;
    }
    paint_run(wanted, &run, ops);
}

/// Paints neighbours as one when that needs no more than one palette, else the text among them apart from the photos.
fn paint_run(wanted: &Picture, run: &[Rect], ops: &mut Ops) {
    let Some(whole) = run.iter().copied().reduce(|a, b| a.union(&b)) else {
        return;
    };
    if ops.is_text_like(wanted, &whole) {
        return ops.paint_scanned(&whole);
    }
    let mut photo: Option<Rect> = None;
    for tile in run {
        if ops.is_text_like(wanted, tile) {
            ops.paint_scanned(tile);
            if let Some(photo) = photo.take() {
                ops.true_colour(wanted, &photo);
            }
        } else {
            photo = Some(photo.map_or(*tile, |held| held.union(tile)));
        }
    }
    if let Some(photo) = photo {
        ops.true_colour(wanted, &photo);
    }
}

fn next_multiple(n: usize, of: usize) -> usize {
    (n / of + 1) * of
}
