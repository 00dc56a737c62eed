//! For tests against a real X server: a server of its own for each test, a page in Rust, an application that writes
//! down what it is told.
#![allow(dead_code, reason = "each test file uses its part")]

#[path = "../../src/painter.rs"]
mod painter;

use std::io::Read;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use berth_screen::{Screen, Viewer, Visitor};
pub use painter::Painter;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use x11rb::connection::Connection;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::*;
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

/// How long a test waits for what must happen before it fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// An X server that ends with the test.
pub struct Server {
    child: Child,
    pub display: String,
}

impl Server {
    /// A server with one screen, such as `800x600`.
    pub fn start(size: &str) -> Self {
        Self::start_without(size, &[])
    }

    /// A server that lacks some extensions.
    pub fn start_without(size: &str, extensions: &[&str]) -> Self {
        let mut child = Command::new("Xvfb")
            .args([
                "-displayfd",
                "1",
                "-nolisten",
                "tcp",
                "-noreset",
                "-screen",
                "0",
                &format!("{size}x24"),
            ])
            .args(extensions.iter().flat_map(|extension| ["-extension", extension]))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Xvfb starts (Debian package `xvfb`)");
        let mut number = String::new();
        let mut stdout = child.stdout.take().unwrap();
        let mut byte = [0];
        while stdout.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
            number.push(char::from(byte[0]));
        }
        assert!(!number.is_empty(), "Xvfb says its display");
        Self {
            child,
            display: format!(":{number}"),
        }
    }

    pub fn connect(&self) -> (RustConnection, x11rb::protocol::xproto::Screen) {
        let (connection, screen) = RustConnection::connect(Some(&self.display)).unwrap();
        let screen = connection.setup().roots[screen].clone();
        (connection, screen)
    }

    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A page: takes messages, paints, acknowledges, and sends numbered input.
pub struct Page {
    pub viewer: Viewer,
    pub painter: Painter,
    input_seq: u32,
    /// Bytes of all messages.
    pub bytes: usize,
    pub updates: usize,
}

impl Page {
    /// A page that can inflate.
    pub fn open(screen: &Screen) -> Self {
        Self::with_capabilities(screen, 1)
    }

    pub fn with_capabilities(screen: &Screen, capabilities: u8) -> Self {
        Self::of(screen.attach(Visitor::owner()), capabilities)
    }

    pub fn of(viewer: Viewer, capabilities: u8) -> Self {
        viewer.receive(&[1, 1, 0, 4, 0, 3, capabilities]).unwrap();
        Self {
            viewer,
            painter: Painter::default(),
            input_seq: 0,
            bytes: 0,
            updates: 0,
        }
    }

    /// The next message, painted and acknowledged. False: the screen is gone.
    pub async fn step(&mut self) -> bool {
        let Some(seq) = self.step_silently().await else {
            return false;
        };
        if let Some(seq) = seq {
            self.acknowledge(seq);
        }
        true
    }

    /// The next message, painted. `None`: the screen is gone.
    pub async fn step_silently(&mut self) -> Option<Option<u32>> {
        let message = tokio::time::timeout(PATIENCE, self.viewer.next())
            .await
            .expect("a message")?;
        self.bytes += message.len();
        let seq = self.painter.take(&message);
        self.updates += usize::from(seq.is_some());
        Some(seq)
    }

    pub fn acknowledge(&self, seq: u32) {
        for kind in [2, 3] {
            let message = [&[kind][..], &seq.to_le_bytes()].concat();
            assert!(!self.viewer.receive(&message).unwrap().input);
        }
    }

    /// Takes messages until the page shows exactly what the X server shows.
    pub async fn catch_up(&mut self, server: &(RustConnection, x11rb::protocol::xproto::Screen)) {
        let (wanted, width) = picture(server);
        let started = Instant::now();
        while self.painter.size().0 != width || self.painter.pixels() != wanted {
            assert!(self.step().await, "the screen is there");
            assert!(
                started.elapsed() < PATIENCE,
                "the page never shows what the screen does"
            );
        }
    }

