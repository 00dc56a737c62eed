//! Keys on the display: what each viewer holds, and how a character gets onto whatever map the display has.
//!
//! What is held is counted per viewer, so that letting go of everything lets go of that viewer's keys and no others.
//! Around a character the modifiers that it needs are held and all others are not; what was held before is held again
//! afterwards. Locks and layout groups that somebody set in the session would change characters, so they are reset.

use std::collections::HashSet;
use std::time::Instant;

use tracing::debug;
use x11rb::connection::{Connection, RequestConnection};
use x11rb::errors::ReplyError;
use x11rb::protocol::Event;
use x11rb::protocol::xkb::{self, ConnectionExt as _, Group};
use x11rb::protocol::xproto::{self, ConnectionExt as _, KeyButMask, ModMask, Window};
use x11rb::protocol::xtest::ConnectionExt as _;
use x11rb::rust_connection::RustConnection;

use super::keymap::{Keycode, Keymap, Modifier, Stroke, symbol_of};
use super::meaning::{Meaning, meaning};
use super::spares::Spares;
use crate::audience::ViewerId;
use crate::wire::page::Modifiers;

/// Keys that one viewer holds at a time; the oldest is let go beyond that.
const MAX_HELD: usize = 32;

/// Modifiers that a browser reports and a viewer can hold.
const REPORTED: [Modifier; 4] = [Modifier::Shift, Modifier::Control, Modifier::Alt, Modifier::Meta];

/// X's state bits of the layout group.
const GROUP_BITS: u16 = 0x6000;

/// A key press or release of a page.
pub struct KeyEvent<'a> {
    /// Whose.
    pub viewer: ViewerId,
    /// Down, or up.
    pub down: bool,
    /// Held long enough to repeat.
    pub repeat: bool,
    /// Held with it.
    pub modifiers: Modifiers,
    /// `KeyboardEvent.code`.
    pub code: &'a str,
    /// `KeyboardEvent.key`.
    pub key: &'a str,
}

/// The display's keyboard.
pub struct Keyboard {
    root: Window,
    map: Keymap,
    /// The map was changed by somebody.
    stale: bool,
    spares: Spares,
    holds: Vec<Hold>,
    /// Locks and groups can be reset.
    has_xkb: bool,
}

/// A key that a viewer holds.
struct Hold {
    viewer: ViewerId,
    /// What the browser calls the key; empty for a modifier that it only reported.
    name: Box<str>,
    keycode: Keycode,
    modifier: Option<Modifier>,
}

/// What the display says is down.
struct Down([u8; 32]);

impl Down {
    fn holds(&self, keycode: Keycode) -> bool {
        self.0[usize::from(keycode / 8)] >> (keycode % 8) & 1 != 0
    }
}

impl Keyboard {
    /// Reads the display's map, and stops its own key repeat: the browser repeats.
    pub fn new(connection: &RustConnection, root: Window) -> Result<Self, ReplyError> {
        let has_xkb = use_xkb(connection)?;
        let mut keyboard = Self {
            root,
            map: Keymap::default(),
            stale: true,
            spares: Spares::default(),
            holds: Vec::new(),
            has_xkb,
        };
        repeat(connection, xproto::AutoRepeatMode::OFF)?;
        keyboard.refresh(connection)?;
        Ok(keyboard)
    }

    /// Takes in what the X server says of the keyboard; true if it said anything.
    pub fn take_events(&mut self, connection: &RustConnection) -> Result<bool, ReplyError> {
        let mut any = false;
        while let Some(event) = connection.poll_for_event()? {
            any = true;
            match event {
                Event::MappingNotify(event) => self.stale |= event.request != xproto::Mapping::POINTER,
                Event::XkbMapNotify(_) | Event::XkbNewKeyboardNotify(_) => self.stale = true,
                Event::Error(error) => debug!(?error, "the X server refused an input"),
                _ => {}
            }
        }
        Ok(any)
    }

    /// Gives everything back as it was found.
    pub fn restore(&mut self, connection: &RustConnection) -> Result<(), ReplyError> {
        for hold in std::mem::take(&mut self.holds) {
            fake(connection, self.root, hold.keycode, false)?;
        }
        change(connection, self.spares.lent().into_iter().map(|code| (code, 0)))?;
        repeat(connection, xproto::AutoRepeatMode::DEFAULT)
    }

