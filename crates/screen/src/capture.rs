//! The capture thread: sleeps until the screen changed *and* someone can take it, then captures, encodes, hands out.
//!
//! ```text
//! damage, cursor, size events --+
//! viewers come, go, can take ---+--> due? --> capture the damaged rectangles --> Audience --> each viewer's stream
//! ```
//!
//! Without viewers nothing is asked of the X server, so nothing wakes the thread. With viewers that cannot take more,
//! damage only accumulates, in the X server itself: it is subtracted right before a capture.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::{debug, info};
use x11rb::connection::{Connection, RequestConnection};
use x11rb::errors::{ConnectionError, ReplyError, ReplyOrIdError};
use x11rb::protocol::damage::{self, ConnectionExt as _, ReportLevel};
use x11rb::protocol::randr::{self, ConnectionExt as _};
use x11rb::protocol::xfixes::{self, ConnectionExt as _, CursorNotifyMask};
use x11rb::protocol::xproto::{ChangeWindowAttributesAux, ConnectionExt as _, EventMask, Window};
use x11rb::protocol::{Event, xtest};
use x11rb::rust_connection::RustConnection;

use crate::audience::{Audience, ViewerId};
use crate::core::Core;
use crate::cursor;
use crate::deflate::Deflate;
use crate::grab::{Grabber, is_true_colour};
use crate::ops::Ops;
use crate::pace::{Pace, SETTLE};
use crate::picture::{MAX_PIXELS, Picture, Rect};
use crate::region::Region;
use crate::screen::ScreenError;
use crate::seat::Seat;
use crate::wire::server;

/// Between two shapes of the pointer: an animated one must not crowd out the picture.
const CURSOR_GAP: Duration = Duration::from_millis(50);

/// Captures that the X server may refuse one after the other. A screen that shrinks refuses one.
const MAX_REFUSALS: u32 = 20;

/// The thread's state.
pub struct Capture {
    core: Arc<Core>,
    connection: RustConnection,
    root: Window,
    size: (u16, u16),
    roster_version: u64,
    /// There while someone watches.
    watch: Option<Watch>,
}

/// What exists only while someone watches.
struct Watch {
    damage: damage::Damage,
    grabber: Grabber,
    picture: Picture,
    /// Damaged and not captured.
    pending: Region,
    /// When the first of `pending` was damaged.
    changed_at: Option<Instant>,
    pace: Pace,
    audience: Audience,
    watchers: Vec<Watcher>,
    ops: Ops,
    cursor: Cursor,
    refusals: u32,
}

/// One viewer, as this thread sees it.
struct Watcher {
    seat: Arc<Seat>,
    /// There if the page can inflate.
    deflate: Option<Deflate>,
    cursor_shown: u64,
    /// The last input before the capture under way.
    input_seq: u32,
}

#[derive(Default)]
struct Cursor {
    message: Bytes,
    /// Counts shapes; no viewer has been shown shape 0.
    version: u64,
    changed: bool,
    not_before: Option<Instant>,
}