    /// Takes messages until `done`.
    pub async fn until(&mut self, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            assert!(self.step().await, "the screen is there");
        }
    }

    fn input(&mut self, kind: u8, body: &[u8]) {
        self.input_seq += 1;
        let message = [&[kind][..], &self.input_seq.to_le_bytes(), body].concat();
        assert_eq!(self.viewer.receive(&message).unwrap().input, kind != 9);
    }

    /// Input that may be refused.
    pub fn try_input(&mut self, kind: u8, body: &[u8]) -> Result<(), berth_screen::WireError> {
        self.input_seq += 1;
        let message = [&[kind][..], &self.input_seq.to_le_bytes(), body].concat();
        self.viewer.receive(&message).map(drop)
    }

    pub fn pointer(&mut self, x: u16, y: u16) {
        self.input(4, &[x, y].map(u16::to_le_bytes).concat());
    }

    pub fn button(&mut self, button: u8, down: bool, x: u16, y: u16) {
        let at = [x, y].map(u16::to_le_bytes).concat();
        self.input(5, &[&[button, u8::from(down)][..], &at].concat());
    }

    pub fn wheel(&mut self, dx: i16, dy: i16, x: u16, y: u16) {
        let turn = [dx, dy].map(i16::to_le_bytes).concat();
        self.input(6, &[turn, [x, y].map(u16::to_le_bytes).concat()].concat());
    }

    /// A key: bits 0 and 1 of `flags` are down and repeat.
    pub fn key(&mut self, flags: u8, modifiers: u8, code: &str, key: &str) {
        let mut body = vec![flags, modifiers, code.len() as u8];
        body.extend(code.as_bytes());
        body.push(key.len() as u8);
        body.extend(key.as_bytes());
        self.input(7, &body);
    }

    /// A key that goes down and up.
    pub fn tap(&mut self, modifiers: u8, code: &str, key: &str) {
        self.key(1, modifiers, code, key);
        self.key(0, modifiers, code, key);
    }

    pub fn text(&mut self, text: &str) {
        self.input(
            8,
            &[&(text.len() as u16).to_le_bytes()[..], text.as_bytes()].concat(),
        );
    }

    pub fn clipboard(&mut self, text: &str) {
        self.input(11, &[&[0][..], text.as_bytes()].concat());
    }

    /// Sends a message that is no input.
    pub fn request(&self, message: &[u8]) {
        self.viewer.receive(message).unwrap();
    }

    /// The last state that the page was told.
    pub fn state(&self) -> serde_json::Value {
        let last = self.painter.notices.iter().rev().find(|notice| notice[0] == 7);
        last.map_or(serde_json::Value::Null, |notice| {
            serde_json::from_slice(&notice[5..]).unwrap()
        })
    }

    /// This viewer's number, as it was told.
    pub fn id(&self) -> u32 {
        let state = self.painter.notices.iter().find(|notice| notice[0] == 7).unwrap();
        u32::from_le_bytes(state[1..5].try_into().unwrap())
    }

    /// Input that counts for nothing.
    pub fn vain_pointer(&mut self, x: u16, y: u16) {
        self.input_seq += 1;
        let at = [x, y].map(u16::to_le_bytes).concat();
        let message = [&[4][..], &self.input_seq.to_le_bytes(), &at].concat();
        assert!(!self.viewer.receive(&message).unwrap().input);
    }

    pub fn release(&mut self) {
        self.input(9, &[]);
    }

    pub fn input_seq(&self) -> u32 {
        self.input_seq
    }
}

/// What the X server shows, as it says itself.
pub fn picture(
    (connection, screen): &(RustConnection, x11rb::protocol::xproto::Screen),
) -> (Vec<u32>, usize) {
    let size = connection.get_geometry(screen.root).unwrap().reply().unwrap();
    let image = connection
        .get_image(
            ImageFormat::Z_PIXMAP,
            screen.root,
            0,
            0,
            size.width,
            size.height,
            u32::MAX,
        )
        .unwrap()
        .reply()
        .unwrap();
    let pixels = image
        .data
        .chunks_exact(4)
        .map(|p| u32::from_le_bytes([p[0], p[1], p[2], 0]))
        .collect();
    (pixels, usize::from(size.width))
}

/// What an application was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// A character, or a symbol's name in brackets, with the state's modifiers beyond shift and locks.
    Down(String),
    Up(u8),
    Button(u8, bool),
    Moved(i16, i16),
}

/// An application with a window over the whole screen. Looks keys up as late as applications do: when it handles the
/// press, with a map that it reads when it was told of a change.
pub struct Recorder {
    connection: RustConnection,
    window: Window,
    map: Option<GetKeyboardMappingReply>,
    pub told: Vec<Told>,
}

