//! Keys on the display: what each viewer holds, and how a character gets onto whatever map the display has.
//!
//! What is held is counted per viewer, so that letting go of everything lets go of that viewer's keys and no others.
//! Around a character the modifiers that it needs are held and all others are not; what was held before is held again
//! afterwards. Locks and layout groups that somebody set in the session would change characters, so they are reset.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use tracing::debug;
use x11rb::errors::ReplyError;

use super::device::{Device, Down};
use super::keymap::{Keycode, Keymap, Modifier, Stroke, symbol_of};
use super::meaning::{Meaning, meaning};
use super::spares::Spares;
use crate::audience::ViewerId;
use crate::wire::page::Modifiers;

/// Keys that one viewer holds at a time; the oldest is let go beyond that.
const MAX_HELD: usize = 32;

/// Modifiers that a browser reports and a viewer can hold.
const REPORTED: [Modifier; 4] = [Modifier::Shift, Modifier::Control, Modifier::Alt, Modifier::Meta];

/// Modifiers that go with a shortcut.
const SHORTCUT: [Modifier; 3] = [Modifier::Control, Modifier::Alt, Modifier::Meta];

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
    device: Arc<Device>,
    map: Keymap,
    /// The map was changed by somebody.
    stale: bool,
    spares: Spares,
    holds: Vec<Hold>,
}

/// A key that a viewer holds.
struct Hold {
    viewer: ViewerId,
    /// What the browser calls the key; empty for a modifier that it only reported.
    name: Box<str>,
    keycode: Keycode,
    modifier: Option<Modifier>,
}

impl Keyboard {
    /// Reads the display's map, and stops its own key repeat: the browser repeats.
    pub fn new(device: Arc<Device>) -> Result<Self, ReplyError> {
        device.repeat(false)?;
        let (map, spares) = (Keymap::default(), Spares::default());
        let mut keyboard = Self {
            device,
            map,
            stale: true,
            spares,
            holds: Vec::new(),
        };
        keyboard.refresh()?;
        Ok(keyboard)
    }

    /// The X server said that somebody changed the map.
    pub fn map_changed(&mut self) {
        self.stale = true;
    }

    /// Gives everything back as it was found.
    pub fn restore(&mut self) -> Result<(), ReplyError> {
        for hold in std::mem::take(&mut self.holds) {
            self.device.key(hold.keycode, false)?;
        }
        self.device
            .change_map(self.spares.lent().into_iter().map(|code| (code, [0, 0])))?;
        self.device.repeat(true)
    }

    /// A viewer lost the keyboard, or is gone.
    pub fn release_all(&mut self, viewer: ViewerId) -> Result<(), ReplyError> {
        self.let_go(|hold| hold.viewer == viewer)
    }

    /// A key of a page went down or up.
    pub fn key(&mut self, event: &KeyEvent<'_>) -> Result<(), ReplyError> {
        // Keyboards on glass give no code.
        let name = if event.code.is_empty() {
            event.key
        } else {
            event.code
        };
        let meaning = meaning(event.key, event.code, event.modifiers);
        if !event.down {
            let viewer = event.viewer;
            self.let_go(|hold| hold.viewer == viewer && *hold.name == *name)?;
        }
        // A modifier's own message may or may not report it already.
        let own = if let Meaning::Modifier(modifier, _) = meaning {
            Some(modifier)
        } else {
            None
        };
        self.let_go_unreported(event, own)?;
        if !event.down {
            return Ok(());
        }
        match meaning {
            Meaning::Nothing => Ok(()),
            Meaning::Text(text) => self.text(text),
            Meaning::Modifier(modifier, right) => {
                self.look()?;
                if let (false, Some(keycode)) = (event.repeat, self.map.modifier_key(modifier, right)) {
                    self.hold_modifier(event.viewer, name, keycode, modifier)?;
                }
                Ok(())
            }
            Meaning::Named(symbol) => {
                self.hold_reported(event)?;
                let down = self.look()?;
                match self.map.symbol(symbol) {
                    // Whatever is held goes with it: shift and Tab is a key of its own.
                    Some(stroke) => self.press(event.viewer, name, stroke.keycode, &down),
                    None => self.strike(event.viewer, name, Typed::Key(symbol), &SHORTCUT),
                }
            }
            Meaning::Character(c) => self.strike(event.viewer, name, Typed::Character(c), &[]),
            Meaning::Shortcut(c) => {
                self.hold_reported(event)?;
                self.strike(event.viewer, name, Typed::Character(c), &SHORTCUT)
            }
        }
    }