/// Why the thread ended.
#[derive(Debug, thiserror::Error)]
enum CaptureError {
    #[error("the connection to the X server broke")]
    Connection(#[from] ConnectionError),
    #[error("the X server refused a request")]
    Refused(#[from] ReplyOrIdError),
    #[error("could not deflate an update")]
    Deflate(#[from] flate2::CompressError),
    #[error("could not wait for the X server")]
    Wait(#[from] io::Error),
    #[error("the screen has {0} x {1} pixels, more than can be shown")]
    Size(u16, u16),
}

impl From<ReplyError> for CaptureError {
    fn from(error: ReplyError) -> Self {
        Self::Refused(error.into())
    }
}

impl Capture {
    /// Connects, and checks that the X server has what is needed.
    pub fn open(display: &str, core: Arc<Core>) -> Result<Self, ScreenError> {
        let (connection, screen) =
            RustConnection::connect(Some(display)).map_err(|source| ScreenError::Connect {
                display: display.into(),
                source,
            })?;
        let needed = [
            damage::X11_EXTENSION_NAME,
            xfixes::X11_EXTENSION_NAME,
            randr::X11_EXTENSION_NAME,
            xtest::X11_EXTENSION_NAME,
        ];
        let request = |step, source: ReplyError| ScreenError::Request {
            step,
            source: source.into(),
        };
        for extension in needed {
            let found = connection.extension_information(extension);
            if found
                .map_err(|e| request("ask for an extension", e.into()))?
                .is_none()
            {
                return Err(ScreenError::Extension {
                    display: display.into(),
                    extension,
                });
            }
        }
        let root = &connection.setup().roots[screen];
        let (root, depth) = (root.root, root.root_depth);
        if !is_true_colour(&connection, screen) {
            return Err(ScreenError::Depth {
                display: display.into(),
                depth,
            });
        }
        let size = prepare(&connection, root).map_err(|e| request("prepare the capture", e))?;
        let (width, height) = size;
        if usize::from(width) * usize::from(height) > MAX_PIXELS {
            return Err(ScreenError::Size { width, height });
        }
        Ok(Self {
            core,
            connection,
            root,
            size,
            roster_version: 0,
            watch: None,
        })
    }

    /// Runs until the last handle or the X server is gone.
    pub fn run(mut self) {
        match self.serve() {
            Ok(()) => debug!("the screen's last handle is gone"),
            Err(error) => info!(error = &error as &dyn std::error::Error, "the screen is gone"),
        }
        self.core.close();
    }

    fn serve(&mut self) -> Result<(), CaptureError> {
        while !self.core.is_stopping() {
            let busy = self.follow_roster()? | self.send_cursor()? | self.capture_if_due()?;
            self.connection.flush()?;
            // Replies bring events along, and those do not make the connection readable: so this comes last.
            if self.take_events()? | busy {
                continue;
            }
            let now = Instant::now();
            let timeout = self.next_due(now).map(|due| due.saturating_duration_since(now));
            self.core
                .capture
                .sleep(&self.connection.stream().as_fd(), timeout)?;
        }
        Ok(())
    }

    /// Takes in all events that are there; true if there was one.
    fn take_events(&mut self) -> Result<bool, CaptureError> {
        let mut any = false;
        let mut resized = false;
        while let Some(event) = self.connection.poll_for_event()? {
            any = true;
            match event {
                Event::DamageNotify(event) => {
                    if let Some(watch) = self.watch.as_mut().filter(|watch| watch.damage == event.damage) {
                        let clip = |n: i16| usize::try_from(n).unwrap_or(0);
                        let (x, y) = (clip(event.area.x), clip(event.area.y));
                        let (width, height) = (usize::from(event.area.width), usize::from(event.area.height));
                        watch.damaged(&Rect::at(x, y, width, height));
                    }
                }
                Event::XfixesCursorNotify(_) => {
                    if let Some(watch) = &mut self.watch {
                        watch.cursor.changed = true;
                    }
                }
                Event::ConfigureNotify(event) if event.window == self.root => resized = true,
                Event::RandrScreenChangeNotify(_) => resized = true,
                Event::Error(error) => debug!(?error, "the X server refused a request"),
                _ => {}
            }
        }
        if resized {
            self.follow_size()?;
        }
        Ok(any)
    }

    /// Starts over when the screen has another size.
    fn follow_size(&mut self) -> Result<(), CaptureError> {
        let geometry = self.connection.get_geometry(self.root)?.reply()?;
        let size = (geometry.width, geometry.height);
        if size == self.size {
            return Ok(());
        }
        if usize::from(size.0) * usize::from(size.1) > MAX_PIXELS {
            return Err(CaptureError::Size(size.0, size.1));
        }
        self.size = size;
        if let Some(watch) = self.watch.take() {
            let seats: Vec<_> = watch
                .watchers
                .iter()
                .map(|watcher| Arc::clone(&watcher.seat))
                .collect();
            self.unwatch(watch)?;
            for seat in seats {
                self.admit(seat)?;
            }
        }
        Ok(())
    }

    /// Admits viewers that have greeted, and forgets those that left.
    fn follow_roster(&mut self) -> Result<bool, CaptureError> {
        let version = self.core.roster_version();
        if version == self.roster_version {
            return Ok(false);
        }
        self.roster_version = version;
        let seats = self.core.seats();
        if let Some(watch) = &mut self.watch {
            let left = |watcher: &Watcher| !seats.iter().any(|seat| seat.id == watcher.seat.id);
            for gone in watch.watchers.extract_if(.., |watcher| left(watcher)) {
                watch.audience.leave(gone.seat.id);
            }
        }
        for seat in seats {
            let known = |watch: &Watch| watch.watchers.iter().any(|watcher| watcher.seat.id == seat.id);
            if seat.page().is_some() && !self.watch.as_ref().is_some_and(known) {
                self.admit(seat)?;
            }
        }
        if let Some(watch) = self.watch.take_if(|watch| watch.watchers.is_empty()) {
            self.unwatch(watch)?;
        }
        Ok(true)
    }

    /// Sends `seat` the screen's size, and from now on what it shows.
    fn admit(&mut self, seat: Arc<Seat>) -> Result<(), CaptureError> {
        if self.watch.is_none() {
            self.watch = Some(self.start_watching()?);
        }
        let Some(watch) = &mut self.watch else {
            return Ok(());
        };
        seat.send(server::hello(self.size.0, self.size.1));
        watch.audience.join(seat.id, &watch.picture);
        let inflates = seat.page().is_some_and(|page| page.inflates);
        let deflate = inflates.then(Deflate::default);
        watch.watchers.push(Watcher {
            seat,
            deflate,
            cursor_shown: 0,
            input_seq: 0,
        });
        Ok(())
    }

    fn start_watching(&self) -> Result<Watch, CaptureError> {
        let (width, height) = (usize::from(self.size.0), usize::from(self.size.1));
        let grabber = Grabber::new(&self.connection, width * height)?;
        let damage = self.connection.generate_id()?;
        self.connection
            .damage_create(damage, self.root, ReportLevel::DELTA_RECTANGLES)?;
        self.connection
            .xfixes_select_cursor_input(self.root, CursorNotifyMask::DISPLAY_CURSOR)?;
        let picture = Picture::unknown(width, height);
        Ok(Watch {
            damage,
            grabber,
            // What was drawn before the damage was asked for is captured whole.
            pending: Region::of(picture.bounds()),
            changed_at: None,
            picture,
            pace: Pace::default(),
            audience: Audience::default(),
            watchers: Vec::new(),
            ops: Ops::default(),
            cursor: Cursor {
                changed: true,
                ..Cursor::default()
            },
            refusals: 0,
        })
    }

    fn unwatch(&self, watch: Watch) -> Result<(), CaptureError> {
        self.connection.damage_destroy(watch.damage)?;
        self.connection
            .xfixes_select_cursor_input(self.root, CursorNotifyMask::from(0u32))?;
        watch.grabber.release(&self.connection)?;
        Ok(())
    }

    /// When there is something to do again, without anyone ringing.
    fn next_due(&self, now: Instant) -> Option<Instant> {
        let watch = self.watch.as_ref()?;
        watch
            .capture_due(now)
            .into_iter()
            .chain(watch.cursor_due(now))
            .min()
    }

    fn send_cursor(&mut self) -> Result<bool, CaptureError> {
        let Some(watch) = &mut self.watch else {
            return Ok(false);
        };
        let now = Instant::now();
        if watch.cursor_due(now).is_none_or(|due| due > now) {
            return Ok(false);
        }
        if watch.cursor.changed {
            let image = self.connection.xfixes_get_cursor_image()?.reply()?;
            let message = cursor::message(&cursor::Shape {
                width: image.width,
                height: image.height,
                hot_x: image.xhot,
                hot_y: image.yhot,
                pixels: &image.cursor_image,
            });
            watch.cursor.changed = false;
            watch.cursor.not_before = Some(now + CURSOR_GAP);
            if message != watch.cursor.message {
                watch.cursor.message = message;
                watch.cursor.version += 1;
            }
        }
        for watcher in &mut watch.watchers {
            if watcher.cursor_shown != watch.cursor.version && watcher.seat.takes_message() {
                watcher.cursor_shown = watch.cursor.version;
                watcher.seat.send(watch.cursor.message.clone());
            }
        }
        Ok(true)
    }

    fn capture_if_due(&mut self) -> Result<bool, CaptureError> {
        let Some(watch) = &mut self.watch else {
            return Ok(false);
        };
        let started = Instant::now();
        if watch.capture_due(started).is_none_or(|due| due > started) {
            return Ok(false);
        }
        match watch.capture(&self.connection, self.root) {
            Ok(()) => watch.refusals = 0,
            // The screen may just have become smaller than what was asked for.
            Err(ReplyError::X11Error(error)) if watch.refusals < MAX_REFUSALS => {
                debug!(?error, "a capture was refused");
                watch.refusals += 1;
                watch.pace.captured(started, Instant::now());
                self.follow_size()?;
                return Ok(true);
            }
            Err(error) => return Err(error.into()),
        }
        watch.update()?;
        watch.pace.captured(started, Instant::now());
        Ok(true)
    }
}

/// Negotiates versions, asks for size changes, and gives the size.
fn prepare(connection: &RustConnection, root: Window) -> Result<(u16, u16), ReplyError> {
    connection.xfixes_query_version(5, 0)?.reply()?;
    connection.damage_query_version(1, 1)?.reply()?;
    connection.randr_query_version(1, 3)?.reply()?;
    connection.randr_select_input(root, randr::NotifyMask::SCREEN_CHANGE)?;
    let structure = ChangeWindowAttributesAux::new().event_mask(EventMask::STRUCTURE_NOTIFY);
    connection.change_window_attributes(root, &structure)?.check()?;
    let geometry = connection.get_geometry(root)?.reply()?;
    Ok((geometry.width, geometry.height))
}

impl Watch {
    fn damaged(&mut self, rect: &Rect) {
        let rect = rect.intersection(&self.picture.bounds());
        if !rect.is_empty() {
            self.pending.add(rect);
            self.changed_at.get_or_insert_with(Instant::now);
        }
    }

    /// When to capture next; none while nothing changed or nobody can take it.
    fn capture_due(&self, now: Instant) -> Option<Instant> {
        let ready = |id: &ViewerId| self.seat(*id).is_some_and(|seat| seat.budget().is_some());
        let anyone = if self.pending.is_empty() {
            self.audience.behind().any(|id| ready(&id))
        } else {
            // Not `any`: each viewer that is not ready is to call when it is.
            self.watchers
                .iter()
                .filter(|watcher| watcher.seat.budget().is_some())
                .count()
                > 0
        };
        // What waited for a viewer has settled long ago.
        let settled = || now.checked_sub(SETTLE).unwrap_or(now);
        anyone.then(|| self.pace.due(self.changed_at.unwrap_or_else(settled)))
    }

    fn cursor_due(&self, now: Instant) -> Option<Instant> {
        let cursor = &self.cursor;
        let owed = |watcher: &&Watcher| {
            (cursor.changed || watcher.cursor_shown != cursor.version) && watcher.seat.takes_message()
        };
        let anyone = self.watchers.iter().filter(owed).count() > 0;
        let not_before = cursor.not_before.filter(|_| cursor.changed);
        anyone.then(|| not_before.unwrap_or(now))
    }

    fn seat(&self, id: ViewerId) -> Option<&Arc<Seat>> {
        self.watchers
            .iter()
            .map(|watcher| &watcher.seat)
            .find(|seat| seat.id == id)
    }

    /// Brings the picture up to date.
    fn capture(&mut self, connection: &RustConnection, root: Window) -> Result<(), ReplyError> {
        for watcher in &mut self.watchers {
            watcher.input_seq = watcher.seat.last_input();
        }
        if self.pending.is_empty() {
            return Ok(());
        }
        // First subtract, then look: what is drawn in between is both seen now and reported again.
        connection.damage_subtract(self.damage, x11rb::NONE, x11rb::NONE)?;
        for rect in self.pending.rects() {
            self.grabber.grab(connection, root, &mut self.picture, rect)?;
        }
        self.audience.changed(&self.pending);
        self.pending = Region::default();
        self.changed_at = None;
        Ok(())
    }

    /// Sends every viewer that can take it what it lacks.
    fn update(&mut self) -> Result<(), CaptureError> {
        let Self {
            picture,
            audience,
            watchers,
            ops,
            ..
        } = self;
        let budgets: HashMap<ViewerId, usize> = watchers
            .iter()
            .filter_map(|watcher| Some((watcher.seat.id, watcher.seat.budget()?)))
            .collect();
        let mut sent = Ok(());
        audience.update(
            picture,
            ops,
            |id| budgets.get(&id).copied(),
            |ids, ops| {
                for watcher in watchers
                    .iter_mut()
                    .filter(|watcher| ids.contains(&watcher.seat.id))
                {
                    if sent.is_ok() {
                        sent = watcher.send(ops.bytes());
                    }
                }
            },
        );
        sent
    }
}

impl Watcher {
    fn send(&mut self, ops: &[u8]) -> Result<(), CaptureError> {
        let seq = self.seat.next_seq();
        let message = match &mut self.deflate {
            Some(deflate) => {
                // Operations are bounded far below 4 GiB.
                let mut message = server::update_head(seq, self.input_seq, ops.len() as u32);
                deflate.append(ops, &mut message)?;
                Bytes::from(message)
            }
            None => server::update_plain(seq, self.input_seq, ops),
        };
        self.seat.send_update(message);
        Ok(())
    }
}
