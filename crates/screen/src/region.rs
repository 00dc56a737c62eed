//! Where a picture changed: a few rectangles that together cover the change, with little between them.
//!
//! Few, because each costs a round trip to capture; several, because a clock in one corner and a cursor in another
//! must not make the whole screen count as changed. Bounded: at [`MAX_RECTS`] the two that waste least are joined.

use crate::picture::Rect;

/// Rectangles a region holds at most.
pub const MAX_RECTS: usize = 8;

/// Pixels that are captured and compared in less time than one more rectangle costs.
const CHEAP_WASTE: usize = 64 * 64;

/// A set of pixels, somewhat enlarged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Region {
    rects: Vec<Rect>,
}

impl Region {
    /// The region of one rectangle.
    pub fn of(rect: Rect) -> Self {
        let mut region = Self::default();
        region.add(rect);
        region
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.rects.is_empty()
    }

    /// Its rectangles. They may overlap.
    pub fn rects(&self) -> &[Rect] {
        &self.rects
    }

    /// Empties it, and gives what it held, smallest first: where a person types comes before what plays behind.
    pub fn drain(&mut self) -> Vec<Rect> {
        let mut rects = std::mem::take(&mut self.rects);
        rects.sort_by_key(Rect::area);
        rects
    }

    /// Adds all of `other`.
    pub fn add_all(&mut self, other: &Self) {
        for rect in &other.rects {
            self.add(*rect);
        }
    }

    /// Adds `rect`.
    pub fn add(&mut self, rect: Rect) {
        if rect.is_empty() || self.rects.iter().any(|held| held.contains(&rect)) {
            return;
        }
        let mut rect = rect;
        // A join can make the next join worth it, so look again after each one.
        while let Some(near) = self
            .rects
            .iter()
            .position(|held| waste(held, &rect) <= allowed(held, &rect))
        {
            rect = rect.union(&self.rects.swap_remove(near));
        }
        self.rects.push(rect);
        if self.rects.len() > MAX_RECTS {
            self.join_nearest();
        }
    }

    fn join_nearest(&mut self) {
        let pairs = (0..self.rects.len()).flat_map(|a| (0..a).map(move |b| (a, b)));
        let nearest = pairs.min_by_key(|&(a, b)| waste(&self.rects[a], &self.rects[b]));
        if let Some((a, b)) = nearest {
            // `a` is the larger index, so removing it leaves `b` where it is.
            let joined = self.rects.swap_remove(a).union(&self.rects.swap_remove(b));
            self.add(joined);
        }
    }
}

/// Pixels that joining would add.
fn waste(a: &Rect, b: &Rect) -> usize {
    a.union(b).area().saturating_sub(a.area() + b.area())
}

/// Pixels that joining may add.
fn allowed(a: &Rect, b: &Rect) -> usize {
    CHEAP_WASTE + (a.area() + b.area()) / 4
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_rect() -> impl Strategy<Value = Rect> {
        (0..1200usize, 0..700usize, 0..400usize, 0..300usize).prop_map(|(x, y, w, h)| Rect::at(x, y, w, h))
    }

    proptest! {
        #[test]
        fn it_covers_all_that_was_added_in_few_rectangles(rects in prop::collection::vec(any_rect(), 0..60)) {
            let mut region = Region::default();
            for rect in &rects {
                region.add(*rect);
                prop_assert!(region.rects().len() <= MAX_RECTS);
            }
            for rect in rects.iter().filter(|rect| !rect.is_empty()) {
                prop_assert!(region.rects().iter().any(|held| held.contains(rect)));
            }
        }
    }

    #[test]
    fn far_corners_stay_apart_and_neighbours_join() {
        let mut region = Region::of(Rect::at(0, 0, 20, 20));
        region.add(Rect::at(1200, 700, 20, 20));
        assert_eq!(region.rects().len(), 2);
        region.add(Rect::at(20, 0, 20, 20));
        assert_eq!(region.rects().len(), 2);
        assert_eq!(region.drain()[0], Rect::at(1200, 700, 20, 20));
    }
}