    /// A viewer lost the keyboard, or is gone.
    pub fn release_all(&mut self, connection: &RustConnection, viewer: ViewerId) -> Result<(), ReplyError> {
        self.let_go(connection, |hold| hold.viewer == viewer)
    }

    /// A key of a page went down or up.
    pub fn key(&mut self, connection: &RustConnection, event: &KeyEvent<'_>) -> Result<(), ReplyError> {
        // Keyboards on glass give no code.
        let name = if event.code.is_empty() {
            event.key
        } else {
            event.code
        };
        let meaning = meaning(event.key, event.code, event.modifiers);
        if !event.down {
            let viewer = event.viewer;
            self.let_go(connection, |hold| hold.viewer == viewer && *hold.name == *name)?;
        }
        // A modifier's own message may or may not report it already.
        let own = if let Meaning::Modifier(modifier, _) = meaning {
            Some(modifier)
        } else {
            None
        };
        self.let_go_unreported(connection, event, own)?;
        if !event.down {
            return Ok(());
        }
        match meaning {
            Meaning::Nothing => Ok(()),
            Meaning::Text(text) => self.text(connection, text),
            Meaning::Modifier(modifier, right) => {
                self.look(connection)?;
                if let (false, Some(keycode)) = (event.repeat, self.map.modifier_key(modifier, right)) {
                    self.hold_modifier(connection, event.viewer, name, keycode, modifier)?;
                }
                Ok(())
            }
            Meaning::Named(symbol) => {
                self.hold_reported(connection, event)?;
                let down = self.look(connection)?;
                let stroke = match self.map.symbol(symbol) {
                    Some(stroke) => Some(stroke),
                    None => self.borrow_key(connection, symbol)?,
                };
                match stroke {
                    // Whatever is held goes with it: shift and Tab is a key of its own.
                    Some(stroke) => self.press(connection, event.viewer, name, stroke.keycode, &down),
                    None => Ok(()),
                }
            }
            Meaning::Character(c) => self.character(connection, event.viewer, name, c, &[]),
            Meaning::Shortcut(c) => {
                self.hold_reported(connection, event)?;
                let kept = [Modifier::Control, Modifier::Alt, Modifier::Meta];
                self.character(connection, event.viewer, name, c, &kept)
            }
        }
    }

    /// Types text, whatever the map has.
    pub fn text(&mut self, connection: &RustConnection, text: &str) -> Result<(), ReplyError> {
        let mut rest: Vec<Typed> = typed(text).collect();
        while !rest.is_empty() {
            let down = self.look(connection)?;
            let (count, missing) = self.fitting(&rest);
            self.lend(connection, &missing)?;
            let held = self.modifiers_down(&down, &[]);
            for keycode in &held {
                fake(connection, self.root, *keycode, false)?;
            }
            for what in rest.drain(..count) {
                let Some(stroke) = self.stroke(what) else { continue };
                if down.holds(stroke.keycode) {
                    fake(connection, self.root, stroke.keycode, false)?;
                }
                self.with_levels(connection, stroke, |connection, root| {
                    fake(connection, root, stroke.keycode, true)?;
                    fake(connection, root, stroke.keycode, false)
                })?;
            }
            for keycode in &held {
                fake(connection, self.root, *keycode, true)?;
            }
        }
        Ok(())
    }

    /// How many of `rest` can be typed before codes must be lent anew, and the symbols that need a lent code.
    fn fitting(&self, rest: &[Typed]) -> (usize, Vec<u32>) {
        let mut symbols = Vec::new();
        for (count, what) in rest.iter().enumerate() {
            let symbol = what.symbol();
            if self.mapped(*what).is_some() || symbols.contains(&symbol) {
                continue;
            }
            // A display without codes to lend cannot type it; it is left out then.
            if symbols.len() >= self.spares.capacity().max(1) {
                return (count, symbols);
            }
            symbols.push(symbol);
        }
        (rest.len(), symbols)
    }

    fn mapped(&self, what: Typed) -> Option<Stroke> {
        match what {
            Typed::Character(c) => self.map.character(c),
            Typed::Key(symbol) => self.map.symbol(symbol),
        }
    }

    fn stroke(&mut self, what: Typed) -> Option<Stroke> {
        let mapped = self.mapped(what);
        mapped.or_else(|| {
            self.spares
                .use_code(what.symbol(), Instant::now())
                .map(Stroke::plain)
        })
    }

