//! Messages of the page.

use super::{VERSION, WireError};
use crate::audience::ViewerId;

/// Bytes of a text for the clipboard.
pub const MAX_CLIPBOARD_BYTES: usize = 1 << 20;

/// Bytes of the longest message that a page may send.
pub const MAX_MESSAGE_BYTES: usize = MAX_CLIPBOARD_BYTES + 16;

/// Bytes of `code` and of `key` that are taken at most; the longest names browsers send have about 25.
pub const MAX_NAME_BYTES: usize = 64;

/// The page can inflate raw deflate.
const CAN_INFLATE: u8 = 1;
/// The page can decode video.
const CAN_DECODE_VIDEO: u8 = 2;
/// The page can draw JPEG pictures.
const CAN_DECODE_JPEG: u8 = 4;
/// The page itself came within a moment: the link's round trip is short.
const IS_NEAR: u8 = 8;

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// The page is there.
    Hello(Hello),
    /// An update arrived.
    Received(u32),
    /// An update is on the canvas.
    Painted(u32),
    /// The video cannot be decoded: a key frame may help, or no video comes any more.
    VideoFailed(VideoFailure),
    /// The screen is to have this size.
    Resize {
        /// Columns.
        width: u16,
        /// Rows.
        height: u16,
    },
    /// About who has control; the number is another viewer's, where one is meant.
    Control(Verb, ViewerId),
    /// Sound is wanted, or not any more.
    Sound(bool),
    /// The clipboard's content that was announced is wanted.
    FetchClipboard,
    /// Something that a person did, numbered.
    Input(u32, Input<'a>),
}

/// What a viewer wants to happen to control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// To be given it.
    Ask,
    /// To have it, whoever has it now.
    Take,
    /// To give it to another.
    Give,
    /// To have it no more.
    Release,
    /// Not to give it to another who asked.
    Refuse,
    /// The agent's mouse and keyboard to rest.
    TakeOver,
    /// The agent to go on.
    GiveBack,
}

/// What the page asks for when its decoder fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VideoFailure {
    /// A frame that needs none before it.
    WantsKey,
    /// No video any more: the decoder does not work on this device.
    Broken,
}

/// What the page says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello {
    /// Columns of the page's window.
    pub width: u16,
    /// Rows of the page's window.
    pub height: u16,
    /// It can inflate raw deflate.
    pub inflates: bool,
    /// It can decode video.
    pub decodes_video: bool,
    /// It can draw JPEG pictures.
    pub decodes_jpeg: bool,
    /// The link's round trip is short.
    pub is_near: bool,
}

/// Something that a person did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input<'a> {
    /// The pointer moved to this pixel.
    Pointer(Position),
    /// A button went down or up.
    Button {
        /// As X numbers them: 1 left, 2 middle, 3 right, 8 back, 9 forward.
        button: u8,
        /// Down, or up.
        down: bool,
        /// Where the pointer was.
        at: Position,
    },
    /// The wheel turned, in 1/120 of a notch; positive is right and down.
    Wheel {
        /// Sideways.
        dx: i16,
        /// Upright.
        dy: i16,
        /// Where the pointer was.
        at: Position,
    },
    /// A key went down or up.
    Key(Key<'a>),
    /// Text from a composition, an emoji picker, or the clipboard.
    Text(&'a str),
    /// Text that the clipboard is to hold, for the keys that follow to paste it.
    Clipboard(&'a str),
    /// The page lost the keyboard: nothing is held any more.
    Release,
}

/// A pixel of the screen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    /// Column.
    pub x: u16,
    /// Row.
    pub y: u16,
}

/// A key, as the browser names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key<'a> {
    /// Down, or up.
    pub down: bool,
    /// The browser repeats a key that is held.
    pub repeat: bool,
    /// What the person holds, by the browser's account.
    pub modifiers: Modifiers,
    /// `KeyboardEvent.code`: where the key is.
    pub code: &'a str,
    /// `KeyboardEvent.key`: what it means.
    pub key: &'a str,
}

