//! Which tiles a page shows with loss, and for how long each has been still: those are repainted exactly.

use std::time::{Duration, Instant};

use crate::picture::Rect;
use crate::tiles::{TILE_HEIGHT, TILE_WIDTH};

/// A tile that has not changed for so long has come to rest.
const STILL: Duration = Duration::from_millis(200);

/// The tiles of one picture. Pure: callers bring the time.
#[derive(Debug, Clone)]
pub struct Lossy {
    bounds: Rect,
    columns: usize,
    /// Row by row: when the tile changed last, if it is shown with loss.
    changed: Vec<Option<Instant>>,
    count: usize,
}

impl Lossy {
    /// No tile of a picture this size.
    pub fn none(bounds: Rect) -> Self {
        let columns = bounds.width().div_ceil(TILE_WIDTH);
        Self {
            bounds,
            columns,
            changed: vec![None; columns * bounds.height().div_ceil(TILE_HEIGHT)],
            count: 0,
        }
    }

    /// Whether every tile is exact.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// `rect` is now shown with loss.
    pub fn mark(&mut self, rect: &Rect, now: Instant) {
        for tile in self.tiles(rect) {
            self.count += usize::from(self.changed[tile].is_none());
            self.changed[tile] = Some(now);
        }
    }

    /// Whether `tile` is shown with loss.
    pub fn shows(&self, tile: &Rect) -> bool {
        !self.is_empty() && self.tiles(tile).all(|tile| self.changed[tile].is_some())
    }

    /// Part of `rect` was painted: what is lossy there is not at rest.
    pub fn touch(&mut self, rect: &Rect, now: Instant) {
        if self.is_empty() {
            return;
        }
        for tile in self.tiles(rect) {
            if let Some(changed) = &mut self.changed[tile] {
                *changed = now;
            }
        }
    }

    /// The page copied the area at `(sx, sy)` to `to`, and its losses with it.
    pub fn shift(&mut self, sx: usize, sy: usize, to: &Rect, now: Instant) {
        let source = Rect::at(sx, sy, to.width(), to.height());
        if !self.is_empty() && self.tiles(&source).any(|tile| self.changed[tile].is_some()) {
            self.mark(to, now);
        }
    }

    /// When the next tile comes to rest.
    pub fn due(&self) -> Option<Instant> {
        if self.is_empty() {
            return None;
        }
        self.changed.iter().flatten().min().map(|oldest| *oldest + STILL)
    }

    /// The tiles at rest, from the top; neighbours in a row as one rectangle.
    pub fn at_rest(&self, now: Instant) -> Vec<Rect> {
        let mut found: Vec<Rect> = Vec::new();
        if self.is_empty() {
            return found;
        }
        for (tile, changed) in self.changed.iter().enumerate() {
            if changed.is_none_or(|changed| now.saturating_duration_since(changed) < STILL) {
                continue;
            }
            let rect = self.rect(tile);
            match found.last_mut() {
                Some(last) if last.y0 == rect.y0 && last.x1 == rect.x0 => last.x1 = rect.x1,
                _ => found.push(rect),
            }
        }
        found
    }

    /// `rect`, whole tiles of [`Self::at_rest`], was painted exactly.
    pub fn clear(&mut self, rect: &Rect) {
        for tile in self.tiles(rect) {
            self.count -= usize::from(self.changed[tile].take().is_some());
        }
    }

    fn rect(&self, tile: usize) -> Rect {
        let (x, y) = (
            tile % self.columns * TILE_WIDTH,
            tile / self.columns * TILE_HEIGHT,
        );
        Rect::at(x, y, TILE_WIDTH, TILE_HEIGHT).intersection(&self.bounds)
    }

    /// The tiles that `rect` meets.
    fn tiles(&self, rect: &Rect) -> impl Iterator<Item = usize> + use<> {
        let rect = rect.intersection(&self.bounds);
        let columns = self.columns;
        let across = rect.x0 / TILE_WIDTH..rect.x1.div_ceil(TILE_WIDTH);
        let down = rect.y0 / TILE_HEIGHT..rect.y1.div_ceil(TILE_HEIGHT);
        down.flat_map(move |row| across.clone().map(move |column| row * columns + column))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_come_to_rest_one_by_one_and_are_told_once_exact() {
        let start = Instant::now();
        let later = |ms| start + Duration::from_millis(ms);
        let mut lossy = Lossy::none(Rect::at(0, 0, 200, 100));
        assert_eq!(lossy.due(), None);
        lossy.mark(&Rect::at(10, 10, 60, 10), start);
        lossy.mark(&Rect::at(130, 40, 70, 60), later(50));
        assert_eq!(lossy.due(), Some(later(200)));
        assert!(lossy.at_rest(later(100)).is_empty());
        assert_eq!(lossy.at_rest(later(210)), [Rect::at(0, 0, 128, 32)]);
        lossy.touch(&Rect::at(0, 0, 5, 5), later(210));
        assert_eq!(lossy.at_rest(later(220)), [Rect::at(64, 0, 64, 32)]);
        lossy.clear(&Rect::at(64, 0, 64, 32));
        let rest = lossy.at_rest(later(1000));
        assert_eq!(
            rest[1..],
            [
                Rect::at(128, 32, 72, 32),
                Rect::at(128, 64, 72, 32),
                Rect::at(128, 96, 72, 4)
            ]
        );
        for rect in rest {
            lossy.clear(&rect);
        }
        assert!(lossy.is_empty() && lossy.due().is_none());
    }

    #[test]
    fn a_copy_takes_its_losses_along() {
        let now = Instant::now();
        let mut lossy = Lossy::none(Rect::at(0, 0, 128, 128));
        lossy.shift(0, 0, &Rect::at(64, 64, 64, 32), now);
        assert!(lossy.is_empty());
        lossy.mark(&Rect::at(0, 0, 1, 1), now);
        lossy.shift(0, 0, &Rect::at(64, 64, 64, 32), now);
        assert_eq!(
            lossy.at_rest(now + STILL),
            [Rect::at(0, 0, 64, 32), Rect::at(64, 64, 64, 32)]
        );
    }
}