    /// Presses and holds the key of `c`, with none but the needed modifiers and those in `kept`.
    fn character(
        &mut self,
        connection: &RustConnection,
        viewer: ViewerId,
        name: &str,
        c: char,
        kept: &[Modifier],
    ) -> Result<(), ReplyError> {
        let down = self.look(connection)?;
        let stroke = match self.map.character(c) {
            Some(stroke) => Some(stroke),
            None => self.borrow_key(connection, symbol_of(c))?,
        };
        let Some(stroke) = stroke else {
            debug!(character = %c.escape_unicode(), "no key code is free for a character");
            return Ok(());
        };
        let mut kept = kept.to_vec();
        kept.extend(stroke.shift.then_some(Modifier::Shift));
        kept.extend(stroke.level3.then_some(Modifier::Level3));
        let held = self.modifiers_down(&down, &kept);
        let has = |modifier| self.map_holds(&down, modifier);
        let missing = Stroke {
            keycode: stroke.keycode,
            shift: stroke.shift && !has(Modifier::Shift),
            level3: stroke.level3 && !has(Modifier::Level3),
        };
        for keycode in &held {
            fake(connection, self.root, *keycode, false)?;
        }
        if down.holds(stroke.keycode) {
            fake(connection, self.root, stroke.keycode, false)?;
        }
        self.with_levels(connection, missing, |connection, root| {
            fake(connection, root, stroke.keycode, true)
        })?;
        for keycode in &held {
            fake(connection, self.root, *keycode, true)?;
        }
        self.hold(connection, viewer, name, stroke.keycode, None)
    }

    /// Presses and holds a key, letting it go first if it is down.
    fn press(
        &mut self,
        connection: &RustConnection,
        viewer: ViewerId,
        name: &str,
        keycode: Keycode,
        down: &Down,
    ) -> Result<(), ReplyError> {
        if down.holds(keycode) {
            fake(connection, self.root, keycode, false)?;
        }
        fake(connection, self.root, keycode, true)?;
        self.hold(connection, viewer, name, keycode, None)
    }

    fn hold_modifier(
        &mut self,
        connection: &RustConnection,
        viewer: ViewerId,
        name: &str,
        keycode: Keycode,
        modifier: Modifier,
    ) -> Result<(), ReplyError> {
        // Another viewer may hold it: pressing it again would let it go in between.
        if !self.holds.iter().any(|hold| hold.keycode == keycode) {
            fake(connection, self.root, keycode, true)?;
        }
        self.hold(connection, viewer, name, keycode, Some(modifier))
    }

    /// Notes that `keycode`, which is down now, is held.
    fn hold(
        &mut self,
        connection: &RustConnection,
        viewer: ViewerId,
        name: &str,
        keycode: Keycode,
        modifier: Option<Modifier>,
    ) -> Result<(), ReplyError> {
        // A key that repeats with another meaning (shift came down meanwhile) lets go of the first one.
        self.let_go(connection, |hold| {
            hold.viewer == viewer && *hold.name == *name && hold.keycode != keycode
        })?;
        self.holds
            .retain(|hold| !(hold.viewer == viewer && *hold.name == *name));
        // Who pressed a key last holds it alone: two people's presses of one key cannot be told apart by an application.
        if modifier.is_none() {
            self.holds.retain(|hold| hold.keycode != keycode);
        }
        if self.holds.iter().filter(|hold| hold.viewer == viewer).count() >= MAX_HELD
            && let Some(oldest) = self.holds.iter().position(|hold| hold.viewer == viewer)
        {
            let oldest = self.holds.remove(oldest);
            self.release_if_free(connection, oldest.keycode)?;
        }
        self.holds.push(Hold {
            viewer,
            name: name.into(),
            keycode,
            modifier,
        });
        Ok(())
    }

    fn let_go(
        &mut self,
        connection: &RustConnection,
        which: impl Fn(&Hold) -> bool,
    ) -> Result<(), ReplyError> {
        let (gone, kept) = std::mem::take(&mut self.holds).into_iter().partition(which);
        self.holds = kept;
        for hold in gone as Vec<Hold> {
            self.release_if_free(connection, hold.keycode)?;
        }
        Ok(())
    }

    fn release_if_free(&self, connection: &RustConnection, keycode: Keycode) -> Result<(), ReplyError> {
        if self.holds.iter().any(|hold| hold.keycode == keycode) {
            return Ok(());
        }
        fake(connection, self.root, keycode, false)
    }