    /// Types text, whatever the map has.
    pub fn text(&mut self, text: &str) -> Result<(), ReplyError> {
        let mut rest: Vec<Typed> = typed(text).collect();
        while !rest.is_empty() {
            let down = self.look()?;
            let (count, missing) = self.fitting(&rest);
            self.lend(&missing)?;
            let held = self.modifiers_down(&down, &[]);
            for keycode in &held {
                self.device.key(*keycode, false)?;
            }
            for what in rest.drain(..count) {
                let Some(stroke) = self.stroke(what) else { continue };
                if down.holds(stroke.keycode) {
                    self.device.key(stroke.keycode, false)?;
                }
                self.with_levels(stroke, || {
                    self.device.key(stroke.keycode, true)?;
                    self.device.key(stroke.keycode, false)
                })?;
            }
            for keycode in &held {
                self.device.key(*keycode, true)?;
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

    /// How to press `what`, if the map has it or a code is lent to it.
    fn stroke(&mut self, what: Typed) -> Option<Stroke> {
        self.mapped(what)
            .or_else(|| self.spares.stroke(what.symbol(), Instant::now()))
    }

    /// Presses and holds the key of `what`, with none but the needed modifiers and those in `kept`.
    fn strike(
        &mut self,
        viewer: ViewerId,
        name: &str,
        what: Typed,
        kept: &[Modifier],
    ) -> Result<(), ReplyError> {
        let down = self.look()?;
        if self.mapped(what).is_none() {
            self.lend(&[what.symbol()])?;
        }
        let Some(stroke) = self.stroke(what) else {
            debug!(symbol = what.symbol(), "no key code is free for a symbol");
            return Ok(());
        };
        let mut kept = kept.to_vec();
        kept.extend(stroke.shift.then_some(Modifier::Shift));
        kept.extend(stroke.level3.then_some(Modifier::Level3));
        let held = self.modifiers_down(&down, &kept);
        let has = |modifier| down.keys().any(|code| self.map.modifier(code) == Some(modifier));
        let missing = Stroke {
            keycode: stroke.keycode,
            shift: stroke.shift && !has(Modifier::Shift),
            level3: stroke.level3 && !has(Modifier::Level3),
        };
        for keycode in &held {
            self.device.key(*keycode, false)?;
        }
        if down.holds(stroke.keycode) {
            self.device.key(stroke.keycode, false)?;
        }
        self.with_levels(missing, || self.device.key(stroke.keycode, true))?;
        for keycode in &held {
            self.device.key(*keycode, true)?;
        }
        self.hold(viewer, name, stroke.keycode, None)
    }

    /// Presses and holds a key, letting it go first if it is down.
    fn press(
        &mut self,
        viewer: ViewerId,
        name: &str,
        keycode: Keycode,
        down: &Down,
    ) -> Result<(), ReplyError> {
        if down.holds(keycode) {
            self.device.key(keycode, false)?;
        }
        self.device.key(keycode, true)?;
        self.hold(viewer, name, keycode, None)
    }

    fn hold_modifier(
        &mut self,
        viewer: ViewerId,
        name: &str,
        keycode: Keycode,
        modifier: Modifier,
    ) -> Result<(), ReplyError> {
        // Another viewer may hold it: pressing it again would let it go in between.
        if !self.holds.iter().any(|hold| hold.keycode == keycode) {
            self.device.key(keycode, true)?;
        }
        self.hold(viewer, name, keycode, Some(modifier))
    }

    /// Notes that `keycode`, which is down now, is held.
    fn hold(
        &mut self,
        viewer: ViewerId,
        name: &str,
        keycode: Keycode,
        modifier: Option<Modifier>,
    ) -> Result<(), ReplyError> {
        // A key that repeats with another meaning (shift came down meanwhile) lets go of the first one.
        self.let_go(|hold| hold.viewer == viewer && *hold.name == *name && hold.keycode != keycode)?;
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
            self.release_if_free(oldest.keycode)?;
        }
        self.holds.push(Hold {
            viewer,
            name: name.into(),
            keycode,
            modifier,
        });
        Ok(())
    }

    fn let_go(&mut self, which: impl Fn(&Hold) -> bool) -> Result<(), ReplyError> {
        let (gone, kept) = std::mem::take(&mut self.holds).into_iter().partition(which);
        self.holds = kept;
        for hold in gone as Vec<Hold> {
            self.release_if_free(hold.keycode)?;
        }
        Ok(())
    }

    fn release_if_free(&self, keycode: Keycode) -> Result<(), ReplyError> {
        if self.holds.iter().any(|hold| hold.keycode == keycode) {
            return Ok(());
        }
        self.device.key(keycode, false)
    }

    /// The browser's account of its modifiers is right, ours may not be: a page sees no keys while it has no focus.
    fn let_go_unreported(&mut self, event: &KeyEvent<'_>, own: Option<Modifier>) -> Result<(), ReplyError> {
        let (viewer, modifiers) = (event.viewer, event.modifiers);
        let unreported = |modifier: Modifier| Some(modifier) != own && !is_reported(modifiers, modifier);
        self.let_go(|hold| hold.viewer == viewer && hold.modifier.is_some_and(unreported))
    }

    /// Holds what the browser reports and this viewer does not hold yet.
    fn hold_reported(&mut self, event: &KeyEvent<'_>) -> Result<(), ReplyError> {
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
                self.hold_modifier(event.viewer, &name, keycode, modifier)?;
            }
        }
        Ok(())
    }