impl Recorder {
    pub fn open(server: &Server) -> Self {
        let (connection, screen) = server.connect();
        let window = connection.generate_id().unwrap();
        let events = EventMask::KEY_PRESS
            | EventMask::KEY_RELEASE
            | EventMask::BUTTON_PRESS
            | EventMask::BUTTON_RELEASE
            | EventMask::POINTER_MOTION
            | EventMask::STRUCTURE_NOTIFY;
        let values = CreateWindowAux::new()
            .event_mask(events)
            .background_pixel(screen.white_pixel);
        let (width, height) = (screen.width_in_pixels, screen.height_in_pixels);
        let class = WindowClass::INPUT_OUTPUT;
        connection
            .create_window(0, window, screen.root, 0, 0, width, height, 0, class, 0, &values)
            .unwrap();
        connection.map_window(window).unwrap();
        connection.flush().unwrap();
        while !matches!(connection.wait_for_event().unwrap(), Event::MapNotify(_)) {}
        connection
            .set_input_focus(InputFocus::PARENT, window, x11rb::CURRENT_TIME)
            .unwrap();
        connection.sync().unwrap();
        Self {
            connection,
            window,
            map: None,
            told: Vec::new(),
        }
    }

    /// Writes down what it is told until `done`.
    pub fn until(&mut self, done: impl Fn(&[Told]) -> bool) {
        let started = Instant::now();
        while !done(&self.told) {
            match self.connection.poll_for_event().unwrap() {
                Some(event) => self.handle(event),
                None => {
                    let stream = self.connection.stream();
                    let mut fds = [PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::IN)];
                    let timeout = Timespec {
                        tv_sec: 1,
                        tv_nsec: 0,
                    };
                    poll(&mut fds, Some(&timeout)).unwrap();
                }
            }
            assert!(
                started.elapsed() < PATIENCE,
                "never told so; told: {:?}",
                self.told
            );
        }
    }

    /// Everything it is told up to now.
    pub fn drain(&mut self) {
        self.connection.sync().unwrap();
        while let Some(event) = self.connection.poll_for_event().unwrap() {
            self.handle(event);
        }
    }

    /// Its connection.
    pub fn connection(&self) -> &RustConnection {
        &self.connection
    }

    /// Paints its window in one colour.
    pub fn paint(&self, colour: u32) {
        let values = ChangeWindowAttributesAux::new().background_pixel(colour);
        self.connection
            .change_window_attributes(self.window, &values)
            .unwrap();
        self.connection
            .clear_area(false, self.window, 0, 0, 0, 0)
            .unwrap();
        self.connection.sync().unwrap();
    }

    /// The characters of the key presses so far.
    pub fn typed(&self) -> String {
        typed(&self.told)
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::MappingNotify(_) => self.map = None,
            Event::KeyPress(event) => {
                let symbol = self.symbol(event.detail, u16::from(event.state));
                self.told.push(Told::Down(name(symbol, u16::from(event.state))));
            }
            Event::KeyRelease(event) => self.told.push(Told::Up(event.detail)),
            Event::ButtonPress(event) => self.told.push(Told::Button(event.detail, true)),
            Event::ButtonRelease(event) => self.told.push(Told::Button(event.detail, false)),
            Event::MotionNotify(event) => self.told.push(Told::Moved(event.root_x, event.root_y)),
            _ => {}
        }
    }

    fn symbol(&mut self, keycode: u8, state: u16) -> u32 {
        let setup = self.connection.setup();
        let (lowest, count) = (setup.min_keycode, setup.max_keycode - setup.min_keycode + 1);
        if self.map.is_none() {
            self.map = Some(
                self.connection
                    .get_keyboard_mapping(lowest, count)
                    .unwrap()
                    .reply()
                    .unwrap(),
            );
        }
        let map = self.map.as_ref().unwrap();
        let width = usize::from(map.keysyms_per_keycode);
        let symbols = &map.keysyms[usize::from(keycode - lowest) * width..][..width];
        let shift = state & u16::from(KeyButMask::SHIFT) != 0;
        let lock = state & u16::from(KeyButMask::LOCK) != 0;
        let level3 = state & u16::from(KeyButMask::MOD5) != 0 && width > 4;
        let letter = (0x61..=0x7A).contains(&symbols[0]);
        let upper = shift != (lock && letter);
        symbols[if level3 { 4 } else { 0 } + usize::from(upper)]
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.connection.destroy_window(self.window);
    }
}

/// The characters of key presses.
pub fn typed(told: &[Told]) -> String {
    told.iter()
        .filter_map(|told| {
            if let Told::Down(name) = told {
                Some(name.as_str())
            } else {
                None
            }
        })
        .collect()
}

fn name(symbol: u32, state: u16) -> String {
    let mut name = String::new();
    for (bit, held) in [(4, "C-"), (8, "A-"), (64, "M-")] {
        if state & bit != 0 {
            name.push_str(held);
        }
    }
    let symbol = xkeysym::Keysym::new(symbol);
    match symbol.key_char().filter(|c| !c.is_control()) {
        Some(c) => name.push(c),
        None => name.push_str(&format!(
            "<{}>",
            symbol.name().unwrap_or("?").trim_start_matches("XK_")
        )),
    }
    name
}
