//! The display's keyboard map: which key, with which modifiers, gives a character or a symbol. Pure.

use std::collections::HashMap;

use xkeysym::{Keysym, key};

/// A key of the display.
pub type Keycode = u8;

/// What keys that are held do to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Modifier {
    /// Shift.
    Shift,
    /// Control.
    Control,
    /// Alt.
    Alt,
    /// Meta, super: the key with the logo.
    Meta,
    /// AltGr: the third level.
    Level3,
}

/// A key, and what must be held with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stroke {
    /// The key.
    pub keycode: Keycode,
    /// Shift must be held; otherwise it must not.
    pub shift: bool,
    /// The third level's key must be held; otherwise it must not.
    pub level3: bool,
}

impl Stroke {
    /// A key alone.
    pub fn plain(keycode: Keycode) -> Self {
        Self {
            keycode,
            shift: false,
            level3: false,
        }
    }
}

/// Where X's map has the levels of the first group, and what they need: shift, the third level's key.
const LEVELS: [(usize, bool, bool); 4] = [
    (0, false, false),
    (1, true, false),
    (4, false, true),
    (5, true, true),
];

/// X's symbols of the keypad: their characters are typed with the main keys.
const KEYPAD: std::ops::RangeInclusive<u32> = key::KP_Space..=key::KP_9;

/// A map as it was read.
#[derive(Debug, Default)]
pub struct Keymap {
    characters: HashMap<char, Stroke>,
    symbols: HashMap<u32, Stroke>,
    modifiers: HashMap<Keycode, Modifier>,
    /// First two symbols of every key: plain, and with shift.
    first: HashMap<Keycode, [u32; 2]>,
    /// Keys that mean nothing.
    free: Vec<Keycode>,
}

impl Keymap {
    /// Reads X's map: `width` symbols for each key from `lowest` on, and the keys that X counts as modifiers. The keys
    /// in `lent` are left out: they mean something else at any time.
    pub fn new(
        lowest: Keycode,
        width: usize,
        symbols: &[u32],
        modifying: &[Keycode],
        lent: &[Keycode],
    ) -> Self {
        let mut map = Self::default();
        if width == 0 {
            return map;
        }
        let keys: Vec<(Keycode, &[u32])> = (lowest..=Keycode::MAX).zip(symbols.chunks_exact(width)).collect();
        for (keycode, symbols) in &keys {
            let first = symbols[0];
            map.first.insert(
                *keycode,
                [first, symbols.get(1).copied().unwrap_or(key::NoSymbol)],
            );
            if modifying.contains(keycode) {
                if let Some(modifier) = modifier_of(first) {
                    map.modifiers.insert(*keycode, modifier);
                }
            } else if symbols.iter().all(|symbol| *symbol == key::NoSymbol) {
                map.free.push(*keycode);
            }
        }
        let third_level = map.modifier_key(Modifier::Level3, false).is_some();
        // Level by level, so that a character is typed with as few modifiers as can be.
        for (index, shift, level3) in LEVELS {
            if level3 && !third_level {
                continue;
            }
            for (keycode, symbols) in keys.iter().filter(|(keycode, _)| !lent.contains(keycode)) {
                let symbol = symbols.get(index).copied().unwrap_or(key::NoSymbol);
                if symbol != key::NoSymbol {
                    map.insert(
                        symbol,
                        Stroke {
                            keycode: *keycode,
                            shift,
                            level3,
                        },
                    );
                }
            }
        }
        map
    }

    fn insert(&mut self, symbol: u32, stroke: Stroke) {
        self.symbols.entry(symbol).or_insert(stroke);
        if let Some(c) = Keysym::new(symbol)
            .key_char()
            .filter(|c| !c.is_control() && !KEYPAD.contains(&symbol))
        {
            self.characters.entry(c).or_insert(stroke);
        }
    }

    /// How to type `c`.
    pub fn character(&self, c: char) -> Option<Stroke> {
        self.characters.get(&c).copied()
    }

    /// How to press the key that has `symbol`.
    pub fn symbol(&self, symbol: u32) -> Option<Stroke> {
        self.symbols.get(&symbol).copied()
    }

    /// What holding `keycode` does.
    pub fn modifier(&self, keycode: Keycode) -> Option<Modifier> {
        self.modifiers.get(&keycode).copied()
    }

