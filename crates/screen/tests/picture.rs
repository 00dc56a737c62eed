//! A page shows exactly what the X server shows, whatever is drawn and whoever watches.
#![allow(clippy::unwrap_used, reason = "what fails in a test says so by panicking")]

mod harness;

use berth_screen::{Screen, Visitor};
use harness::{Page, Server, picture};
use x11rb::connection::Connection;
use x11rb::protocol::randr::ConnectionExt as _;
use x11rb::protocol::xproto::*;
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

type XScreen = x11rb::protocol::xproto::Screen;

/// An application that draws.
struct Drawing {
    x: (RustConnection, XScreen),
    window: Window,
    gc: Gcontext,
}

impl Drawing {
    fn open(server: &Server, width: u16, height: u16) -> Self {
        let x = server.connect();
        let (connection, screen) = &x;
        let (window, gc) = (
            connection.generate_id().unwrap(),
            connection.generate_id().unwrap(),
        );
        let values = CreateWindowAux::new()
            .override_redirect(1)
            .background_pixel(0x20_40_60)
            .event_mask(EventMask::EXPOSURE);
        let class = WindowClass::INPUT_OUTPUT;
        connection
            .create_window(0, window, screen.root, 0, 0, width, height, 0, class, 0, &values)
            .unwrap();
        connection
            .create_gc(gc, window, &CreateGCAux::new().graphics_exposures(0))
            .unwrap();
        connection.map_window(window).unwrap();
        connection.sync().unwrap();
        Self { x, window, gc }
    }

    fn colour(&self, colour: u32) -> &RustConnection {
        self.x
            .0
            .change_gc(self.gc, &ChangeGCAux::new().foreground(colour))
            .unwrap();
        &self.x.0
    }

    fn fill(&self, colour: u32, x: i16, y: i16, width: u16, height: u16) {
        let area = Rectangle { x, y, width, height };
        self.colour(colour)
            .poly_fill_rectangle(self.window, self.gc, &[area])
            .unwrap();
    }

    /// Lines of glyph-like bars, each unlike the others.
    fn lines(&self, first: i16, last: i16, seed: u32) {
        for y in first..last {
            let mut x = 3;
            let mut n = (y as u32 / 12 + seed).wrapping_mul(2_654_435_761) | 1;
            while x < 500 {
                let width = (n >> 28) as u16 % 7 + 1;
                self.fill(if n & 8 == 0 { 0xE0_E0_E0 } else { 0x30_90_30 }, x, y, width, 1);
                x += width as i16 + (n >> 20) as i16 % 5 + 1;
                n = n.wrapping_mul(747_796_405).wrapping_add(y as u32);
            }
        }
    }

    fn photo(&self, x: i16, y: i16, width: u16, height: u16, seed: u32) {
        let pixel = |n: u32| (n ^ seed).wrapping_mul(2_654_435_761).to_le_bytes();
        let data: Vec<u8> = (0..u32::from(width) * u32::from(height))
            .flat_map(pixel)
            .collect();
        let format = ImageFormat::Z_PIXMAP;
        self.x
            .0
            .put_image(format, self.window, self.gc, width, height, x, y, 0, 24, &data)
            .unwrap();
    }

    fn scroll(&self, by: i16, width: u16, top: i16, height: u16) {
        let (from, to) = if by < 0 { (top - by, top) } else { (top, top + by) };
        let height = height - by.unsigned_abs();
        self.x
            .0
            .copy_area(self.window, self.window, self.gc, 0, from, 0, to, width, height)
            .unwrap();
    }
}

#[tokio::test]
async fn whatever_is_drawn_arrives_exactly() {
    let server = Server::start("799x601");
    let draw = Drawing::open(&server, 799, 601);
    let screen = Screen::open(&server.display).unwrap();
    let mut page = Page::open(&screen);
    page.catch_up(&draw.x).await;
    assert_eq!(page.painter.size(), (799, 601));

    draw.lines(0, 600, 1);
    page.catch_up(&draw.x).await;
    draw.photo(301, 77, 203, 99, 5);
    page.catch_up(&draw.x).await;
    for round in 0..10 {
        draw.scroll(-12, 520, 0, 601);
        draw.fill(0x10_10_10, 0, 589, 520, 12);
        draw.lines(589, 601, round);
        draw.fill(0xFF_00_00 + round * 20, 790, 300, 1, 1);
        page.catch_up(&draw.x).await;
    }
    for seed in 0..5 {
        draw.scroll(17, 400, 100, 300);
        draw.photo(0, 100, 100, 17, seed);
    }
    page.catch_up(&draw.x).await;
    draw.fill(0xAB_CD_EF, 0, 0, 799, 601);
    page.catch_up(&draw.x).await;
}

