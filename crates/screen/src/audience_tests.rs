//! Viewers that come, lag, and go all end up with the picture; those in step share the work.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::encode::tests::{Change, allows, any_change, any_size, apply, same};
use crate::painter::Painter;
use crate::picture::Rect;
use crate::video::Frame;
use crate::wire::server;

#[derive(Debug, Clone)]
enum Step {
    Join,
    Leave(prop::sample::Index),
    Draw(Change),
    /// An update after some milliseconds, while the viewers with these numbers' bits can take nothing.
    Update {
        blocked: u8,
        budget: usize,
        later: u64,
    },
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => Just(Step::Join),
        1 => any::<prop::sample::Index>().prop_map(Step::Leave),
        4 => any_change().prop_map(Step::Draw),
        6 => (any::<u8>(), prop_oneof![Just(500usize), Just(usize::MAX)], 0u64..400)
            .prop_map(|(blocked, budget, later)| Step::Update { blocked, budget, later }),
    ]
}

const VIDEO: Abilities = Abilities {
    codec: Some(VideoCodec::Vp8),
    stills: false,
    inflates: true,
};

#[derive(Default)]
struct Pages {
    audience: Audience,
    painters: HashMap<ViewerId, Painter>,
    encodings: usize,
}

impl Pages {
    fn update(&mut self, picture: &Picture, now: Instant, allowance: impl Fn(ViewerId) -> Option<Allowance>) {
        let Self {
            audience,
            painters,
            encodings,
        } = self;
        let sent = audience.update(Update { picture, now }, allowance, |ids, part| {
            *encodings += 1;
            for id in ids {
                let painter = painters.get_mut(id).unwrap();
                match part {
                    Part::Ops(ops) => painter.draw(ops),
                    Part::Deflated { length, piece } => {
                        painter.draw_message(&server::update_deflated(0, 0, length, piece));
                    }
                    Part::Frame(codec, frame) => {
                        let Frame { is_key, rects, bytes } = frame;
                        painter.show(&server::frame(0, 0, *is_key, codec.code(), rects, bytes));
                    }
                }
            }
        });
        sent.unwrap();
    }

