//! What the live view costs: processor time of the capture thread and bytes for one update of each kind.
//!
//! ```text
//! Xvfb :5 -screen 0 1280x720x24 & cargo run --release -p berth-screen --example cost -- --display :5
//! ```
//!
//! Draws on the display itself, as an application would, and takes updates as pages on a quick link do, by one viewer and by
//! several.
#![allow(clippy::print_stdout, reason = "a program for a terminal")]

use std::error::Error;
use std::time::{Duration, Instant};

use berth_screen::{Screen, Viewer, Visitor};
use clap::Parser;
use futures_util::future::try_join_all;
use x11rb::connection::Connection;
use x11rb::protocol::xproto::*;
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

const ROUNDS: u32 = 40;

#[derive(Parser)]
struct Args {
    /// The X display to draw on.
    #[arg(long)]
    display: String,
    /// How many watch, in each round of measurements.
    #[arg(long, value_delimiter = ',', default_value = "1,5,20")]
    viewers: Vec<usize>,
    /// Only this kind of update.
    #[arg(long)]
    kind: Option<String>,
}

/// Draws once more, differently for each number.
type Draw<'a> = dyn Fn(u32) -> Result<(), Box<dyn Error>> + 'a;

struct Canvas {
    connection: RustConnection,
    window: Window,
    gc: Gcontext,
    width: u16,
    height: u16,
}

impl Canvas {
    fn open(display: &str) -> Result<Self, Box<dyn Error>> {
        let (connection, screen) = RustConnection::connect(Some(display))?;
        let screen = &connection.setup().roots[screen];
        let (width, height) = (screen.width_in_pixels, screen.height_in_pixels);
        let (window, gc, root) = (connection.generate_id()?, connection.generate_id()?, screen.root);
        let values = CreateWindowAux::new()
            .override_redirect(1)
            .background_pixel(0x10_14_18);
        let class = WindowClass::INPUT_OUTPUT;
        connection.create_window(0, window, root, 0, 0, width, height, 0, class, 0, &values)?;
        connection.create_gc(gc, window, &CreateGCAux::new().graphics_exposures(0))?;
        connection.map_window(window)?;
        connection.sync()?;
        Ok(Self {
            connection,
            window,
            gc,
            width,
            height,
        })
    }

    /// Something like a letter, in five shades.
    fn glyph(&self, column: u32, row: u32, seed: u32) -> Result<(), Box<dyn Error>> {
        let mut data = Vec::new();
        for n in 0..8 * 14u32 {
            let shade = ((n / 2 * 7 + seed * 31) ^ (n * seed)) % 5 * 50;
            data.extend([shade as u8 + 16, shade as u8 + 20, shade as u8 + 24, 0]);
        }
        let (x, y) = ((column * 8) as i16, (row * 14) as i16);
        self.connection.put_image(
            ImageFormat::Z_PIXMAP,
            self.window,
            self.gc,
            8,
            14,
            x,
            y,
            0,
            24,
            &data,
        )?;
        Ok(())
    }

    fn line(&self, row: u32, seed: u32) -> Result<(), Box<dyn Error>> {
        for column in 0..u32::from(self.width) / 8 {
            let letter = (column * 7919 + seed * 104_729) % 97 % 40;
            // A third of a line of text is blank.
            if letter < 26 {
                self.glyph(column, row, letter)?;
            }
        }
        Ok(())
    }

    fn scroll(&self, seed: u32) -> Result<(), Box<dyn Error>> {
        let rows = u32::from(self.height) / 14;
        let moved = (rows * 14 - 14) as u16;
        self.connection
            .copy_area(self.window, self.window, self.gc, 0, 14, 0, 0, self.width, moved)?;
        self.connection
            .clear_area(false, self.window, 0, moved as i16, self.width, 14)?;
        self.line(rows - 1, seed)
    }

    fn photo(&self, seed: u32) -> Result<(), Box<dyn Error>> {
        let rows = 90;
        for top in (0..self.height).step_by(usize::from(rows)) {
            let mut data = Vec::new();
            for n in 0..u32::from(rows) * u32::from(self.width) {
                let (x, y) = (
                    n % u32::from(self.width),
                    n / u32::from(self.width) + u32::from(top),
                );
                // A gradient that pans, with grain.
                let grain = (n ^ seed).wrapping_mul(2_654_435_761) >> 29;
                data.extend(
                    [
                        (x + seed * 3) / 5 + grain,
                        (y + seed) / 3 + grain,
                        (x + y) / 8 + grain,
                    ]
                    .map(|n| n as u8),
                );
                data.push(0);
            }
            let format = ImageFormat::Z_PIXMAP;
            self.connection.put_image(
                format,
                self.window,
                self.gc,
                self.width,
                rows,
                0,
                top as i16,
                0,
                24,
                &data,
            )?;
        }
        Ok(())
    }
}

