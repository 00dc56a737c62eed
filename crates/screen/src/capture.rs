//! The capture thread: sleeps until the screen changed *and* someone can take it, then captures, encodes, hands out.
//!
//! ```text
//! damage, cursor, size events --+
//! viewers come, go, can take ---+--> due? --> capture the damaged rectangles --> Audience --> each viewer's stream
//! ```
//!
//! Without viewers nothing is asked of the X server, so nothing wakes the thread. With viewers that cannot take more,
//! damage only accumulates, in the X server itself: it is subtracted right before a capture.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use tracing::{debug, info};
use x11rb::connection::{Connection, RequestConnection};
use x11rb::errors::{ConnectionError, ReplyError, ReplyOrIdError};
use x11rb::protocol::damage::{self, ConnectionExt as _};
use x11rb::protocol::randr::{self, ConnectionExt as _};
use x11rb::protocol::xfixes::{self, ConnectionExt as _};
use x11rb::protocol::xproto::{ChangeWindowAttributesAux, ConnectionExt as _, EventMask, Window};
use x11rb::protocol::{Event, xtest};
use x11rb::rust_connection::RustConnection;

use crate::connect::connect;
use crate::core::Core;
use crate::error::ScreenError;
use crate::grab::is_true_colour;
use crate::picture::{MAX_PIXELS, Rect};
use crate::resize;
use crate::seat::Seat;
use crate::watch::Watch;
use crate::wire::server;

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
    /// Captures that were refused since the last one that was not.
    refusals: u32,
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
        let (connection, screen) = connect(display)?;
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
            refusals: 0,
        })
    }

    /// Runs until the last handle or the X server is gone.
    pub fn run(mut self) {
        match self.serve() {
            Ok(()) => debug!("the screen's last handle is gone"),
            Err(error) => info!(error = &error as &dyn std::error::Error, "the screen is gone"),
        }
    }

    fn serve(&mut self) -> Result<(), CaptureError> {
        while !self.core.is_stopping() {
            if let Some((width, height)) = self.core.take_size() {
                self.resize(width, height)?;
            }
            let busy = self.follow_roster()? | self.send_notices_if_due()? | self.capture_if_due()?;
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
                    if let Some(watch) = self.watch.as_mut().filter(|watch| watch.is_told_by(event.damage)) {
                        let clip = |n: i16| usize::try_from(n).unwrap_or(0);
                        let (x, y) = (clip(event.area.x), clip(event.area.y));
                        let (width, height) = (usize::from(event.area.width), usize::from(event.area.height));
                        watch.damaged(&Rect::at(x, y, width, height));
                    }
                }
                Event::XfixesCursorNotify(_) => {
                    if let Some(watch) = &mut self.watch {
                        watch.cursor_changed();
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

    /// Gives the screen another size; the X server's word of it makes the viewers start over.
    fn resize(&mut self, width: u16, height: u16) -> Result<(), CaptureError> {
        match resize::apply(&self.connection, self.root, width, height) {
            Ok(()) => Ok(()),
            Err(ReplyOrIdError::X11Error(error)) => {
                debug!(?error, "the X server refused another size");
                self.follow_size()
            }
            Err(error) => Err(error.into()),
        }
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
            for seat in watch.end(&self.connection, self.root)? {
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
            watch.keep(&seats);
        }
        for seat in seats {
            match self.watch.as_mut().filter(|watch| watch.has(&seat)) {
                Some(watch) => watch.follow_decoder(&seat),
                None if seat.page().is_some() => self.admit(seat)?,
                None => {}
            }
        }
        if let Some(watch) = self.watch.take_if(|watch| watch.is_unwatched()) {
            watch.end(&self.connection, self.root)?;
        }
        Ok(true)
    }

    /// Sends `seat` the screen's size, and from now on what it shows.
    fn admit(&mut self, seat: Arc<Seat>) -> Result<(), CaptureError> {
        let watch = match &mut self.watch {
            Some(watch) => watch,
            none => none.insert(Watch::start(
                &self.connection,
                self.root,
                self.size,
                Arc::clone(&self.core),
            )?),
        };
        seat.send([server::hello(self.size.0, self.size.1)]);
        watch.admit(seat);
        Ok(())
    }

    /// When there is something to do again, without anyone ringing.
    fn next_due(&self, now: Instant) -> Option<Instant> {
        let watch = self.watch.as_ref()?;
        watch
            .capture_due(now)
            .into_iter()
            .chain(watch.notices_due(now))
            .min()
    }

    fn send_notices_if_due(&mut self) -> Result<bool, CaptureError> {
        let now = Instant::now();
        let Some(watch) = self
            .watch
            .as_mut()
            .filter(|watch| watch.notices_due(now).is_some_and(|due| due <= now))
        else {
            return Ok(false);
        };
        watch.send_notices(&self.connection, now)?;
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
            Ok(()) => self.refusals = 0,
            // The screen may just have become smaller than what was asked for.
            Err(ReplyError::X11Error(error)) if self.refusals < MAX_REFUSALS => {
                debug!(?error, "a capture was refused");
                self.refusals += 1;
                watch.captured(started);
                self.follow_size()?;
                return Ok(true);
            }
            Err(error) => return Err(error.into()),
        }
        watch.update()?;
        watch.captured(started);
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
