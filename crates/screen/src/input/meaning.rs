//! What a key of a browser means. Pure.
//!
//! Characters count by what they are (`key`), wherever the person's keyboard has them. Shortcuts count by their letter
//! where that is Latin, and by where the key is (`code`) where it is not: so that Ctrl+Z is Ctrl+Z on a German keyboard
//! and Ctrl+C works on a Cyrillic one.

use xkeysym::key;

use super::keymap::Modifier;
use crate::wire::page::Modifiers;

/// What a key press is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning<'a> {
    /// Hold a modifier: which, and whether the right one of two.
    Modifier(Modifier, bool),
    /// Press a key that makes no character.
    Named(u32),
    /// Type a character.
    Character(char),
    /// Press a character's key while control, alt or meta are held.
    Shortcut(char),
    /// Type several characters that one key makes.
    Text(&'a str),
    /// Nothing: a lock (characters come with it applied), a dead key (its character follows as text), the unknown.
    Nothing,
}

/// What `key`, where the keyboard has it at `code`, means with `modifiers` held.
pub fn meaning<'a>(key: &'a str, code: &str, modifiers: Modifiers) -> Meaning<'a> {
    let right = code.ends_with("Right");
    let modifier = match key {
        "Shift" => Some(Modifier::Shift),
        "Control" => Some(Modifier::Control),
        "Alt" => Some(Modifier::Alt),
        "Meta" | "OS" | "Super" | "Hyper" => Some(Modifier::Meta),
        _ => None,
    };
    if let Some(modifier) = modifier {
        return Meaning::Modifier(modifier, right);
    }
    if let Some(keysym) = named(key, code) {
        return Meaning::Named(keysym);
    }
    let mut characters = key.chars();
    match (characters.next(), characters.next()) {
        (Some(c), None) if c.is_control() => Meaning::Nothing,
        (Some(c), None) => {
            let held = modifiers.ctrl || modifiers.alt || modifiers.meta;
            // AltGr is control and alt on some systems, but makes characters.
            if held && !modifiers.altgr {
                Meaning::Shortcut(shortcut(c, code, modifiers.shift))
            } else {
                Meaning::Character(c)
            }
        }
        // Names are ASCII; what is not is several characters from one key.
        (Some(_), Some(_)) if !key.is_ascii() => Meaning::Text(key),
        _ => Meaning::Nothing,
    }
}

/// The character on a US keyboard whose key a shortcut presses.
fn shortcut(c: char, code: &str, shift: bool) -> char {
    if c.is_ascii_alphabetic() {
        // Shift counts, not the caps lock.
        return if shift {
            c.to_ascii_uppercase()
        } else {
            c.to_ascii_lowercase()
        };
    }
    // Where digits need shift (French), Ctrl+1 is still meant as Ctrl+1.
    if let (Some(digit), false) = (code.strip_prefix("Digit").and_then(|d| d.chars().next()), shift) {
        return digit;
    }
    if c.is_ascii_graphic() || c == ' ' {
        return c;
    }
    let letter = code.strip_prefix("Key").and_then(|letter| letter.chars().next());
    match letter {
        Some(letter) if shift => letter.to_ascii_uppercase(),
        Some(letter) => letter.to_ascii_lowercase(),
        None => PLACES
            .iter()
            .find(|(place, _)| *place == code)
            .map_or(c, |(_, plain)| *plain),
    }
}

/// Keys of a US keyboard that are neither letters nor digits, and the character on them.
const PLACES: [(&str, char); 11] = [
    ("Minus", '-'),
    ("Equal", '='),
    ("BracketLeft", '['),
    ("BracketRight", ']'),
    ("Backslash", '\\'),
    ("Semicolon", ';'),
    ("Quote", '\''),
    ("Backquote", '`'),
    ("Comma", ','),
    ("Period", '.'),
    ("Slash", '/'),
];

/// The X symbol of a key that makes no character.
fn named(name: &str, code: &str) -> Option<u32> {
    if name == "Enter" && code == "NumpadEnter" {
        return Some(key::KP_Enter);
    }
    if let Some(number) = name.strip_prefix('F').and_then(|n| n.parse::<u32>().ok()) {
        return (1..=24).contains(&number).then(|| key::F1 + number - 1);
    }
    NAMED
        .iter()
        .find(|(named, _)| *named == name)
        .map(|(_, keysym)| *keysym)
}