    /// The browser's account of its modifiers is right, ours may not be: a page sees no keys while it has no focus.
    fn let_go_unreported(
        &mut self,
        connection: &RustConnection,
        event: &KeyEvent<'_>,
        own: Option<Modifier>,
    ) -> Result<(), ReplyError> {
        let (viewer, modifiers) = (event.viewer, event.modifiers);
        let unreported = |modifier: Modifier| Some(modifier) != own && !is_reported(modifiers, modifier);
        self.let_go(connection, |hold| {
            hold.viewer == viewer && hold.modifier.is_some_and(unreported)
        })
    }

    /// Holds what the browser reports and this viewer does not hold yet.
    fn hold_reported(&mut self, connection: &RustConnection, event: &KeyEvent<'_>) -> Result<(), ReplyError> {
        for modifier in REPORTED
            .into_iter()
            .filter(|modifier| is_reported(event.modifiers, *modifier))
        {
            let held = self
                .holds
                .iter()
                .any(|h| h.viewer == event.viewer && h.modifier == Some(modifier));
            if let (false, Some(keycode)) = (held, self.map.modifier_key(modifier, false)) {
                // Named by the key that is pressed for it, so that two modifiers do not share a name.
                let name = format!("reported {keycode}");
                self.hold_modifier(connection, event.viewer, &name, keycode, modifier)?;
            }
        }
        Ok(())
    }

    /// Runs `press` while the level keys of `stroke` are held.
    fn with_levels(
        &self,
        connection: &RustConnection,
        stroke: Stroke,
        press: impl FnOnce(&RustConnection, Window) -> Result<(), ReplyError>,
    ) -> Result<(), ReplyError> {
        let shift = stroke
            .shift
            .then(|| self.map.modifier_key(Modifier::Shift, false))
            .flatten();
        let level3 = stroke
            .level3
            .then(|| self.map.modifier_key(Modifier::Level3, false))
            .flatten();
        for keycode in [shift, level3].into_iter().flatten() {
            fake(connection, self.root, keycode, true)?;
        }
        press(connection, self.root)?;
        for keycode in [level3, shift].into_iter().flatten() {
            fake(connection, self.root, keycode, false)?;
        }
        Ok(())
    }

    /// Asks what is down, resets locks and groups that would change what keys mean, and sees to it that the map is the
    /// one by which the next key press is understood: news of a change come before the answers.
    fn look(&mut self, connection: &RustConnection) -> Result<Down, ReplyError> {
        let keys = connection.query_keymap()?;
        let pointer = connection.query_pointer(self.root)?;
        let (down, state) = (Down(keys.reply()?.keys), u16::from(pointer.reply()?.mask));
        if self.has_xkb && state & (u16::from(KeyButMask::LOCK) | GROUP_BITS) != 0 {
            let (device, none) = (u16::from(xkb::ID::USE_CORE_KBD), ModMask::from(0u16));
            connection.xkb_latch_lock_state(device, ModMask::LOCK, none, true, Group::M1, none, false, 0)?;
        }
        self.take_events(connection)?;
        self.refresh(connection)?;
        Ok(down)
    }

    /// Modifier keys that are down, but for those that do something in `kept`.
    fn modifiers_down(&self, down: &Down, kept: &[Modifier]) -> Vec<Keycode> {
        (0..=Keycode::MAX)
            .filter(|code| down.holds(*code))
            .filter(|code| {
                self.map
                    .modifier(*code)
                    .is_some_and(|modifier| !kept.contains(&modifier))
            })
            .collect()
    }

    fn map_holds(&self, down: &Down, modifier: Modifier) -> bool {
        (0..=Keycode::MAX).any(|code| down.holds(code) && self.map.modifier(code) == Some(modifier))
    }

    /// A key for a symbol that the map lacks.
    fn borrow_key(&mut self, connection: &RustConnection, symbol: u32) -> Result<Option<Stroke>, ReplyError> {
        self.lend(connection, &[symbol])?;
        Ok(self.spares.use_code(symbol, Instant::now()).map(Stroke::plain))
    }