#[tokio::test]
async fn a_scroll_costs_the_new_line_only() {
    let server = Server::start("800x600");
    let draw = Drawing::open(&server, 800, 600);
    draw.lines(0, 600, 1);
    let screen = Screen::open(&server.display).unwrap();
    let mut page = Page::open(&screen);
    page.until(|page| !page.painter.cursor.is_empty()).await;
    page.catch_up(&draw.x).await;
    let before = page.bytes;
    draw.scroll(-12, 520, 0, 600);
    page.catch_up(&draw.x).await;
    assert!(page.bytes - before < 400, "{} bytes", page.bytes - before);
}

#[tokio::test]
async fn without_shared_memory_captures_come_through_the_connection() {
    let server = Server::start_without("320x200", &["MIT-SHM"]);
    let draw = Drawing::open(&server, 320, 200);
    let screen = Screen::open(&server.display).unwrap();
    let mut page = Page::open(&screen);
    page.catch_up(&draw.x).await;
    draw.photo(10, 10, 203, 99, 5);
    page.catch_up(&draw.x).await;
}

#[tokio::test]
async fn a_server_that_lacks_an_extension_is_refused_by_name() {
    let server = Server::start_without("64x64", &["DAMAGE"]);
    let error = Screen::open(&server.display).unwrap_err().to_string();
    assert!(error.contains("has no `DAMAGE` extension"), "{error}");
}

#[tokio::test]
async fn a_page_that_cannot_inflate_is_served_too() {
    let server = Server::start("320x200");
    let draw = Drawing::open(&server, 320, 200);
    let screen = Screen::open(&server.display).unwrap();
    let mut page = Page::with_capabilities(&screen, 0);
    page.catch_up(&draw.x).await;
    draw.lines(0, 200, 3);
    page.catch_up(&draw.x).await;
}

/// A film in the middle of the window, drawn as fast as `page` follows; then exactly what is on the screen.
async fn watch_film(draw: &Drawing, page: &mut Page) {
    page.catch_up(&draw.x).await;
    let mut seed = 0;
    while page.painter.frames < 20 {
        seed += 1;
        draw.photo(40, 40, 256, 192, seed);
        draw.fill(seed * 77, 5, 5, 20, 10);
        draw.x.0.sync().unwrap();
        assert!(page.step().await);
    }
    page.catch_up(&draw.x).await;
}

#[tokio::test]
async fn a_film_comes_as_video_and_is_exact_when_it_stops() {
    let server = Server::start("641x479");
    let draw = Drawing::open(&server, 641, 479);
    draw.lines(0, 470, 1);
    let screen = Screen::open(&server.display).unwrap();
    for capabilities in [1 | 2, 1 | 4] {
        watch_film(&draw, &mut Page::with_capabilities(&screen, capabilities)).await;
    }
}

#[tokio::test]
async fn a_page_whose_decoder_fails_gets_a_key_frame_and_then_no_video() {
    let server = Server::start("640x480");
    let draw = Drawing::open(&server, 640, 480);
    let screen = Screen::open(&server.display).unwrap();
    let mut page = Page::with_capabilities(&screen, 1 | 2 | 4);
    watch_film(&draw, &mut page).await;
    page.viewer.receive(&[10, 0]).unwrap();
    page.painter.lose_video();
    page.painter.frames = 0;
    watch_film(&draw, &mut page).await;
    page.viewer.receive(&[10, 1]).unwrap();
    page.painter.lose_video();
    page.painter.frames = 0;
    watch_film(&draw, &mut page).await;
}

