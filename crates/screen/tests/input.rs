//! What a person does in a page happens on the display: as an application with a window is told, and as a terminal
//! writes it to a file.
#![allow(clippy::unwrap_used, reason = "what fails in a test says so by panicking")]

mod harness;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use berth_screen::Screen;
use harness::{Page, Recorder, Server, Told, typed};
use x11rb::protocol::xkb::{self, ConnectionExt as _};
use x11rb::protocol::xproto::*;
use x11rb::wrapper::ConnectionExt as _;

const SHIFT: u8 = 1;
const CTRL: u8 = 2;
const ALT: u8 = 4;
const META: u8 = 8;
const ALTGR: u8 = 16;

fn stage() -> (Server, Recorder, Screen, Page) {
    let server = Server::start("640x480");
    let recorder = Recorder::open(&server);
    let screen = Screen::open(&server.display).unwrap();
    let page = Page::open(&screen);
    (server, recorder, screen, page)
}

/// What was told beside releases and moves of the pointer.
fn presses(told: &[Told]) -> Vec<String> {
    told.iter()
        .filter_map(|told| {
            if let Told::Down(name) = told {
                Some(name.clone())
            } else {
                None
            }
        })
        .collect()
}

#[tokio::test]
async fn the_pointer_moves_clicks_and_scrolls() {
    let (_server, mut recorder, _screen, mut page) = stage();
    page.pointer(100, 50);
    page.button(1, true, 101, 51);
    page.pointer(200, 150);
    page.button(1, false, 200, 150);
    page.button(3, true, 200, 150);
    page.button(3, false, 200, 150);
    page.button(9, true, 5, 6);
    page.button(9, false, 5, 6);
    page.wheel(0, 240, 10, 10);
    page.wheel(-60, -120, 10, 10);
    page.wheel(-60, 0, 10, 10);
    recorder.until(|told| told.contains(&Told::Button(6, false)));
    let told: Vec<Told> = recorder
        .told
        .iter()
        .filter(|told| !matches!(told, Told::Moved(..)))
        .cloned()
        .collect();
    let click = |button| [Told::Button(button, true), Told::Button(button, false)];
    assert_eq!(told, [1, 3, 9, 5, 5, 4, 6].map(click).as_flattened());
    // Moves that nobody could see apart may be left out, but not those before a button.
    let mut told = recorder.told.clone();
    told.dedup();
    let down = told
        .iter()
        .position(|told| *told == Told::Button(1, true))
        .unwrap();
    assert_eq!(told[down - 1], Told::Moved(101, 51));
    assert_eq!(
        told[down + 1..down + 3],
        [Told::Moved(200, 150), Told::Button(1, false)]
    );
}

#[tokio::test]
async fn characters_come_as_the_browser_names_them() {
    let (_server, mut recorder, _screen, mut page) = stage();
    // A German keyboard in front of a US one: other places, other shifts.
    page.tap(0, "KeyY", "z");
    page.key(1, SHIFT, "ShiftLeft", "Shift");
    page.tap(SHIFT, "Digit7", "/");
    page.tap(SHIFT, "KeyA", "A");
    page.tap(SHIFT, "Digit2", "\"");
    page.key(0, 0, "ShiftLeft", "Shift");
    page.tap(0, "Quote", "ä");
    page.tap(CTRL | ALT | ALTGR, "KeyQ", "@");
    page.tap(ALTGR, "KeyE", "€");
    page.tap(0, "KeyA", "ф");
    page.tap(0, "KeyA", "a");
    recorder.until(|told| typed(told).ends_with('a'));
    // Shift is let go for the slash and for nothing else, and pressed for the at sign.
    assert_eq!(recorder.typed(), "z<Shift_L>/<Shift_L>A\"ä<Shift_L>@€фa");
}

#[tokio::test]
async fn shortcuts_hold_their_modifiers() {
    let (_server, mut recorder, _screen, mut page) = stage();
    page.key(1, CTRL, "ControlLeft", "Control");
    page.tap(CTRL, "KeyC", "с");
    page.tap(CTRL, "KeyY", "z");
    page.tap(CTRL, "BracketRight", "+");
    page.key(0, 0, "ControlLeft", "Control");
    // The page got the keyboard with alt and meta already down.
    page.tap(ALT, "Tab", "Tab");
    page.tap(META, "KeyL", "l");
    page.tap(0, "KeyX", "x");
    recorder.until(|told| typed(told).ends_with('x'));
    let told = presses(&recorder.told);
    assert_eq!(
        told,
        [
            "<Control_L>",
            "C-c",
            "C-z",
            "C-<Shift_L>",
            "C-+",
            "<Alt_L>",
            "A-<Tab>",
            "<Super_L>",
            "M-l",
            "x"
        ]
    );
}