/// Takes messages until there are none for `span`; gives their bytes and the number of updates.
async fn take(viewer: &Viewer, span: Duration) -> Result<(usize, u32), Box<dyn Error>> {
    let (mut bytes, mut updates) = (0, 0);
    while let Ok(Some(message)) = tokio::time::timeout(span, viewer.next()).await {
        if matches!(message[0], 2..=4) {
            updates += 1;
            bytes += message.len();
            for kind in [2, 3] {
                viewer.receive(&[&[kind], &message[1..5]].concat())?;
            }
        }
    }
    Ok((bytes, updates))
}

/// All take; what the first one got is counted.
async fn take_all(viewers: &[Viewer], span: Duration) -> Result<(usize, u32), Box<dyn Error>> {
    let taken = try_join_all(viewers.iter().map(|viewer| take(viewer, span))).await?;
    Ok(taken[0])
}

/// Processor time of the capture thread.
fn spent() -> Result<Duration, Box<dyn Error>> {
    for task in std::fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        if fs_err::read_to_string(task.join("comm"))?.trim() == "screen-capture" {
            let nanoseconds = fs_err::read_to_string(task.join("schedstat"))?;
            return Ok(Duration::from_nanos(
                nanoseconds.split(' ').next().unwrap_or_default().parse()?,
            ));
        }
    }
    // It has not come so far as to name itself.
    Ok(Duration::ZERO)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let canvas = Canvas::open(&args.display)?;
    for row in 0..u32::from(canvas.height) / 14 {
        canvas.line(row, row)?;
    }
    canvas.connection.sync()?;
    let (width, height) = (canvas.width, canvas.height);
    println!("{width} x {height}, processor time of the capture thread");
    for viewers in args.viewers {
        println!("\n{viewers} viewers");
        measure(&args.display, &canvas, viewers, args.kind.as_deref()).await?;
    }
    Ok(())
}

async fn measure(
    display: &str,
    canvas: &Canvas,
    viewers: usize,
    only: Option<&str>,
) -> Result<(), Box<dyn Error>> {
    let screen = Screen::open(display)?;
    let viewers: Vec<Viewer> = (0..viewers).map(|_| screen.attach(Visitor::owner())).collect();
    let quiet = Duration::from_millis(60);

    let started = spent()?;
    for viewer in &viewers {
        viewer.receive(&[1, 1, 0, 0, 0, 0, 3])?;
    }
    let (bytes, _) = take_all(&viewers, quiet).await?;
    let first = (spent()? - started).as_secs_f64() * 1e3;
    println!("{:<16} {first:>8.2} ms {bytes:>9} bytes", "first picture");

    let kinds: [(&str, &Draw<'_>); 3] = [
        ("key press", &|n| canvas.glyph(n % 100, 7, n % 26)),
        ("scrolled line", &|n| canvas.scroll(n + 99)),
        ("photo, whole", &|n| canvas.photo(n)),
    ];
    for (name, draw) in kinds
        .into_iter()
        .filter(|(name, _)| only.is_none_or(|only| *name == only))
    {
        let (started, mut bytes, mut updates) = (spent()?, 0, 0);
        for n in 0..ROUNDS {
            draw(n)?;
            canvas.connection.sync()?;
            let taken = take_all(&viewers, quiet).await?;
            bytes += taken.0;
            updates += taken.1;
        }
        let each = (spent()? - started).as_secs_f64() * 1e3 / f64::from(ROUNDS);
        let (bytes, updates) = (
            bytes as f64 / f64::from(ROUNDS),
            f64::from(updates) / f64::from(ROUNDS),
        );
        println!("{name:<16} {each:>8.2} ms {bytes:>9.0} bytes {updates:>5.1} updates");
    }

    // What is still on its way belongs to the last kind.
    take_all(&viewers, Duration::from_millis(500)).await?;
    let (started, clock) = (spent()?, Instant::now());
    take_all(&viewers, Duration::from_secs(3)).await?;
    let share = (spent()? - started).as_secs_f64() / clock.elapsed().as_secs_f64() * 100.0;
    println!("{:<16} {share:>8.3} % of a core", "watched, still");
    Ok(())
}