    fn lend(&mut self, connection: &RustConnection, symbols: &[u32]) -> Result<(), ReplyError> {
        let held: HashSet<Keycode> = self.holds.iter().map(|hold| hold.keycode).collect();
        let loan = self
            .spares
            .lend(symbols, |code| held.contains(&code), Instant::now());
        if loan.changes.is_empty() {
            return Ok(());
        }
        if !loan.wait.is_zero() {
            connection.flush()?;
            // Not for ourselves: other programs look up the keys pressed before, and no event tells that they did.
            std::thread::sleep(loan.wait);
        }
        change(connection, loan.changes)?;
        // Errors, and the notice of our own change, are behind us before a key is pressed.
        connection.get_input_focus()?.reply()?;
        Ok(())
    }

    /// Reads the map again if somebody changed it.
    fn refresh(&mut self, connection: &RustConnection) -> Result<(), ReplyError> {
        if !self.stale {
            return Ok(());
        }
        self.stale = false;
        let setup = connection.setup();
        let (lowest, highest) = (setup.min_keycode, setup.max_keycode);
        let symbols = connection.get_keyboard_mapping(lowest, highest - lowest + 1)?;
        let modifying = connection.get_modifier_mapping()?;
        let (symbols, modifying) = (symbols.reply()?, modifying.reply()?);
        let width = usize::from(symbols.keysyms_per_keycode);
        let lent = self.spares.keycodes();
        self.map = Keymap::new(lowest, width, &symbols.keysyms, &modifying.keycodes, &lent);
        self.spares
            .follow(self.map.free(), |code| self.map.first_symbol(code));
        Ok(())
    }
}

/// A piece of text as keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Typed {
    Character(char),
    Key(u32),
}

impl Typed {
    fn symbol(self) -> u32 {
        match self {
            Self::Character(c) => symbol_of(c),
            Self::Key(symbol) => symbol,
        }
    }
}

/// Text as keys: ends of lines and tabs are keys, other control characters are nothing that a person types.
fn typed(text: &str) -> impl Iterator<Item = Typed> + '_ {
    let mut last = None;
    text.chars().filter_map(move |c| {
        let before = last.replace(c);
        match c {
            '\n' if before == Some('\r') => None,
            '\n' | '\r' => Some(Typed::Key(xkeysym::key::Return)),
            '\t' => Some(Typed::Key(xkeysym::key::Tab)),
            c if c.is_control() => None,
            c => Some(Typed::Character(c)),
        }
    })
}

fn is_reported(modifiers: Modifiers, modifier: Modifier) -> bool {
    match modifier {
        Modifier::Shift => modifiers.shift,
        // AltGr comes as control and alt from some systems.
        Modifier::Control => modifiers.ctrl && !modifiers.altgr,
        Modifier::Alt => modifiers.alt && !modifiers.altgr,
        Modifier::Meta => modifiers.meta,
        Modifier::Level3 => false,
    }
}

/// Presses or releases a key through XTest.
fn fake(connection: &RustConnection, root: Window, keycode: Keycode, down: bool) -> Result<(), ReplyError> {
    let kind = if down {
        xproto::KEY_PRESS_EVENT
    } else {
        xproto::KEY_RELEASE_EVENT
    };
    connection.xtest_fake_input(kind, keycode, x11rb::CURRENT_TIME, root, 0, 0, 0)?;
    Ok(())
}

/// Gives key codes their symbols, with as few requests as can be: each makes every application read the map again.
fn change(
    connection: &RustConnection,
    changes: impl IntoIterator<Item = (Keycode, u32)>,
) -> Result<(), ReplyError> {
    let mut runs: Vec<(Keycode, Vec<u32>)> = Vec::new();
    for (keycode, symbol) in changes {
        // The same with and without shift, so that what else is held does not matter.
        let symbols = [symbol; 2];
        match runs.last_mut() {
            Some((first, run)) if usize::from(*first) + run.len() / 2 == usize::from(keycode) => {
                run.extend(symbols)
            }
            _ => runs.push((keycode, symbols.to_vec())),
        }
    }
    for (first, symbols) in runs {
        // A run has at most 248 keys, for so many there are.
        let count = (symbols.len() / 2) as u8;
        connection.change_keyboard_mapping(count, first, 2, &symbols)?;
    }
    Ok(())
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
    connection
        .xkb_select_events(device, none, events, parts, parts, &xkb::SelectEventsAux::new())?
        .check()?;
    Ok(true)
}

fn repeat(connection: &RustConnection, mode: xproto::AutoRepeatMode) -> Result<(), ReplyError> {
    connection.change_keyboard_control(&xproto::ChangeKeyboardControlAux::new().auto_repeat_mode(mode))?;
    Ok(())
}
