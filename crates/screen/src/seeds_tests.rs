//! The seeds of `fuzz/`: what the real encoders write for small pages. `BERTH_UPDATE_SEEDS=1` writes them anew.

use std::path::PathBuf;
use std::time::Instant;

use berth_recording::Canvas;
use bytes::Bytes;

use crate::deflate::Deflate;
use crate::encode::Shown;
use crate::encode::tests::{Change, allows, apply, same};
use crate::floor::{Abilities, Floor, Visitor};
use crate::marks::{Actor, Deed, Mark};
use crate::ops::Ops;
use crate::painter::Painter;
use crate::picture::{Picture, Rect};
use crate::region::Region;
use crate::video::{Frame, VideoCodec};
use crate::wire::page::Position;
use crate::wire::server::{self, Clip};

const WIDTH: usize = 64;
const HEIGHT: usize = 48;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/canvas")
}

/// All that a server says to a page that inflates, or does not, and has this codec.
fn session(inflates: bool, codec: VideoCodec) -> Vec<Bytes> {
    let (mut picture, mut shown) = (Picture::unknown(WIDTH, HEIGHT), Shown::nothing(WIDTH, HEIGHT));
    let (mut deflate, mut ops, mut painter) = (Deflate::default(), Ops::default(), Painter::default());
    let mut messages = vec![server::hello(WIDTH as u16, HEIGHT as u16)];
    painter.take(&messages[0]);
    let all = picture.bounds();
    let changes = [
        Change::Fill(all, 0x20_30_40),
        Change::Text(Rect::at(3, 4, 50, 20), 1),
        Change::Text(Rect::at(8, 2, 40, 16), 7),
        Change::Photo(Rect::at(40, 30, 9, 7), 3),
        Change::Scroll(all, -5),
    ];
    for change in &changes {
        shown.changed(&Region::of(apply(&mut picture, change)));
        let moving = shown.catch_up(&picture, &allows(1 << 20), false, Instant::now(), &mut ops);
        assert!(moving.is_empty());
        let seq = messages.len() as u32;
        let message = if inflates {
            let mut piece = Vec::new();
            deflate.append(ops.bytes(), &mut piece).unwrap();
            server::update_deflated(seq, 0, ops.bytes().len(), &piece)
        } else {
            server::update_plain(seq, 0, ops.bytes())
        };
        painter.take(&message);
        messages.push(message);
    }
    assert!(same(&painter, &picture));

    let mut encoder = codec.open(WIDTH, HEIGHT, 500).unwrap();
    for n in 0..3 {
        let rect = apply(
            &mut picture,
            &Change::Fill(Rect::at(n * 9, 8, 20, 30), 0xA0_00_10),
        );
        encoder.changed(&Region::of(rect));
        let mut frame = Frame::default();
        assert!(
            encoder
                .encode(&picture, &[rect], 500, n == 0, &mut frame)
                .unwrap()
        );
        let seq = messages.len() as u32;
        let message = server::frame(seq, 9, frame.is_key, codec.code(), &frame.rects, &frame.bytes);
        painter.take(&message);
        messages.push(message);
    }
    messages.extend(notices());
    messages
}

/// What is told besides the picture.
fn notices() -> Vec<Bytes> {
    let mut floor = Floor::default();
    for (id, name) in [(1, "Ann"), (2, "")] {
        let name = name.to_owned();
        floor.enter(
            id,
            Visitor {
                name,
                ..Visitor::owner()
            },
        );
    }
    floor.acts(2);
    let abilities = Abilities {
        largest: Some((1920, 1080)),
        sound: true,
    };
    let at = Position { x: 7, y: 9 };
    let mark = |actor, deed| server::mark(&Mark { actor, at, deed });
    let mut messages = vec![
        server::cursor(4, 3, 1, 2, &[0x7F; 48]),
        server::cursor(0, 0, 0, 0, &[]),
        server::clipboard(Clip::Text, "käse 日本".as_bytes()),
        server::clipboard(Clip::Png, b"\x89PNG\r\n\x1a\n...."),
        server::clipboard(Clip::LongText, &70_000u32.to_le_bytes()),
        server::clipboard(Clip::LongPng, &1_000_000u32.to_le_bytes()),
        server::state(1, &floor.state(1, abilities)),
        server::sound(3, &[0xFC, 0xFF, 0xFE]),
    ];
    messages.extend([Deed::Moved, Deed::Down, Deed::Up].map(|deed| mark(Actor::Person(2), deed)));
    messages.push(mark(Actor::Agent, Deed::Types));
    messages
}

/// Each message behind its length.
fn row(messages: &[Bytes]) -> Vec<u8> {
    let rows = messages.iter().flat_map(|message| {
        let length = (message.len() as u32).to_le_bytes();
        [&length[..], message].concat()
    });
    rows.collect()
}

fn messages(mut row: &[u8]) -> Vec<&[u8]> {
    let mut messages = Vec::new();
    while let Some((length, rest)) = row.split_first_chunk() {
        let (message, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        messages.push(message);
        row = rest;
    }
    messages
}

#[test]
fn the_seeds_are_what_servers_say() {
    let sessions = [
        ("deflated", session(true, VideoCodec::Vp8)),
        ("plain", session(false, VideoCodec::Jpeg)),
    ];
    for (name, session) in sessions {
        let path = folder().join(name);
        if std::env::var_os("BERTH_UPDATE_SEEDS").is_some() {
            fs_err::write(&path, row(&session)).unwrap();
        }
        // Codecs of other releases write other bytes for the same; so what is there is drawn, and counted by kinds.
        let seed = fs_err::read(&path).unwrap();
        let seed = messages(&seed);
        let kinds = |messages: &[&[u8]]| messages.iter().map(|message| message[0]).collect::<Vec<_>>();
        let session: Vec<&[u8]> = session.iter().map(|message| &message[..]).collect();
        assert_eq!(
            kinds(&seed),
            kinds(&session),
            "{name}; write it with BERTH_UPDATE_SEEDS=1"
        );
        let mut canvas = Canvas::default();
        for message in seed {
            // A recorder asks for no JPEG pictures.
            let is_drawn = canvas.take(message).is_ok();
            assert_eq!(is_drawn, message[0] != 4 || name == "deflated");
        }
    }
}