#[tokio::test]
async fn named_keys_and_those_the_display_lacks() {
    let (_server, mut recorder, _screen, mut page) = stage();
    for (code, key) in [
        ("Enter", "Enter"),
        ("NumpadEnter", "Enter"),
        ("ArrowLeft", "ArrowLeft"),
        ("F12", "F12"),
        ("F24", "F24"),
        ("", "Backspace"),
        ("AudioVolumeUp", "AudioVolumeUp"),
        ("CapsLock", "CapsLock"),
        ("", "Dead"),
        ("Escape", "Escape"),
    ] {
        page.tap(0, code, key);
    }
    recorder.until(|told| typed(told).ends_with("<Escape>"));
    let wanted = [
        "Return",
        "KP_Enter",
        "Left",
        "F12",
        "F24",
        "BackSpace",
        "XF86_AudioRaiseVolume",
        "Escape",
    ]
    .map(|n| format!("<{n}>"));
    assert_eq!(recorder.typed().replace("XF86XK_", "XF86_"), wanted.concat());
}

#[tokio::test]
async fn a_held_key_repeats_when_the_browser_says_so_and_never_by_itself() {
    let (_server, mut recorder, _screen, mut page) = stage();
    page.key(1, 0, "KeyA", "a");
    page.key(3, 0, "KeyA", "a");
    page.key(3, 0, "KeyA", "a");
    page.key(0, 0, "KeyA", "a");
    page.tap(0, "KeyB", "b");
    recorder.until(|told| typed(told).ends_with('b'));
    assert_eq!(recorder.typed(), "aaab");
    let control = recorder
        .connection()
        .get_keyboard_control()
        .unwrap()
        .reply()
        .unwrap();
    assert_eq!(control.global_auto_repeat, AutoRepeatMode::OFF);
}

#[tokio::test]
async fn nothing_stays_down() {
    let (server, mut recorder, screen, mut page) = stage();
    page.key(1, SHIFT, "ShiftLeft", "Shift");
    page.key(1, SHIFT, "KeyA", "A");
    page.button(1, true, 10, 10);
    recorder.until(|told| told.contains(&Told::Button(1, true)));
    assert_eq!(down(recorder.connection()), 3);
    page.release();
    recorder.until(|told| told.contains(&Told::Button(1, false)));
    recorder.until(|told| told.iter().filter(|told| matches!(told, Told::Up(_))).count() == 2);
    assert_eq!(down(recorder.connection()), 0);

    // A modifier whose release the page never saw.
    page.key(1, CTRL, "ControlLeft", "Control");
    page.tap(0, "KeyB", "b");
    recorder.until(|told| typed(told).ends_with('b'));
    recorder.until(|told| told.iter().filter(|told| matches!(told, Told::Up(_))).count() == 4);
    assert_eq!(down(recorder.connection()), 0);

    // A viewer that goes lets go of its keys, and of no others'.
    let other = screen.agent();
    other.press(&["Shift".into()], true).await.unwrap();
    page.key(1, SHIFT, "ShiftLeft", "Shift");
    page.key(1, SHIFT, "KeyQ", "Q");
    page.button(3, true, 10, 10);
    recorder.until(|told| told.contains(&Told::Button(3, true)));
    drop(page);
    recorder.until(|told| told.contains(&Told::Button(3, false)));
    recorder.until(|told| told.iter().filter(|told| matches!(told, Told::Up(_))).count() == 5);
    assert_eq!(down(recorder.connection()), 1, "the agent's shift");
    drop(other);
    recorder.until(|told| told.iter().filter(|told| matches!(told, Told::Up(_))).count() == 6);
    assert_eq!(down(recorder.connection()), 0);
    drop(server);
}

