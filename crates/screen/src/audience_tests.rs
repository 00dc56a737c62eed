//! Viewers that come, lag, and go all end up with the picture; those in step share the work.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::encode::tests::{Change, any_change, any_size, apply, same};
use crate::painter::Painter;
use crate::picture::Rect;

#[derive(Debug, Clone)]
enum Step {
    Join,
    Leave(prop::sample::Index),
    Draw(Change),
    /// An update while the viewers with these numbers' bits can take nothing.
    Update {
        blocked: u8,
        budget: usize,
    },
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => Just(Step::Join),
        1 => any::<prop::sample::Index>().prop_map(Step::Leave),
        4 => any_change().prop_map(Step::Draw),
        6 => (any::<u8>(), prop_oneof![Just(500usize), Just(usize::MAX)])
            .prop_map(|(blocked, budget)| Step::Update { blocked, budget }),
    ]
}

#[derive(Default)]
struct Pages {
    audience: Audience,
    painters: HashMap<ViewerId, Painter>,
    ops: Ops,
    encodings: usize,
}

impl Pages {
    fn update(&mut self, picture: &Picture, budget: impl Fn(ViewerId) -> Option<usize>) {
        let Self {
            audience,
            painters,
            ops,
            encodings,
        } = self;
        audience.update(picture, ops, budget, |ids, ops| {
            *encodings += 1;
            for id in ids {
                painters.get_mut(id).unwrap().draw(ops.bytes());
            }
        });
    }

    fn join(&mut self, id: ViewerId, picture: &Picture) {
        self.audience.join(id, picture);
        self.painters
            .insert(id, Painter::sized(picture.width(), picture.height()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn everyone_sees_the_picture_in_the_end(
        (width, height) in any_size(),
        steps in prop::collection::vec(any_step(), 1..30),
    ) {
        let mut picture = Picture::unknown(width, height);
        let bounds = picture.bounds();
        apply(&mut picture, &Change::Fill(bounds, 7));
        let (mut pages, mut last_id) = (Pages::default(), 0);
        for step in steps {
            match step {
                Step::Join => {
                    last_id += 1;
                    pages.join(last_id, &picture);
                }
                Step::Leave(_) if pages.painters.is_empty() => {}
                Step::Leave(which) => {
                    let mut ids: Vec<_> = pages.painters.keys().copied().collect();
                    ids.sort_unstable();
                    let id = *which.get(&ids);
                    pages.audience.leave(id);
                    pages.painters.remove(&id);
                }
                Step::Draw(change) => {
                    let area = apply(&mut picture, &change);
                    pages.audience.changed(&Region::of(area));
                }
                Step::Update { blocked, budget } => {
                    pages.update(&picture, |id| (blocked >> (id % 8) & 1 == 0).then_some(budget));
                }
            }
            prop_assert!(pages.audience.groups.len() <= pages.painters.len());
        }
        pages.update(&picture, |_| Some(usize::MAX));
        prop_assert_eq!(pages.audience.behind().count(), 0);
        prop_assert!(pages.audience.groups.len() <= 1, "who sees the same is one group");
        for painter in pages.painters.values() {
            prop_assert!(same(painter, &picture));
        }
    }
}

#[test]
fn viewers_in_step_share_one_encoding() {
    let mut picture = Picture::unknown(200, 100);
    let bounds = picture.bounds();
    apply(&mut picture, &Change::Fill(bounds, 1));
    let mut pages = Pages::default();
    for id in 1..=5 {
        pages.join(id, &picture);
    }
    pages.update(&picture, |_| Some(usize::MAX));
    pages.encodings = 0;
    let area = apply(&mut picture, &Change::Text(Rect::at(10, 10, 50, 20), 3));
    pages.audience.changed(&Region::of(area));
    pages.update(&picture, |_| Some(usize::MAX));
    assert_eq!(pages.encodings, 1);
}