/// The modifiers that a browser reports with a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Modifiers {
    /// Shift.
    pub shift: bool,
    /// Control.
    pub ctrl: bool,
    /// Alt.
    pub alt: bool,
    /// Meta: the Windows or command key.
    pub meta: bool,
    /// AltGr, which makes characters and no shortcuts.
    pub altgr: bool,
}

impl Modifiers {
    /// From the wire. Bits 5 and 6 are the locks, which `key` has taken into account already.
    pub fn from_bits(bits: u8) -> Self {
        Self {
            shift: bits & 1 != 0,
            ctrl: bits & 2 != 0,
            alt: bits & 4 != 0,
            meta: bits & 8 != 0,
            altgr: bits & 16 != 0,
        }
    }
}

/// Reads one message.
pub fn parse(bytes: &[u8]) -> Result<Message<'_>, WireError> {
    let (kind, body) = bytes.split_first().ok_or(WireError::Empty)?;
    match kind {
        1 => hello(body).map(Message::Hello),
        2 => Reader::new("received", body)
            .only(Reader::u32)
            .map(Message::Received),
        3 => Reader::new("painted", body)
            .only(Reader::u32)
            .map(Message::Painted),
        4 => input("pointer", body, |r| r.position().map(Input::Pointer)),
        5 => input("button", body, button),
        6 => input("wheel", body, |r| {
            Ok(Input::Wheel {
                dx: r.i16()?,
                dy: r.i16()?,
                at: r.position()?,
            })
        }),
        7 => input("key", body, key),
        8 => input("text", body, |r| {
            let bytes = r.u16()?;
            r.text("text.text", usize::from(bytes)).map(Input::Text)
        }),
        9 => input("release", body, |_| Ok(Input::Release)),
        10 => Reader::new("video failed", body)
            .only(|r| r.flag("video failed.broken"))
            .map(|broken| {
                Message::VideoFailed(if broken {
                    VideoFailure::Broken
                } else {
                    VideoFailure::WantsKey
                })
            }),
        11 => input("clipboard", body, |r| {
            r.only_value("clipboard.format", 0)?;
            if r.rest.len() > MAX_CLIPBOARD_BYTES {
                return Err(WireError::Length {
                    message: "clipboard.text",
                    got: r.rest.len(),
                    expected: MAX_CLIPBOARD_BYTES,
                });
            }
            r.text("clipboard.text", r.rest.len()).map(Input::Clipboard)
        }),
        12 => Reader::new("resize", body).only(|r| {
            let (width, height) = (r.u16()?, r.u16()?);
            Ok(Message::Resize { width, height })
        }),
        13 => Reader::new("control", body).only(|r| Ok(Message::Control(verb(r)?, u64::from(r.u32()?)))),
        14 => Reader::new("sound", body)
            .only(|r| r.flag("sound.on"))
            .map(Message::Sound),
        15 => Reader::new("fetch clipboard", body).only(|_| Ok(Message::FetchClipboard)),
        kind => Err(WireError::Kind(*kind)),
    }
}

fn verb(r: &mut Reader<'_>) -> Result<Verb, WireError> {
    Ok(match r.u8()? {
        0 => Verb::Ask,
        1 => Verb::Take,
        2 => Verb::Give,
        3 => Verb::Release,
        4 => Verb::Refuse,
        5 => Verb::TakeOver,
        6 => Verb::GiveBack,
        other => {
            return Err(WireError::Value {
                field: "control.verb",
                got: u32::from(other),
                allowed: "0 to 6",
            });
        }
    })
}

fn hello(body: &[u8]) -> Result<Hello, WireError> {
    // The version comes first, so that a page of another one is told so whatever else it says.
    match body.first() {
        Some(&VERSION) | None => {}
        Some(&other) => return Err(WireError::Version(other)),
    }
    Reader::new("hello", body).only(|r| {
        r.u8()?;
        let (width, height, capabilities) = (r.u16()?, r.u16()?, r.u8()?);
        Ok(Hello {
            width,
            height,
            inflates: capabilities & CAN_INFLATE != 0,
            decodes_video: capabilities & CAN_DECODE_VIDEO != 0,
            decodes_jpeg: capabilities & CAN_DECODE_JPEG != 0,
            is_near: capabilities & IS_NEAR != 0,
        })
    })
}