#[tokio::test]
async fn ten_thousand_events_leave_nothing_down() {
    let (server, recorder, screen, page) = stage();
    let mut pages = vec![page, Page::open(&screen)];
    let keys = [
        ("ShiftLeft", "Shift"),
        ("ControlRight", "Control"),
        ("AltRight", "AltGraph"),
        ("MetaLeft", "Meta"),
        ("CapsLock", "CapsLock"),
        ("KeyA", "a"),
        ("KeyQ", "\u{439}"),
        ("Digit2", "\u{e9}"),
        ("", "\u{4e2d}"),
        ("F5", "F5"),
        ("Enter", "Enter"),
    ];
    let mut n = 0x2545_F491_4F6C_DD1Du64;
    let mut random = |below: usize| {
        n ^= n << 13;
        n ^= n >> 7;
        n ^= n << 17;
        (n >> 20) as usize % below
    };
    for _ in 0..10_000 {
        let page = &mut pages[random(2)];
        let (code, key) = keys[random(keys.len())];
        let sent = match random(40) {
            0 => page.try_input(9, &[]),
            // Whatever it held: the connection is gone, and somebody else comes.
            1 => {
                *page = Page::open(&screen);
                Ok(())
            }
            2 => page.viewer.receive(&[13, 1, 0, 0, 0, 0]).map(drop),
            3 => page.viewer.receive(&[13, 3, 0, 0, 0, 0]).map(drop),
            4 => page.try_input(5, &[1, u8::from(random(2) == 0), 9, 0, 9, 0]),
            _ => {
                let mut body = vec![random(4) as u8, random(32) as u8, code.len() as u8];
                body.extend(code.as_bytes());
                body.push(key.len() as u8);
                body.extend(key.as_bytes());
                page.try_input(7, &body)
            }
        };
        // One that is faster than the screen is closed, as the guest does.
        if sent.is_err() {
            *page = Page::open(&screen);
        }
    }
    drop(pages);
    // The queue is worked off in order, so whoever comes last comes after all of it.
    let last = screen.agent();
    while let Err(error) = last.text("z").await {
        assert!(matches!(error, berth_screen::AgentError::Refused(_)), "{error}");
        std::thread::yield_now();
    }
    assert_eq!(down(recorder.connection()), 0, "keys and buttons that stay down");
    drop(server);
}

/// How many keys and buttons are down, as the X server says.
fn down(connection: &x11rb::rust_connection::RustConnection) -> u32 {
    let keys = connection.query_keymap().unwrap().reply().unwrap().keys;
    let pointer = connection
        .query_pointer(connection_root(connection))
        .unwrap()
        .reply()
        .unwrap();
    keys.iter().map(|byte| byte.count_ones()).sum::<u32>() + u32::from(u16::from(pointer.mask) & 0x1F00 != 0)
}

fn connection_root(connection: &x11rb::rust_connection::RustConnection) -> Window {
    use x11rb::connection::Connection as _;
    connection.setup().roots[0].root
}

#[tokio::test]
async fn locks_set_in_the_session_do_not_change_letters() {
    let (server, mut recorder, _screen, mut page) = stage();
    let (agent, _) = server.connect();
    agent.xkb_use_extension(1, 0).unwrap().reply().unwrap();
    let (lock, none) = (ModMask::LOCK, ModMask::from(0u16));
    let device = u16::from(xkb::ID::USE_CORE_KBD);
    agent
        .xkb_latch_lock_state(device, lock, lock, false, xkb::Group::M1, none, false, 0)
        .unwrap();
    agent.sync().unwrap();
    page.tap(0, "KeyA", "a");
    page.tap(SHIFT, "KeyB", "B");
    page.text("cD");
    recorder.until(|told| typed(told).ends_with('D'));
    assert_eq!(recorder.typed().replace("<Shift_L>", ""), "aBcD");
}

#[tokio::test]
async fn text_of_any_script_comes_in_order() {
    let (_server, mut recorder, _screen, mut page) = stage();
    let cjk: String = (0..300u32)
        .filter_map(|n| char::from_u32(0x4E00 + n * 7))
        .collect();
    let text = format!("Grüße, Привет, 你好 🙂👍🏽 a\tb\r\nend\n{cjk}");
    let wanted = text
        .replace('\t', "<Tab>")
        .replace("\r\n", "<Return>")
        .replace('\n', "<Return>");
    page.key(1, SHIFT, "ShiftLeft", "Shift");
    page.text(&text);
    page.tap(0, "KeyZ", "z");
    // A slow application: it looks only when everything was typed.
    recorder.until(|told| typed(told).ends_with('z'));
    assert_eq!(recorder.typed().replace("<Shift_L>", ""), format!("{wanted}z"));
}

#[tokio::test]
async fn a_map_that_the_session_changes_is_followed() {
    let (server, mut recorder, _screen, mut page) = stage();
    page.tap(0, "KeyA", "ж");
    recorder.until(|told| typed(told) == "ж");
    let (agent, _) = server.connect();
    // The keys of a and b change places; 38 and 56 are theirs on every PC.
    agent.change_keyboard_mapping(1, 38, 2, &[0x62, 0x42]).unwrap();
    agent.change_keyboard_mapping(1, 56, 2, &[0x61, 0x41]).unwrap();
    agent.sync().unwrap();
    page.text("abжAB");
    recorder.until(|told| typed(told).ends_with('B'));
    assert_eq!(recorder.typed().replace("<Shift_L>", ""), "жabжAB");
}

