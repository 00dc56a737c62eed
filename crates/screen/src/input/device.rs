//! The X server as a place to put input: presses, releases, motion, the keyboard's map. Knows nothing of viewers.

use std::os::fd::{AsFd, BorrowedFd};

use tracing::debug;
use x11rb::connection::{Connection, RequestConnection};
use x11rb::errors::{ConnectionError, ReplyError};
use x11rb::protocol::Event;
use x11rb::protocol::xkb::{self, ConnectionExt as _, Group};
use x11rb::protocol::xproto::{self, AutoRepeatMode, ConnectionExt as _, KeyButMask, ModMask, Window};
use x11rb::protocol::xtest::ConnectionExt as _;
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

use super::keymap::{Keycode, Keymap};
use crate::wire::page::Position;

/// X's state bits of the layout group.
const GROUP_BITS: u16 = 0x6000;

/// A connection for input.
pub struct Device {
    connection: RustConnection,
    root: Window,
    /// Locks and groups can be reset.
    has_xkb: bool,
}

/// Keys that are down.
pub struct Down([u8; 32]);

impl Down {
    /// Whether a key is.
    pub fn holds(&self, keycode: Keycode) -> bool {
        self.0[usize::from(keycode / 8)] >> (keycode % 8) & 1 != 0
    }

    /// All of them.
    pub fn keys(&self) -> impl Iterator<Item = Keycode> + '_ {
        (0..=Keycode::MAX).filter(|keycode| self.holds(*keycode))
    }
}

/// What the X server said since it was asked last.
#[derive(Debug, Default, Clone, Copy)]
pub struct News {
    /// Anything at all.
    pub any: bool,
    /// Somebody changed the keyboard's map.
    pub map_changed: bool,
}

impl Device {
    /// Takes over a connection, and checks that it can fake input.
    pub fn new(connection: RustConnection, screen: usize) -> Result<Self, ReplyError> {
        connection.xtest_get_version(2, 2)?.reply()?;
        let has_xkb = use_xkb(&connection)?;
        let root = connection.setup().roots[screen].root;
        Ok(Self {
            connection,
            root,
            has_xkb,
        })
    }

    /// Presses a key, or lets it go.
    pub fn key(&self, keycode: Keycode, down: bool) -> Result<(), ReplyError> {
        let kind = if down {
            xproto::KEY_PRESS_EVENT
        } else {
            xproto::KEY_RELEASE_EVENT
        };
        self.fake(kind, keycode, 0, 0)
    }

    /// Presses a button, or lets it go.
    pub fn button(&self, button: u8, down: bool) -> Result<(), ReplyError> {
        let kind = if down {
            xproto::BUTTON_PRESS_EVENT
        } else {
            xproto::BUTTON_RELEASE_EVENT
        };
        self.fake(kind, button, 0, 0)
    }

    /// Moves the pointer.
    pub fn move_to(&self, at: Position) -> Result<(), ReplyError> {
        // X counts to 32,767 and keeps the pointer on the screen by itself.
        let [x, y] = [at.x, at.y].map(|n| i16::try_from(n).unwrap_or(i16::MAX));
        self.fake(xproto::MOTION_NOTIFY_EVENT, 0, x, y)
    }

    fn fake(&self, kind: u8, detail: u8, x: i16, y: i16) -> Result<(), ReplyError> {
        self.connection
            .xtest_fake_input(kind, detail, x11rb::CURRENT_TIME, self.root, x, y, 0)?;
        Ok(())
    }

    /// Asks what is down, and resets locks and groups that would change what keys mean.
    pub fn settle(&self) -> Result<Down, ReplyError> {
        let keys = self.connection.query_keymap()?;
        let pointer = self.connection.query_pointer(self.root)?;
        let (down, state) = (Down(keys.reply()?.keys), u16::from(pointer.reply()?.mask));
        if self.has_xkb && state & (u16::from(KeyButMask::LOCK) | GROUP_BITS) != 0 {
            let (device, none) = (u16::from(xkb::ID::USE_CORE_KBD), ModMask::from(0u16));
            let lock = ModMask::LOCK;
            self.connection
                .xkb_latch_lock_state(device, lock, none, true, Group::M1, none, false, 0)?;
        }
        Ok(down)
    }

