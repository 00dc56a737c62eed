//! One message of a page: it is read or refused, and what was read is written and read as the same.
#![no_main]

use berth_screen::wire::page::{
    Hello, Input, Key, MAX_CLIPBOARD_BYTES, MAX_NAME_BYTES, Message, Modifiers, Position, Verb, VideoFailure,
    parse,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(message) = parse(data) else { return };
    let bytes = written(&message);
    assert_eq!(parse(&bytes), Ok(message));
    // Unknown bits of flags are let through and mean nothing; nothing else may be left out.
    assert_eq!(bytes.len(), data.len());
    match message {
        Message::Input(_, Input::Key(key)) => {
            assert!(key.code.len() <= MAX_NAME_BYTES && key.key.len() <= MAX_NAME_BYTES);
        }
        Message::Input(_, Input::Clipboard(text)) => assert!(text.len() <= MAX_CLIPBOARD_BYTES),
        _ => {}
    }
});

/// The format, said once more.
fn written(message: &Message<'_>) -> Vec<u8> {
    match *message {
        Message::Hello(hello) => {
            let Hello { width, height, .. } = hello;
            let bits = [
                hello.inflates,
                hello.decodes_video,
                hello.decodes_jpeg,
                hello.is_near,
            ];
            [&[1, 1][..], &numbers([width, height]), &[flags(bits)]].concat()
        }
        Message::Received(seq) => [&[2][..], &seq.to_le_bytes()].concat(),
        Message::Painted(seq) => [&[3][..], &seq.to_le_bytes()].concat(),
        Message::VideoFailed(failure) => vec![10, u8::from(failure == VideoFailure::Broken)],
        Message::Resize { width, height } => [&[12][..], &numbers([width, height])].concat(),
        Message::Control(verb, other) => {
            let verb = match verb {
                Verb::Ask => 0,
                Verb::Take => 1,
                Verb::Give => 2,
                Verb::Release => 3,
                Verb::Refuse => 4,
                Verb::TakeOver => 5,
                Verb::GiveBack => 6,
            };
            [&[13, verb][..], &(other as u32).to_le_bytes()].concat()
        }
        Message::Sound(on) => vec![14, u8::from(on)],
        Message::FetchClipboard => vec![15],
        Message::Input(seq, input) => {
            let (kind, body) = input_body(&input);
            [&[kind][..], &seq.to_le_bytes(), &body].concat()
        }
    }
}

fn input_body(input: &Input<'_>) -> (u8, Vec<u8>) {
    match *input {
        Input::Pointer(at) => (4, position(at)),
        Input::Button { button, down, at } => (5, [&[button, u8::from(down)][..], &position(at)].concat()),
        Input::Wheel { dx, dy, at } => (6, [&numbers([dx as u16, dy as u16])[..], &position(at)].concat()),
        Input::Key(key) => (7, key_body(&key)),
        Input::Text(text) => (8, [&numbers([text.len() as u16])[..], text.as_bytes()].concat()),
        Input::Release => (9, Vec::new()),
        Input::Clipboard(text) => (11, [&[0], text.as_bytes()].concat()),
    }
}

fn key_body(key: &Key<'_>) -> Vec<u8> {
    let Modifiers {
        shift,
        ctrl,
        alt,
        meta,
        altgr,
    } = key.modifiers;
    let mut body = vec![
        flags([key.down, key.repeat]),
        flags([shift, ctrl, alt, meta, altgr]),
    ];
    for name in [key.code, key.key] {
        body.push(name.len() as u8);
        body.extend(name.as_bytes());
    }
    body
}

fn position(at: Position) -> Vec<u8> {
    numbers([at.x, at.y])
}

fn numbers<const N: usize>(numbers: [u16; N]) -> Vec<u8> {
    numbers.map(u16::to_le_bytes).concat()
}

fn flags<const N: usize>(bits: [bool; N]) -> u8 {
    (0..N).map(|at| u8::from(bits[at]) << at).sum()
}