#[tokio::test]
async fn a_page_that_falls_behind_skips_and_holds_up_nobody() {
    let server = Server::start("640x480");
    let draw = Drawing::open(&server, 640, 480);
    let screen = Screen::open(&server.display).unwrap();
    let (mut quick, mut slow) = (Page::open(&screen), Page::open(&screen));
    quick.catch_up(&draw.x).await;
    slow.catch_up(&draw.x).await;
    assert_eq!(screen.viewers(), 2);

    // The slow one takes what it is given until nothing more comes, and acknowledges nothing.
    let mut held = Vec::new();
    for n in 0..40u32 {
        draw.photo((n * 7) as i16, (n * 3) as i16, 64, 40, n);
        quick.catch_up(&draw.x).await;
        let given = futures_util::FutureExt::now_or_never(slow.step_silently());
        held.extend(given.flatten().flatten());
    }
    assert!(
        held.len() <= 8,
        "{} updates without an acknowledgement",
        held.len()
    );
    assert!(quick.updates >= 40);
    for seq in held {
        slow.acknowledge(seq);
    }
    slow.catch_up(&draw.x).await;
    assert!(slow.updates < quick.updates);

    // One that comes late, and one that goes, change nothing for the others.
    let mut late = Page::open(&screen);
    drop(quick);
    draw.lines(0, 200, 9);
    late.catch_up(&draw.x).await;
    slow.catch_up(&draw.x).await;
    assert_eq!(screen.viewers(), 2);
}

#[tokio::test]
async fn a_change_of_size_starts_over() {
    let server = Server::start("800x600");
    let draw = Drawing::open(&server, 800, 600);
    let screen = Screen::open(&server.display).unwrap();
    let mut page = Page::open(&screen);
    page.catch_up(&draw.x).await;
    draw.lines(0, 600, 1);

    let (connection, x) = &draw.x;
    let resources = connection
        .randr_get_screen_resources(x.root)
        .unwrap()
        .reply()
        .unwrap();
    let crtc = resources.crtcs[0];
    let info = connection
        .randr_get_crtc_info(crtc, resources.config_timestamp)
        .unwrap()
        .reply()
        .unwrap();
    let none = x11rb::NONE;
    let time = resources.config_timestamp;
    connection
        .randr_set_crtc_config(crtc, 0, time, 0, 0, none, info.rotation, &[])
        .unwrap()
        .reply()
        .unwrap();
    connection
        .randr_set_screen_size(x.root, 640, 360, 200, 100)
        .unwrap()
        .check()
        .unwrap();

    page.until(|page| page.painter.hellos == 2).await;
    assert_eq!(page.painter.size(), (640, 360));
    page.catch_up(&draw.x).await;
    draw.fill(0x55_66_77, 100, 100, 300, 200);
    page.catch_up(&draw.x).await;
}

#[tokio::test]
async fn the_pointers_shape_comes_once_and_when_it_changes() {
    let server = Server::start("320x200");
    let draw = Drawing::open(&server, 320, 200);
    let screen = Screen::open(&server.display).unwrap();
    let mut page = Page::open(&screen);
    page.until(|page| !page.painter.cursor.is_empty()).await;
    page.catch_up(&draw.x).await;
    let first = page.painter.cursor.clone();

    // A bar of 8 by 16, and the pointer is on the window.
    let (connection, x) = &draw.x;
    let [bits, mask, cursor] = [(); 3].map(|()| connection.generate_id().unwrap());
    let one = connection.generate_id().unwrap();
    for pixmap in [bits, mask] {
        connection.create_pixmap(1, pixmap, x.root, 8, 16).unwrap();
    }
    connection
        .create_gc(one, mask, &CreateGCAux::new().foreground(1))
        .unwrap();
    let all = Rectangle {
        x: 0,
        y: 0,
        width: 8,
        height: 16,
    };
    for pixmap in [bits, mask] {
        connection.poly_fill_rectangle(pixmap, one, &[all]).unwrap();
    }
    connection
        .create_cursor(cursor, bits, mask, 0xFFFF, 0, 0, 0, 0, 0, 3, 7)
        .unwrap();
    connection
        .change_window_attributes(draw.window, &ChangeWindowAttributesAux::new().cursor(cursor))
        .unwrap();
    connection.sync().unwrap();
    page.until(|page| page.painter.cursor != first).await;
    assert_eq!(page.painter.cursor[..9], [5, 8, 0, 16, 0, 3, 0, 7, 0]);
    assert_eq!(page.painter.cursor[9..13], [255, 0, 0, 255]);
}