fn input<'a>(
    message: &'static str,
    body: &'a [u8],
    read: impl FnOnce(&mut Reader<'a>) -> Result<Input<'a>, WireError>,
) -> Result<Message<'a>, WireError> {
    Reader::new(message, body).only(|r| Ok(Message::Input(r.u32()?, read(r)?)))
}

fn button<'a>(r: &mut Reader<'a>) -> Result<Input<'a>, WireError> {
    let button = r.u8()?;
    // 4 to 7 are wheel notches in X: they come as wheel messages, and are never held.
    if !matches!(button, 1..=3 | 8 | 9) {
        let got = u32::from(button);
        return Err(WireError::Value {
            field: "button.button",
            got,
            allowed: "1, 2, 3, 8, 9",
        });
    }
    Ok(Input::Button {
        button,
        down: r.flag("button.down")?,
        at: r.position()?,
    })
}

fn key<'a>(r: &mut Reader<'a>) -> Result<Input<'a>, WireError> {
    let (flags, modifiers) = (r.u8()?, r.u8()?);
    let (code, key) = (r.name("key.code")?, r.name("key.key")?);
    Ok(Input::Key(Key {
        down: flags & 1 != 0,
        repeat: flags & 2 != 0,
        modifiers: Modifiers::from_bits(modifiers),
        code,
        key,
    }))
}

