//! What there is while someone watches a screen: its picture, who watches, and what each of them is owed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flate2::CompressError;
use x11rb::connection::Connection;
use x11rb::errors::{ConnectionError, ReplyError, ReplyOrIdError};
use x11rb::protocol::damage::{ConnectionExt as _, Damage, ReportLevel};
use x11rb::protocol::xfixes::{ConnectionExt as _, CursorNotifyMask};
use x11rb::protocol::xproto::Window;
use x11rb::rust_connection::RustConnection;

use crate::audience::{Abilities, Audience, Part, Update, ViewerId};
use crate::core::Core;
use crate::encode::Allowance;
use crate::grab::Grabber;
use crate::notices::{Notices, Told};
use crate::pace::{Pace, settle};
use crate::picture::{Picture, Rect};
use crate::region::Region;
use crate::resize;
use crate::seat::Seat;
use crate::video::VideoCodec;
use crate::wire::page::{Hello, VideoFailure};
use crate::wire::server;

/// After a person's input, what it changes does not wait for others' share of the processor.
const URGENT_SPAN: Duration = Duration::from_millis(100);

/// The state of a screen that is watched.
pub struct Watch {
    damage: Damage,
    grabber: Grabber,
    picture: Picture,
    /// Damaged and not captured.
    pending: Region,
    /// When the first of `pending` was damaged.
    changed_at: Option<Instant>,
    pace: Pace,
    /// When a viewer's input was last seen to have reached the X server.
    acted_at: Option<Instant>,
    audience: Audience,
    watchers: Vec<Watcher>,
    notices: Notices,
}

/// One viewer, as this thread sees it.
struct Watcher {
    seat: Arc<Seat>,
    told: Told,
    /// The last input before the capture under way.
    input_seq: u32,
}

impl Watch {
    /// Asks the X server to report changes from now on.
    pub fn start(
        connection: &RustConnection,
        root: Window,
        size: (u16, u16),
        core: Arc<Core>,
    ) -> Result<Self, ReplyOrIdError> {
        let (width, height) = (usize::from(size.0), usize::from(size.1));
        let grabber = Grabber::new(connection, width * height)?;
        let damage = connection.generate_id()?;
        connection.damage_create(damage, root, ReportLevel::DELTA_RECTANGLES)?;
        connection.xfixes_select_cursor_input(root, CursorNotifyMask::DISPLAY_CURSOR)?;
        let picture = Picture::unknown(width, height);
        let largest = resize::largest(connection, root)?;
        Ok(Self {
            damage,
            grabber,
            // What was drawn before the damage was asked for is captured whole.
            pending: Region::of(picture.bounds()),
            changed_at: None,
            picture,
            pace: Pace::default(),
            acted_at: None,
            audience: Audience::default(),
            watchers: Vec::new(),
            notices: Notices::new(core, largest),
        })
    }

    /// Asks the X server to report nothing any more; gives back who watched.
    pub fn end(self, connection: &RustConnection, root: Window) -> Result<Vec<Arc<Seat>>, ConnectionError> {
        connection.damage_destroy(self.damage)?;
        connection.xfixes_select_cursor_input(root, CursorNotifyMask::from(0u32))?;
        self.grabber.release(connection)?;
        Ok(self.watchers.into_iter().map(|watcher| watcher.seat).collect())
    }

    /// Whether `damage` reports the changes of this.
    pub fn is_told_by(&self, damage: Damage) -> bool {
        self.damage == damage
    }

    /// A viewer that was sent this screen's size, and nothing else.
    pub fn admit(&mut self, seat: Arc<Seat>) {
        seat.set_pixels(self.picture.bounds().area());
        self.audience.join(seat.id, abilities(&seat), &self.picture);
        self.watchers.push(Watcher {
            seat,
            told: self.notices.nothing_told(),
            input_seq: 0,
        });
    }

    /// Forgets everyone but those in `seats`.
    pub fn keep(&mut self, seats: &[Arc<Seat>]) {
        let left = |watcher: &Watcher| !seats.iter().any(|seat| seat.id == watcher.seat.id);
        for gone in self.watchers.extract_if(.., |watcher| left(watcher)) {
            self.audience.leave(gone.seat.id);
        }
    }

    /// Whether `seat` watches.
    pub fn has(&self, seat: &Seat) -> bool {
        self.seat(seat.id).is_some()
    }

    /// Whether nobody does.
    pub fn is_unwatched(&self) -> bool {
        self.watchers.is_empty()
    }

    /// The screen changed in `rect`.
    pub fn damaged(&mut self, rect: &Rect) {
        let rect = rect.intersection(&self.picture.bounds());
        if !rect.is_empty() {
            self.pending.add(rect);
            self.changed_at.get_or_insert_with(Instant::now);
        }
    }