const NAMED: [(&str, u32); 40] = [
    ("Enter", key::Return),
    ("Tab", key::Tab),
    ("Backspace", key::BackSpace),
    ("Escape", key::Escape),
    ("Delete", key::Delete),
    ("Insert", key::Insert),
    ("Home", key::Home),
    ("End", key::End),
    ("PageUp", key::Page_Up),
    ("PageDown", key::Page_Down),
    ("ArrowLeft", key::Left),
    ("ArrowRight", key::Right),
    ("ArrowUp", key::Up),
    ("ArrowDown", key::Down),
    ("ContextMenu", key::Menu),
    ("PrintScreen", key::Print),
    ("Pause", key::Pause),
    ("Cancel", key::Cancel),
    ("Clear", key::Clear),
    ("Help", key::Help),
    ("Undo", key::Undo),
    ("Redo", key::Redo),
    ("Find", key::Find),
    ("Select", key::Select),
    ("Execute", key::Execute),
    ("Cut", key::XF86_Cut),
    ("Copy", key::XF86_Copy),
    ("Paste", key::XF86_Paste),
    ("AudioVolumeDown", key::XF86_AudioLowerVolume),
    ("AudioVolumeMute", key::XF86_AudioMute),
    ("AudioVolumeUp", key::XF86_AudioRaiseVolume),
    ("MediaPlayPause", key::XF86_AudioPlay),
    ("MediaStop", key::XF86_AudioStop),
    ("MediaTrackPrevious", key::XF86_AudioPrev),
    ("MediaTrackNext", key::XF86_AudioNext),
    ("BrowserBack", key::XF86_Back),
    ("BrowserForward", key::XF86_Forward),
    ("BrowserHome", key::XF86_HomePage),
    ("BrowserRefresh", key::XF86_Refresh),
    ("BrowserSearch", key::XF86_Search),
];

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Modifiers = Modifiers {
        shift: false,
        ctrl: false,
        alt: false,
        meta: false,
        altgr: false,
    };
    const CTRL: Modifiers = Modifiers { ctrl: true, ..PLAIN };

    #[test]
    fn characters_count_by_what_they_are() {
        assert_eq!(meaning("ä", "Quote", PLAIN), Meaning::Character('ä'));
        assert_eq!(
            meaning(
                "@",
                "KeyQ",
                Modifiers {
                    altgr: true,
                    alt: true,
                    ..CTRL
                }
            ),
            Meaning::Character('@')
        );
        assert_eq!(meaning("한", "KeyG", PLAIN), Meaning::Character('한'));
        assert_eq!(meaning("لا", "KeyB", PLAIN), Meaning::Text("لا"));
    }

    #[test]
    fn shortcuts_count_by_letter_and_else_by_place() {
        assert_eq!(meaning("z", "KeyY", CTRL), Meaning::Shortcut('z'));
        assert_eq!(meaning("с", "KeyC", CTRL), Meaning::Shortcut('c'));
        assert_eq!(
            meaning("С", "KeyC", Modifiers { shift: true, ..CTRL }),
            Meaning::Shortcut('C')
        );
        assert_eq!(meaning("C", "KeyC", CTRL), Meaning::Shortcut('c'));
        assert_eq!(meaning("&", "Digit1", CTRL), Meaning::Shortcut('1'));
        assert_eq!(
            meaning("/", "Digit7", Modifiers { shift: true, ..CTRL }),
            Meaning::Shortcut('/')
        );
        assert_eq!(meaning("+", "BracketRight", CTRL), Meaning::Shortcut('+'));
        assert_eq!(meaning("ü", "BracketLeft", CTRL), Meaning::Shortcut('['));
    }

    #[test]
    fn names_are_keys_and_unknown_names_are_nothing() {
        assert_eq!(meaning("Enter", "Enter", PLAIN), Meaning::Named(key::Return));
        assert_eq!(
            meaning("Enter", "NumpadEnter", PLAIN),
            Meaning::Named(key::KP_Enter)
        );
        assert_eq!(meaning("F24", "F24", PLAIN), Meaning::Named(key::F24));
        assert_eq!(meaning("F25", "", PLAIN), Meaning::Nothing);
        assert_eq!(meaning("F", "KeyF", PLAIN), Meaning::Character('F'));
        assert_eq!(
            meaning("Shift", "ShiftRight", PLAIN),
            Meaning::Modifier(Modifier::Shift, true)
        );
        for name in [
            "Dead",
            "Process",
            "Unidentified",
            "CapsLock",
            "AltGraph",
            "",
            "\u{8}",
        ] {
            assert_eq!(meaning(name, "", PLAIN), Meaning::Nothing);
        }
    }
}