/// Reads fields one after the other and never past the end.
struct Reader<'a> {
    message: &'static str,
    whole: usize,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn new(message: &'static str, body: &'a [u8]) -> Self {
        Self {
            message,
            whole: body.len(),
            rest: body,
        }
    }

    /// Reads with `read`, and refuses what is left over.
    fn only<T>(mut self, read: impl FnOnce(&mut Self) -> Result<T, WireError>) -> Result<T, WireError> {
        let value = read(&mut self)?;
        let expected = self.whole - self.rest.len();
        if self.rest.is_empty() {
            Ok(value)
        } else {
            Err(WireError::Length {
                message: self.message,
                got: self.whole,
                expected,
            })
        }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let read = self.whole - self.rest.len();
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(WireError::Length {
            message: self.message,
            got: self.whole,
            expected: read + count,
        })?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u8(&mut self) -> Result<u8, WireError> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_le_bytes)
    }

    fn i16(&mut self) -> Result<i16, WireError> {
        self.array().map(i16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_le_bytes)
    }

    fn flag(&mut self, field: &'static str) -> Result<bool, WireError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(WireError::Value {
                field,
                got: u32::from(other),
                allowed: "0, 1",
            }),
        }
    }

    fn only_value(&mut self, field: &'static str, allowed: u8) -> Result<(), WireError> {
        match self.u8()? {
            value if value == allowed => Ok(()),
            other => Err(WireError::Value {
                field,
                got: u32::from(other),
                allowed: "0",
            }),
        }
    }

    fn position(&mut self) -> Result<Position, WireError> {
        Ok(Position {
            x: self.u16()?,
            y: self.u16()?,
        })
    }

    fn name(&mut self, field: &'static str) -> Result<&'a str, WireError> {
        let bytes = usize::from(self.u8()?);
        if bytes > MAX_NAME_BYTES {
            return Err(WireError::Length {
                message: field,
                got: bytes,
                expected: MAX_NAME_BYTES,
            });
        }
        self.text(field, bytes)
    }

    fn text(&mut self, field: &'static str, bytes: usize) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.take(bytes)?).map_err(|_| WireError::Text(field))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key_message(code: &str, key: &str) -> Vec<u8> {
        let mut bytes = vec![7, 5, 0, 0, 0, 0b11, 0b1_0001, code.len() as u8];
        bytes.extend(code.as_bytes());
        bytes.push(key.len() as u8);
        bytes.extend(key.as_bytes());
        bytes
    }

    #[test]
    fn each_kind_reads_as_the_format_says() {
        let hello = Hello {
            width: 0x0201,
            height: 0x0403,
            inflates: true,
            decodes_video: false,
            decodes_jpeg: false,
            is_near: true,
        };
        assert_eq!(parse(&[1, 1, 1, 2, 3, 4, 9]), Ok(Message::Hello(hello)));
        assert_eq!(parse(&[2, 1, 0, 0, 0]), Ok(Message::Received(1)));
        assert_eq!(parse(&[3, 0, 1, 0, 0]), Ok(Message::Painted(256)));
        let at = Position { x: 300, y: 2 };
        assert_eq!(
            parse(&[4, 1, 0, 0, 0, 44, 1, 2, 0]),
            Ok(Message::Input(1, Input::Pointer(at)))
        );
        assert_eq!(
            parse(&[5, 2, 0, 0, 0, 8, 1, 44, 1, 2, 0]),
            Ok(Message::Input(
                2,
                Input::Button {
                    button: 8,
                    down: true,
                    at
                }
            ))
        );
        assert_eq!(
            parse(&[6, 3, 0, 0, 0, 136, 255, 120, 0, 44, 1, 2, 0]),
            Ok(Message::Input(
                3,
                Input::Wheel {
                    dx: -120,
                    dy: 120,
                    at
                }
            ))
        );
        let modifiers = Modifiers {
            shift: true,
            altgr: true,
            ..Modifiers::default()
        };
        let key = Key {
            down: true,
            repeat: true,
            modifiers,
            code: "KeyQ",
            key: "@",
        };
        assert_eq!(
            parse(&key_message("KeyQ", "@")),
            Ok(Message::Input(5, Input::Key(key)))
        );
        assert_eq!(
            parse(&[8, 6, 0, 0, 0, 2, 0, 0xC3, 0xA4]),
            Ok(Message::Input(6, Input::Text("ä")))
        );
        assert_eq!(parse(&[9, 7, 0, 0, 0]), Ok(Message::Input(7, Input::Release)));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_name() {
        assert_eq!(parse(&[]), Err(WireError::Empty));
        assert_eq!(parse(&[77, 0]), Err(WireError::Kind(77)));
        assert_eq!(parse(&[1, 9]), Err(WireError::Version(9)));
        assert_eq!(
            parse(&[2, 1, 0]),
            Err(WireError::Length {
                message: "received",
                got: 2,
                expected: 4
            })
        );
        assert_eq!(
            parse(&[9, 1, 0, 0, 0, 0]),
            Err(WireError::Length {
                message: "release",
                got: 5,
                expected: 4
            })
        );
        let button = parse(&[5, 1, 0, 0, 0, 4, 1, 0, 0, 0, 0]).unwrap_err();
        assert_eq!(button.to_string(), "`button.button` is 4; allowed: 1, 2, 3, 8, 9");
        assert_eq!(
            parse(&[8, 1, 0, 0, 0, 1, 0, 0xFF]),
            Err(WireError::Text("text.text"))
        );
        let long = "x".repeat(MAX_NAME_BYTES + 1);
        assert!(matches!(
            parse(&key_message(&long, "a")),
            Err(WireError::Length {
                message: "key.code",
                ..
            })
        ));
    }

    #[test]
    fn what_the_page_writes_is_read() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/page");
        let seeds: Vec<_> = fs_err::read_dir(folder)
            .unwrap()
            .map(|it| it.unwrap().path())
            .collect();
        assert!(seeds.len() >= 15, "{seeds:?}");
        for seed in seeds {
            let bytes = fs_err::read(&seed).unwrap();
            assert!(parse(&bytes).is_ok(), "{}", seed.display());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn no_length_is_believed(kind in 1u8..17, bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let message = [&[kind][..], &bytes].concat();
            if let Ok(Message::Input(_, Input::Text(text))) = parse(&message) {
                prop_assert_eq!(text.len() + 7, message.len());
            }
        }
    }
}