    /// Takes in what the X server said. Events that come along with answers do not make the connection readable: ask
    /// for them last before sleeping on it.
    pub fn news(&self) -> Result<News, ReplyError> {
        let mut news = News::default();
        while let Some(event) = self.connection.poll_for_event()? {
            news.any = true;
            match event {
                Event::MappingNotify(event) => {
                    news.map_changed |= event.request != xproto::Mapping::POINTER;
                }
                Event::XkbMapNotify(_) | Event::XkbNewKeyboardNotify(_) => news.map_changed = true,
                Event::Error(error) => debug!(?error, "the X server refused an input"),
                _ => {}
            }
        }
        Ok(news)
    }

    /// Reads the keyboard's map, without the keys in `lent`.
    pub fn read_map(&self, lent: &[Keycode]) -> Result<Keymap, ReplyError> {
        let setup = self.connection.setup();
        let (lowest, highest) = (setup.min_keycode, setup.max_keycode);
        let symbols = self
            .connection
            .get_keyboard_mapping(lowest, highest - lowest + 1)?;
        let modifying = self.connection.get_modifier_mapping()?;
        let (symbols, modifying) = (symbols.reply()?, modifying.reply()?);
        let width = usize::from(symbols.keysyms_per_keycode);
        Ok(Keymap::new(
            lowest,
            width,
            &symbols.keysyms,
            &modifying.keycodes,
            lent,
        ))
    }

    /// Gives keys other symbols, plain and with shift, lowest key first; with as few requests as can be, for each makes
    /// every application read the map again.
    pub fn change_map(
        &self,
        changes: impl IntoIterator<Item = (Keycode, [u32; 2])>,
    ) -> Result<(), ReplyError> {
        let mut runs: Vec<(Keycode, Vec<u32>)> = Vec::new();
        for (keycode, symbols) in changes {
            match runs.last_mut() {
                Some((first, run)) if usize::from(*first) + run.len() / 2 == usize::from(keycode) => {
                    run.extend(symbols);
                }
                _ => runs.push((keycode, symbols.to_vec())),
            }
        }
        for (first, symbols) in runs {
            // A run has at most 248 keys, for so many there are.
            let count = (symbols.len() / 2) as u8;
            self.connection
                .change_keyboard_mapping(count, first, 2, &symbols)?;
        }
        Ok(())
    }

    /// Whether the display repeats keys by itself, as it does unless told otherwise.
    pub fn repeat(&self, on: bool) -> Result<(), ReplyError> {
        let mode = if on {
            AutoRepeatMode::DEFAULT
        } else {
            AutoRepeatMode::OFF
        };
        let control = xproto::ChangeKeyboardControlAux::new().auto_repeat_mode(mode);
        self.connection.change_keyboard_control(&control)?;
        Ok(())
    }

    /// Sends what waits to be sent.
    pub fn flush(&self) -> Result<(), ConnectionError> {
        self.connection.flush()
    }

    /// Waits until the X server has done everything. It throws away what it has not read when a connection closes.
    pub fn sync(&self) -> Result<(), ReplyError> {
        self.connection.sync()
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.stream().as_fd()
    }
}

/// Asks for the keyboard extension, if the server has it. Who uses it hears of changed maps through it alone.
fn use_xkb(connection: &RustConnection) -> Result<bool, ReplyError> {
    if connection
        .extension_information(xkb::X11_EXTENSION_NAME)?
        .is_none()
        || !connection.xkb_use_extension(1, 0)?.reply()?.supported
    {
        return Ok(false);
    }
    let device = u16::from(xkb::ID::USE_CORE_KBD);
    let events = xkb::EventType::NEW_KEYBOARD_NOTIFY | xkb::EventType::MAP_NOTIFY;
    let parts = xkb::MapPart::KEY_SYMS | xkb::MapPart::KEY_TYPES | xkb::MapPart::MODIFIER_MAP;
    let none = xkb::EventType::from(0u16);
    let details = xkb::SelectEventsAux::new();
    connection
        .xkb_select_events(device, none, events, parts, parts, &details)?
        .check()?;
    Ok(true)
}