    /// Runs `press` while the level keys of `stroke` are held.
    fn with_levels(
        &self,
        stroke: Stroke,
        press: impl FnOnce() -> Result<(), ReplyError>,
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
            self.device.key(keycode, true)?;
        }
        press()?;
        for keycode in [level3, shift].into_iter().flatten() {
            self.device.key(keycode, false)?;
        }
        Ok(())
    }

    /// Asks what is down, and sees to it that the map is the one by which the next key press is understood: news of a
    /// change come before the answer.
    fn look(&mut self) -> Result<Down, ReplyError> {
        let down = self.device.settle()?;
        self.stale |= self.device.news()?.map_changed;
        self.refresh()?;
        Ok(down)
    }

    /// Modifier keys that are down, but for those that do something in `kept`.
    fn modifiers_down(&self, down: &Down, kept: &[Modifier]) -> Vec<Keycode> {
        let others = |code: &Keycode| {
            self.map
                .modifier(*code)
                .is_some_and(|modifier| !kept.contains(&modifier))
        };
        down.keys().filter(others).collect()
    }

    fn lend(&mut self, symbols: &[u32]) -> Result<(), ReplyError> {
        let held: HashSet<Keycode> = self.holds.iter().map(|hold| hold.keycode).collect();
        let loan = self
            .spares
            .lend(symbols, |code| held.contains(&code), Instant::now());
        if loan.changes.is_empty() {
            return Ok(());
        }
        if !loan.wait.is_zero() {
            self.device.flush()?;
            // Not for ourselves: other programs look up the keys pressed before, and no event tells that they did.
            std::thread::sleep(loan.wait);
        }
        self.device.change_map(loan.changes)
    }

    /// Reads the map again if somebody changed it.
    fn refresh(&mut self) -> Result<(), ReplyError> {
        if !self.stale {
            return Ok(());
        }
        self.stale = false;
        self.map = self.device.read_map(&self.spares.keycodes())?;
        self.spares
            .follow(self.map.free(), |code| self.map.first_symbols(code));
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
