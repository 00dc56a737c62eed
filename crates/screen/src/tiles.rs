//! Finds what differs between two pictures, and paints it.
//!
//! The picture is cut into tiles of [`TILE_WIDTH`] by [`TILE_HEIGHT`]. Each tile that differs shrinks to the tight
//! rectangle around its changes; neighbours along a band join, so that a line of text is one operation. Tight
//! rectangles save more than any choice of codec.

use crate::ops::Ops;
use crate::picture::{Picture, Rect, STRIP_WIDTH};

/// Columns of a tile.
pub const TILE_WIDTH: usize = 64;
/// Rows of a tile, and of a band.
pub const TILE_HEIGHT: usize = 32;

/// Columns between two changes that are still painted as one.
const JOIN_GAP: usize = 8;

/// The tight rectangle around what differs inside `area`, if anything does. What is the same is told by hashes, so that
/// little of two large pictures is read.
pub fn difference(shown: &Picture, wanted: &Picture, area: &Rect) -> Option<Rect> {
    let mut tight: Option<Rect> = None;
    for strip in area.x0 / STRIP_WIDTH..area.x1.div_ceil(STRIP_WIDTH) {
        let x0 = area.x0.max(strip * STRIP_WIDTH);
        let x1 = area.x1.min((strip + 1) * STRIP_WIDTH);
        let hashes = shown
            .hashes_of(strip, area.y0..area.y1)
            .iter()
            .zip(wanted.hashes_of(strip, area.y0..area.y1));
        for (y, (old, new)) in (area.y0..).zip(hashes) {
            let row = Rect {
                x0,
                x1,
                y0: y,
                y1: y + 1,
            };
            if old == new || tight.is_some_and(|held| held.contains(&row)) {
                continue;
            }
            let mut differing = shown
                .row(y, x0, x1)
                .iter()
                .zip(wanted.row(y, x0, x1))
                .map(|(a, b)| a != b);
            let (Some(first), Some(last)) = (differing.clone().position(|d| d), differing.rposition(|d| d))
            else {
                continue;
            };
            let line = Rect::at(x0 + first, y, last - first + 1, 1);
            tight = Some(tight.map_or(line, |held| held.union(&line)));
        }
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
}

/// What differs inside `area`, tile by tile from the top.
pub fn changes(shown: &Picture, wanted: &Picture, area: &Rect) -> Vec<Change> {
    let whole = Rect {
        x0: area.x0 / TILE_WIDTH * TILE_WIDTH,
        y0: area.y0 / TILE_HEIGHT * TILE_HEIGHT,
        x1: area.x1.next_multiple_of(TILE_WIDTH),
        y1: area.y1.next_multiple_of(TILE_HEIGHT),
    };
    let change = |tile: Rect| {
        let rect = difference(shown, wanted, &tile.intersection(area))?;
        let tile = tile.intersection(&wanted.bounds());
        Some(Change { tile, rect })
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

/// How many of `changes`, from the first on, are neighbours along a band and are painted together. None: there are none.
pub fn first_run(changes: &[Change]) -> Option<usize> {
    let first = changes.first()?;
    let neighbours = |pair: &[Change]| {
        let near = pair[0].rect.x1 <= pair[1].rect.x0 && pair[1].rect.x0 - pair[0].rect.x1 <= JOIN_GAP;
        pair[1].tile.y0 == first.tile.y0 && near
    };
    Some(1 + changes.windows(2).take_while(|pair| neighbours(pair)).count())
}

/// Paints all of `area`, a row of tiles.
pub fn paint(wanted: &Picture, area: &Rect, ops: &mut Ops) {
    let changes = tiles(area).map(|tile| Change { tile, rect: tile });
    paint_run(wanted, &changes.collect::<Vec<_>>(), ops);
}

/// Paints neighbours as one when that needs no more than one palette, else the text among them apart from the photos.
pub fn paint_run(wanted: &Picture, run: &[Change], ops: &mut Ops) {
    let rects = run.iter().map(|change| change.rect);
    let Some(whole) = rects.clone().reduce(|a, b| a.union(&b)) else {
        return;
    };
    if ops.is_text_like(wanted, &whole) {
        return ops.paint_scanned(&whole);
    }
    let mut photo: Option<Rect> = None;
    for rect in rects {
        if ops.is_text_like(wanted, &rect) {
            ops.paint_scanned(&rect);
            if let Some(photo) = photo.take() {
                ops.true_colour(wanted, &photo);
            }
        } else {
            photo = Some(photo.map_or(rect, |held| held.union(&rect)));
        }
    }
    if let Some(photo) = photo {
        ops.true_colour(wanted, &photo);
    }
}