    fn join(&mut self, id: ViewerId, can: Abilities, picture: &Picture) {
        self.audience.join(id, can, picture);
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
        let (mut pages, mut last_id, mut now) = (Pages::default(), 0, Instant::now());
        for step in steps {
            match step {
                Step::Join => {
                    last_id += 1;
                    let codecs = [None, Some(VideoCodec::Vp8), Some(VideoCodec::Jpeg), Some(VideoCodec::Vp8)];
                    let codec = codecs[last_id as usize % 4];
                    pages.join(last_id, Abilities { codec, stills: last_id % 2 == 0, inflates: last_id % 8 != 2 }, &picture);
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
                Step::Update { blocked, budget, later } => {
                    now += Duration::from_millis(later);
                    pages.update(&picture, now, |id| {
                        let slow = Allowance { rate: 2e4, kbps: 200, ..allows(budget) };
                        (blocked >> (id % 8) & 1 == 0).then_some(if id % 3 == 0 { slow } else { allows(budget) })
                    });
                }
            }
            prop_assert!(pages.audience.groups.len() <= pages.painters.len());
        }
        let mut rounds = 0;
        while let Some(due) = pages.audience.due(false, now, |_| Some(allows(usize::MAX))) {
            now = now.max(due);
            pages.update(&picture, now, |_| Some(allows(usize::MAX)));
            rounds += 1;
            prop_assert!(rounds < 300, "each round must get somewhere");
        }
        let kinds: Vec<_> = pages.audience.groups.iter().map(|group| group.can).collect();
        for (n, kind) in kinds.iter().enumerate() {
            prop_assert!(!kinds[..n].contains(kind), "who sees the same is one group");
        }
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
        pages.join(id, Abilities::default(), &picture);
    }
    let now = Instant::now();
    pages.update(&picture, now, |_| Some(allows(usize::MAX)));
    pages.encodings = 0;
    let area = apply(&mut picture, &Change::Text(Rect::at(10, 10, 50, 20), 3));
    pages.audience.changed(&Region::of(area));
    pages.update(&picture, now, |_| Some(allows(usize::MAX)));
    assert_eq!(pages.encodings, 1);
}

/// A film of `frames` pictures 33 ms apart, before it comes to rest.
fn play(
    pages: &mut Pages,
    picture: &mut Picture,
    start: Instant,
    frames: u32,
    able: impl Fn(ViewerId, u32) -> Option<Allowance>,
) {
    for frame in 0..frames {
        let area = apply(picture, &Change::Photo(picture.bounds(), frame * 977));
        pages.audience.changed(&Region::of(area));
        pages.update(
            picture,
            start + Duration::from_millis(u64::from(frame) * 33),
            |id| able(id, frame),
        );
    }
}

#[test]
fn viewers_of_a_film_share_one_encoder_and_a_slow_one_has_its_own() {
    let mut picture = Picture::unknown(640, 360);
    let mut pages = Pages::default();
    for id in 1..=4 {
        pages.join(id, VIDEO, &picture);
    }
    let start = Instant::now();
    let slow = Allowance {
        rate: 3e4,
        kbps: 200,
        ..allows(usize::MAX)
    };
    let chains = |pages: &Pages| {
        pages
            .audience
            .groups
            .iter()
            .filter(|group| group.is_chained())
            .count()
    };
    play(&mut pages, &mut picture, start, 60, |_, _| {
        Some(allows(usize::MAX))
    });
    assert_eq!(chains(&pages), 1);
    assert!(pages.encodings < 75, "{} for 60 frames", pages.encodings);

    // One that cannot follow is waited for, then left to itself; when it can, it has an encoder for its link.
    let start = start + Duration::from_secs(3);
    play(&mut pages, &mut picture, start, 90, |id, frame| {
        match (id, frame) {
            (4, 10..=30) => None,
            (4, 31..) => Some(slow),
            _ => Some(allows(usize::MAX)),
        }
    });
    assert_eq!(chains(&pages), 2);
    assert_eq!(
        pages
            .audience
            .groups
            .iter()
            .map(|group| group.members.len())
            .max(),
        Some(3)
    );

    // It recovers, and they are one again.
    play(
        &mut pages,
        &mut picture,
        start + Duration::from_secs(4),
        90,
        |_, _| Some(allows(usize::MAX)),
    );
    assert_eq!(chains(&pages), 1);
}

/// What the first update of one viewer consists of: the kinds of its parts, and where its frames are drawn.
fn first_parts(picture: &Picture, can: Abilities) -> (Vec<Option<VideoCodec>>, Region, Audience) {
    let (mut audience, mut kinds, mut drawn) = (Audience::default(), Vec::new(), Region::default());
    audience.join(1, can, picture);
    let unknown_link = Allowance {
        rate: 200_000.0,
        budget: 128_000,
        ..allows(0)
    };
    let update = Update {
        picture,
        now: Instant::now(),
    };
    let sent = audience.update(
        update,
        |_| Some(unknown_link),
        |_, part| match part {
            Part::Frame(codec, frame) => {
                kinds.push(Some(codec));
                frame.rects.iter().for_each(|rect| drawn.add(*rect));
            }
            Part::Ops(_) | Part::Deflated { .. } => kinds.push(None),
        },
    );
    sent.unwrap();
    (kinds, drawn, audience)
}

#[test]
fn a_first_picture_has_sharp_text_and_stills_of_the_rest() {
    let can = Abilities {
        stills: true,
        ..VIDEO
    };
    let mut picture = Picture::unknown(1280, 720);
    let all = picture.bounds();
    apply(&mut picture, &Change::Fill(all, 0xF0_F0F0));
    for (line, column) in (0..45).flat_map(|line| (0..120).map(move |column| (line, column))) {
        apply(
            &mut picture,
            &Change::Text(Rect::at(column * 10, line * 16, 3, 10), 7),
        );
    }
    let (kinds, _, audience) = first_parts(&picture, can);
    assert_eq!(kinds, [None], "however much text it is");
    assert!(audience.groups[0].is_done());

    let smooth = Rect::at(640, 320, 512, 256);
    for y in smooth.y0..smooth.y1 {
        picture.draw_row(y, smooth.x0, smooth.x1, |row| {
            row.iter_mut()
                .enumerate()
                .for_each(|(x, pixel)| *pixel = (x * 251 + y * 17 * 256) as u32 & 0x3F_3F7F);
        });
    }
    let (kinds, drawn, audience) = first_parts(&picture, can);
    assert_eq!(kinds, [None, Some(VideoCodec::Jpeg)]);
    assert!(
        drawn.rects().iter().all(|rect| smooth.contains(rect)),
        "{drawn:?}"
    );
    let group = &audience.groups[0];
    assert!(group.video.is_none() && group.shown.is_current() && !group.shown.is_exact());

    // Without stills it is video, and so is what would be large as stills.
    let (kinds, _, _) = first_parts(&picture, VIDEO);
    assert_eq!(kinds, [Some(VideoCodec::Vp8)]);
    apply(&mut picture, &Change::Photo(all, 5));
    let (kinds, _, audience) = first_parts(&picture, can);
    assert_eq!(kinds, [Some(VideoCodec::Vp8)]);
    assert!(audience.groups[0].video.is_some());
}