    /// When to capture next; none while nothing changed or nobody can take it.
    pub fn capture_due(&self, now: Instant) -> Option<Instant> {
        let allowance = |id: ViewerId| self.seat(id)?.allowance();
        let due = self.audience.due(!self.pending.is_empty(), now, allowance)?;
        // What waited for a viewer has settled long ago.
        let settled = self.changed_at.map_or(now, |at| at + self.settles_in());
        Some(self.pace.due(settled, self.is_urgent(now)).max(due))
    }

    fn settles_in(&self) -> Duration {
        let changed = self.pending.rects().iter().map(Rect::area).sum();
        settle(changed, self.picture.bounds().area())
    }

    /// Whether somebody acts, and waits to see what comes of it.
    fn is_urgent(&self, now: Instant) -> bool {
        let lately = |at| now.saturating_duration_since(at) < URGENT_SPAN;
        self.acted_at.is_some_and(lately) || self.watchers.iter().any(Watcher::has_acted)
    }

    /// When to tell viewers something besides the picture.
    pub fn notices_due(&self, now: Instant) -> Option<Instant> {
        let told = self
            .watchers
            .iter()
            .map(|watcher| (&*watcher.seat, &watcher.told));
        self.notices.due(told, now)
    }

    /// Tells everyone who can take it what there is besides the picture.
    pub fn send_notices(&mut self, connection: &RustConnection, now: Instant) -> Result<(), ReplyError> {
        self.notices.look(connection, now)?;
        for watcher in self
            .watchers
            .iter_mut()
            .filter(|watcher| watcher.seat.takes_message())
        {
            self.notices.tell(&watcher.seat, &mut watcher.told);
        }
        Ok(())
    }

    /// The pointer may have another shape.
    pub fn cursor_changed(&mut self) {
        self.notices.cursor_changed();
    }

    /// A capture, and what followed from it, began at `started` and is over.
    pub fn captured(&mut self, started: Instant) {
        self.pace.captured(started, Instant::now());
    }

    fn seat(&self, id: ViewerId) -> Option<&Arc<Seat>> {
        self.watchers
            .iter()
            .map(|watcher| &watcher.seat)
            .find(|seat| seat.id == id)
    }

    /// Brings the picture up to date.
    pub fn capture(&mut self, connection: &RustConnection, root: Window) -> Result<(), ReplyError> {
        if self.watchers.iter().any(Watcher::has_acted) {
            self.acted_at = Some(Instant::now());
        }
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

    /// Does what a viewer asked for whose decoder failed.
    pub fn follow_decoder(&mut self, seat: &Seat) {
        match seat.take_failure() {
            Some(VideoFailure::WantsKey) => self.audience.wants_key(seat.id, Instant::now()),
            Some(VideoFailure::Broken) => {
                // Nobody knows what its page shows now, so it is shown everything again.
                self.audience.leave(seat.id);
                self.audience.join(seat.id, abilities(seat), &self.picture);
            }
            None => {}
        }
    }

    /// Sends every viewer that can take it what it lacks.
    pub fn update(&mut self) -> Result<(), CompressError> {
        let Self {
            picture,
            audience,
            watchers,
            ..
        } = self;
        let allowances: HashMap<ViewerId, Allowance> = watchers
            .iter()
            .filter_map(|watcher| Some((watcher.seat.id, watcher.seat.allowance()?)))
            .collect();
        let update = Update {
            picture,
            now: Instant::now(),
        };
        audience.update(
            update,
            |id| allowances.get(&id).copied(),
            |ids, part| {
                for watcher in watchers
                    .iter_mut()
                    .filter(|watcher| ids.contains(&watcher.seat.id))
                {
                    watcher.send(part);
                }
            },
        )
    }
}

/// What a viewer's page can read.
fn abilities(seat: &Seat) -> Abilities {
    let can = |page: Hello| Abilities {
        codec: match (page.decodes_video, page.decodes_jpeg) {
            (true, _) => Some(VideoCodec::Vp8),
            (false, true) => Some(VideoCodec::Jpeg),
            (false, false) => None,
        },
        stills: page.decodes_jpeg,
        inflates: page.inflates,
    };
    seat.page().map(can).unwrap_or_default()
}

impl Watcher {
    /// Whether it has acted since the last capture.
    fn has_acted(&self) -> bool {
        self.seat.last_input() != self.input_seq
    }

    fn send(&self, part: Part<'_>) {
        let (seq, input_seq) = (self.seat.next_seq(), self.input_seq);
        let message = match part {
            Part::Frame(codec, frame) => server::frame(
                seq,
                input_seq,
                frame.is_key,
                codec.code(),
                &frame.rects,
                &frame.bytes,
            ),
            Part::Deflated { length, piece } => server::update_deflated(seq, input_seq, length, piece),
            Part::Ops(ops) => server::update_plain(seq, input_seq, ops),
        };
        self.seat.send_update(message, matches!(part, Part::Frame(..)));
    }
}