#[tokio::test]
async fn updates_name_the_last_input_that_was_applied() {
    let (server, mut recorder, _screen, mut page) = stage();
    let x = server.connect();
    page.catch_up(&x).await;
    page.tap(0, "KeyA", "a");
    recorder.until(|told| told.iter().any(|told| matches!(told, Told::Up(_))));
    recorder.paint(0x11_22_33);
    page.catch_up(&x).await;
    assert!(
        (1..=page.input_seq()).contains(&page.painter.input_seq),
        "{}",
        page.painter.input_seq
    );
}

#[tokio::test]
async fn the_last_handle_gives_the_keyboard_back() {
    let (server, mut recorder, screen, mut page) = stage();
    let (agent, _) = server.connect();
    let map = || {
        agent
            .get_keyboard_mapping(8, 248)
            .unwrap()
            .reply()
            .unwrap()
            .keysyms
    };
    let free = |map: &[u32]| {
        map.chunks(map.len() / 248)
            .filter(|key| key.iter().all(|symbol| *symbol == 0))
            .count()
    };
    let before = map();
    page.text("жшщ");
    page.key(1, 0, "KeyA", "a");
    recorder.until(|told| typed(told).ends_with('a'));
    assert_eq!(free(&map()), free(&before) - 3, "one key each");
    drop((page, screen));
    recorder.until(|told| told.iter().filter(|told| matches!(told, Told::Up(_))).count() == 4);
    let started = Instant::now();
    while agent
        .get_keyboard_control()
        .unwrap()
        .reply()
        .unwrap()
        .global_auto_repeat
        == AutoRepeatMode::OFF
    {
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "key repeat stays off"
        );
    }
    assert_eq!(free(&map()), free(&before));
}

/// A program that ends with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_terminal_gets_what_was_typed() {
    let server = Server::start("640x480");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("typed");
    let x = server.connect();
    let screen = Screen::open(&server.display).unwrap();
    let mut page = Page::open(&screen);
    page.catch_up(&x).await;
    let program = Command::new("xterm")
        .args(["-u8", "-geometry", "80x24+0+0", "-e", "sh", "-c"])
        .arg(format!("printf ready; stty -echoctl; cat > '{}'", file.display()))
        .env("DISPLAY", &server.display)
        .env("LC_ALL", "C.UTF-8")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("xterm starts (Debian package `xterm`)");
    let _program = Program(program);
    let wait = |what: &str, wanted: &str| {
        let started = Instant::now();
        loop {
            let found = fs_err::read_to_string(&file).unwrap_or_default();
            if found == wanted && file.exists() {
                return;
            }
            assert!(started.elapsed() < Duration::from_secs(20), "{what}: {found:?}");
            std::thread::yield_now();
        }
    };
    wait("the terminal is there", "");
    page.catch_up(&x).await;
    // Without a window manager the keyboard follows the pointer.
    page.pointer(100, 100);
    for (code, key) in [
        ("KeyH", "h"),
        ("KeyI", "i"),
        ("Space", " "),
        ("KeyQ", "ж"),
        ("Quote", "ö"),
        ("Enter", "Enter"),
    ] {
        page.tap(0, code, key);
    }
    wait("keys", "hi жö\n");
    let cjk: String = (0..150u32)
        .filter_map(|n| char::from_u32(0x4E00 + n * 11))
        .collect();
    page.text(&format!("Straße {cjk} 🙂 ñ\n"));
    wait("text", &format!("hi жö\nStraße {cjk} 🙂 ñ\n"));
    // Shift held by the browser around a capital, backspace, and the end of the input by a shortcut.
    page.key(1, SHIFT, "ShiftLeft", "Shift");
    page.tap(SHIFT, "KeyO", "O");
    page.key(0, 0, "ShiftLeft", "Shift");
    page.tap(0, "KeyK", "k");
    page.tap(0, "KeyX", "x");
    page.tap(0, "Backspace", "Backspace");
    page.tap(0, "Enter", "Enter");
    wait("line", &format!("hi жö\nStraße {cjk} 🙂 ñ\nOk\n"));
    assert!(page.step().await, "the terminal was seen");
    page.catch_up(&x).await;
}