    /// The key to hold for `modifier`: the right one of two if asked for, and there is one.
    pub fn modifier_key(&self, modifier: Modifier, right: bool) -> Option<Keycode> {
        let wanted: [u32; 2] = match modifier {
            Modifier::Shift => [key::Shift_L, key::Shift_R],
            Modifier::Control => [key::Control_L, key::Control_R],
            Modifier::Alt => [key::Alt_L, key::Alt_R],
            Modifier::Meta => [key::Super_L, key::Super_R],
            Modifier::Level3 => [key::ISO_Level3_Shift, key::ISO_Level3_Shift],
        };
        let of = |symbol| {
            self.modifiers
                .keys()
                .copied()
                .filter(move |code| self.first_symbols(*code)[0] == symbol)
                .min()
        };
        let any = || {
            self.modifiers
                .iter()
                .filter(|(_, held)| **held == modifier)
                .map(|(code, _)| *code)
                .min()
        };
        of(wanted[usize::from(right)])
            .or_else(|| of(wanted[0]))
            .or_else(any)
    }

    /// The first two symbols of a key: plain, and with shift.
    pub fn first_symbols(&self, keycode: Keycode) -> [u32; 2] {
        self.first.get(&keycode).copied().unwrap_or([key::NoSymbol; 2])
    }

    /// Keys without any symbol, lowest first.
    pub fn free(&self) -> &[Keycode] {
        &self.free
    }
}

fn modifier_of(symbol: u32) -> Option<Modifier> {
    match symbol {
        key::Shift_L | key::Shift_R => Some(Modifier::Shift),
        key::Control_L | key::Control_R => Some(Modifier::Control),
        key::Alt_L | key::Alt_R | key::Meta_L | key::Meta_R => Some(Modifier::Alt),
        key::Super_L | key::Super_R | key::Hyper_L | key::Hyper_R => Some(Modifier::Meta),
        key::ISO_Level3_Shift | key::Mode_switch => Some(Modifier::Level3),
        _ => None,
    }
}

/// The symbol that means `c` on a key of its own.
pub fn symbol_of(c: char) -> u32 {
    match c {
        '\u{20}'..='\u{7E}' | '\u{A0}'..='\u{FF}' => u32::from(c),
        // X's range for all of Unicode.
        _ => 0x0100_0000 | u32::from(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Six symbols a key, from key 10 on: a German `q`, `2`, AltGr, a free key, and a keypad's 7.
    fn german() -> Keymap {
        let symbols = [
            [0x71, 0x51, 0x71, 0x51, 0x40, 0x7D9],
            [0x32, 0x22, 0x32, 0x22, 0xB2, 0],
            [key::ISO_Level3_Shift, 0, 0, 0, 0, 0],
            [0; 6],
            [key::KP_Home, key::KP_7, 0, 0, 0, 0],
            [key::Shift_R, 0, 0, 0, 0, 0],
            [key::Shift_L, 0, 0, 0, 0, 0],
        ];
        Keymap::new(10, 6, symbols.as_flattened(), &[12, 15, 16], &[])
    }

    #[test]
    fn characters_are_found_on_the_level_that_needs_least() {
        let map = german();
        assert_eq!(map.character('q'), Some(Stroke::plain(10)));
        assert_eq!(
            map.character('Q'),
            Some(Stroke {
                keycode: 10,
                shift: true,
                level3: false
            })
        );
        assert_eq!(
            map.character('@'),
            Some(Stroke {
                keycode: 10,
                shift: false,
                level3: true
            })
        );
        assert_eq!(
            map.character('Ω'),
            Some(Stroke {
                keycode: 10,
                shift: true,
                level3: true
            })
        );
        assert_eq!(map.character('7'), None);
        assert_eq!(map.symbol(key::KP_Home), Some(Stroke::plain(14)));
    }

    #[test]
    fn modifiers_and_free_keys_are_told_apart() {
        let map = german();
        assert_eq!(map.modifier(12), Some(Modifier::Level3));
        assert_eq!(map.modifier_key(Modifier::Shift, false), Some(16));
        assert_eq!(map.modifier_key(Modifier::Shift, true), Some(15));
        assert_eq!(map.modifier_key(Modifier::Meta, false), None);
        assert_eq!(map.free(), [13]);
    }

    #[test]
    fn without_its_key_the_third_level_does_not_count() {
        let map = Keymap::new(10, 6, &[0x71, 0x51, 0x71, 0x51, 0x40, 0], &[], &[]);
        assert_eq!(map.character('@'), None);
    }
}