#[tokio::test]
async fn a_screen_whose_server_is_gone_says_so_and_its_viewers_end() {
    let mut server = Server::start("320x200");
    let screen = Screen::open(&server.display).unwrap();
    let mut page = Page::open(&screen);
    assert!(page.step().await);
    assert!(!screen.is_closed());
    server.stop();
    while page.step().await {}
    screen.closed().await;
    assert!(screen.is_closed());
    let late = screen.attach(Visitor::owner());
    assert_eq!(late.next().await, None);
    let error = Screen::open(&server.display).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("no X server answers on display `{}`", server.display)
    );
}

#[tokio::test]
async fn no_more_viewers_than_there_is_room_for() {
    let server = Server::start("64x64");
    let screen = Screen::open(&server.display).unwrap();
    let viewers: Vec<_> = (0..berth_screen::MAX_VIEWERS)
        .map(|_| screen.attach(Visitor::owner()))
        .collect();
    assert_eq!(screen.attach(Visitor::owner()).next().await, None);
    drop(viewers);
    let mut page = Page::open(&screen);
    assert!(page.step().await);
}

#[tokio::test]
async fn messages_out_of_place_are_refused() {
    let server = Server::start("64x64");
    let screen = Screen::open(&server.display).unwrap();
    let viewer = screen.attach(Visitor::owner());
    let refused = |message: &[u8]| viewer.receive(message).unwrap_err().to_string();
    assert_eq!(
        refused(&[9, 1, 0, 0, 0]),
        "`anything but hello` is out of place: one hello comes first"
    );
    // With the URL, and on the socket.
    viewer.receive(&[1, 1, 0, 0, 0, 0, 1]).unwrap();
    viewer.receive(&[1, 1, 0, 0, 0, 0, 1]).unwrap();
    assert_eq!(
        refused(&[1, 1, 0, 0, 0, 0, 0]),
        "`hello` is out of place: one hello comes first"
    );
    assert_eq!(
        refused(&[2, 200, 0, 0, 0]),
        "update 200 is acknowledged but was not sent"
    );
}

/// Times that a thread of this process went to sleep by itself.
fn sleeps(thread: &str) -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks
        .filter_map(|task| fs_err::read_to_string(task.unwrap().path().join("status")).ok())
        .filter(|status| status.lines().next().is_some_and(|name| name.ends_with(thread)))
        .flat_map(|status| status.lines().map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|line| {
            line.strip_prefix("voluntary_ctxt_switches:")
                .and_then(|n| n.trim().parse::<u64>().ok())
        })
        .sum()
}

#[test]
fn nothing_runs_while_nothing_changes() {
    // The only test whose screen's threads must not be confused with another's: so it runs in a process of its own.
    if std::env::var_os("BERTH_TEST_ALONE").is_none() {
        let this = std::env::current_exe().unwrap();
        let alone = std::process::Command::new(this)
            .args(["--exact", "nothing_runs_while_nothing_changes"])
            .env("BERTH_TEST_ALONE", "1")
            .status();
        assert!(alone.unwrap().success());
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let server = Server::start("640x480");
        let draw = Drawing::open(&server, 640, 480);
        let screen = Screen::open(&server.display).unwrap();
        let mut page = Page::open(&screen);
        page.until(|page| !page.painter.cursor.is_empty()).await;
        page.catch_up(&draw.x).await;
        // Watched, in step, and waiting for more.
        assert!(futures_util::FutureExt::now_or_never(page.step_silently()).is_none());
        let before = sleeps("screen-capture");
        for _ in 0..2000 {
            draw.x.0.sync().unwrap();
        }
        // It may have been on its way to sleep; a timer would have woken it again and again.
        let after = sleeps("screen-capture");
        assert!(
            after < before + 4,
            "{} wakings while a viewer waits",
            after - before
        );
        drop(page);
        // The X server has answered after the viewer was taken off, so what is drawn now finds nobody.
        let mut last = picture(&draw.x);
        for n in 0..100 {
            draw.fill(n, 0, 0, 600, 400);
            last = picture(&draw.x);
        }
        assert_eq!(last.1, 640);
        let after = sleeps("screen-capture");
        assert!(
            after < before + 14,
            "drawing wakes nobody while nobody watches: {after}, {before} before"
        );
    });
}
