//! What each viewer has been shown, with the work shared among those who have been shown the same.
//!
//! Viewers form groups. A group has one [`Shown`]: the picture that its members' pages show, and where that may differ
//! from the latest capture. When an update is due, one encoding serves all members of a group that can take
//! it; members that cannot are left behind as a group of their own, and are repainted from there when they can. Groups
//! that have caught up hold the same picture, so they become one.
//!
//! Exact operations are deflated once for a group, in a stream that goes on from update to update. Where members with
//! different pasts come together the stream begins anew: a page's inflater goes on, and is told nothing that refers
//! to before.
//!
//! While something moves, a group has a video encoder, whose packets build on each other. So a group in motion waits a
//! moment for a member that cannot take the next frame, and groups in motion become one with a key frame, unless one of
//! them is so slow that it would spoil the picture of the others.
//!
//! Invariant: two groups that are current and exact show the same, namely what the screen shows.

use std::time::{Duration, Instant};

use berth_codec::CodecError;
use flate2::CompressError;

use crate::deflate::Deflate;
use crate::encode::{Allowance, Shown};
use crate::ops::Ops;
use crate::picture::Picture;
use crate::region::Region;
use crate::video::{Frame, VideoCodec, VideoEncoder};

/// A viewer within this screen.
pub type ViewerId = u64;

/// How long a group in motion waits for a member.
const PATIENCE: Duration = Duration::from_millis(250);
/// An encoder that had nothing to do for so long is given up.
const ENCODER_IDLE: Duration = Duration::from_secs(5);
/// Between two key frames that bring groups together: each costs as much as several frames.
const KEY_GAP: Duration = Duration::from_secs(2);
/// Between two key frames that pages ask for.
const KEY_PAUSE: Duration = Duration::from_millis(400);
/// Encoders whose packets build on each other: one for all, and one for slow links.
const CHAINS: usize = 2;

/// So few bytes of operations are not deflated: a page has them a task earlier than through its inflater.
const PLAIN_BYTES: usize = 256;

/// How long the link may take for a first picture of sharp text and stills. A key frame of video takes less of what is full
/// of either, but longer to make and to decode.
const FIRST_SPAN: f64 = 0.25;

/// All viewers of a screen, in groups.
#[derive(Default)]
pub struct Audience {
    groups: Vec<Group>,
    memory: Memory,
}

/// What updates are written to.
#[derive(Default)]
struct Memory {
    ops: Ops,
    deflated: Vec<u8>,
    frame: Frame,
}

/// What a page can read besides operations as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Abilities {
    /// How it can show motion, if it can.
    pub codec: Option<VideoCodec>,
    /// It can draw JPEG pictures.
    pub stills: bool,
    /// It can inflate raw deflate.
    pub inflates: bool,
}

struct Group {
    shown: Shown,
    members: Vec<ViewerId>,
    /// What its members can read.
    can: Abilities,
    /// What all members' inflaters have been fed since the stream began.
    deflate: Option<Deflate>,
    video: Option<Video>,
    /// Since when a member holds up the next frame.
    waiting: Option<Instant>,
    /// A viewer lost its way in the video: the next frame is a key frame.
    wants_key: bool,
}

struct Video {
    encoder: Box<dyn VideoEncoder>,
    last_key: Instant,
    last_frame: Instant,
}

/// A part of an update, in the order in which pages draw it.
#[derive(Debug, Clone, Copy)]
pub enum Part<'a> {
    /// Exact drawing operations.
    Ops(&'a [u8]),
    /// The same, in the group's deflate stream.
    Deflated {
        /// Bytes of the operations.
        length: usize,
        /// The next piece of the stream.
        piece: &'a [u8],
    },
    /// A video frame.
    Frame(VideoCodec, &'a Frame),
}

impl Part<'_> {
    /// What it takes on the link, but for its head.
    fn bytes(self) -> usize {
        match self {
            Self::Ops(bytes) | Self::Deflated { piece: bytes, .. } => bytes.len(),
            Self::Frame(_, frame) => frame.bytes.len(),
        }
    }
}

/// What viewers are to be shown.
#[derive(Clone, Copy)]
pub struct Update<'a> {
    /// What the screen shows.
    pub picture: &'a Picture,
    /// Now.
    pub now: Instant,
}

impl Audience {
    /// A viewer that has seen nothing of a picture this size.
    pub fn join(&mut self, viewer: ViewerId, can: Abilities, picture: &Picture) {
        // Pages that come together, after a restart say, see the same nothing.
        let blank = |group: &&mut Group| group.can == can && group.shown.is_blank();
        if let Some(group) = self.groups.iter_mut().find(blank) {
            return group.members.push(viewer);
        }
        self.groups.push(Group {
            shown: Shown::nothing(picture.width(), picture.height()),
            members: vec![viewer],
            can,
            deflate: None,
            video: None,
            waiting: None,
            wants_key: false,
        });
    }

    /// A viewer is gone.
    pub fn leave(&mut self, viewer: ViewerId) {
        for group in &mut self.groups {
            group.members.retain(|member| *member != viewer);
        }
        self.groups.retain(|group| !group.members.is_empty());
    }

    /// A viewer cannot decode what comes next without a key frame. One that asks again and again is not heard: the
    /// others pay for it.
    pub fn wants_key(&mut self, viewer: ViewerId, now: Instant) {
        for group in self
            .groups
            .iter_mut()
            .filter(|group| group.members.contains(&viewer))
        {
            let rested = |video: &Video| now.saturating_duration_since(video.last_key) >= KEY_PAUSE;
            group.wants_key |= group.video.as_ref().is_some_and(rested);
        }
    }

    /// The screen changed in `fresh`.
    pub fn changed(&mut self, fresh: &Region) {
        for group in &mut self.groups {
            group.shown.changed(fresh);
            if let Some(video) = &mut group.video {
                video.encoder.changed(fresh);
            }
        }
    }

    /// When an update is due: for changes that are captured, or, if `pending`, that are still to be captured.
    /// `allowance` says what a viewer can take, if anything.
    pub fn due(
        &self,
        pending: bool,
        now: Instant,
        allowance: impl Fn(ViewerId) -> Option<Allowance>,
    ) -> Option<Instant> {
        let due = |group: &Group| {
            let is_behind = pending || group.wants_key || !group.shown.is_current();
            let sharpen = group.shown.sharpen_due();
            if !is_behind && sharpen.is_none() {
                return None;
            }
            // Not lazily: each member that is not ready is to call when it is.
            let able: Vec<Allowance> = group.members.iter().filter_map(|id| allowance(*id)).collect();
            if able.is_empty() {
                return None;
            }
            if is_behind {
                let blocked = able.len() < group.members.len();
                return Some(group.waits_until(blocked, now).unwrap_or(now));
            }
            sharpen.filter(|_| able.iter().any(|able| able.is_idle))
        };
        self.groups.iter().filter_map(due).min()
    }

    /// Brings viewers up to the picture. `allowance` says what a viewer can take, if anything; `send` gets the parts,
    /// and for whom they are.
    pub fn update(
        &mut self,
        update: Update<'_>,
        allowance: impl Fn(ViewerId) -> Option<Allowance>,
        mut send: impl FnMut(&[ViewerId], Part<'_>),
    ) -> Result<(), CompressError> {
        let now = update.now;
        self.join_in_motion(now, &allowance);
        let mut left_behind = Vec::new();
        let mut chains = self.groups.iter().filter(|group| group.is_chained()).count();
        for group in &mut self.groups {
            let needs =
                group.wants_key || !group.shown.is_current() || group.shown.sharpen_due() <= Some(now);
            if !needs {
                continue;
            }
            let (ready, blocked): (Vec<_>, Vec<_>) = group
                .members
                .iter()
                .partition(|id: &&ViewerId| allowance(**id).is_some());
            // The slowest member decides how much at a time, so that they stay together.
            let Some(least) = ready
                .iter()
                .filter_map(|id| allowance(*id))
                .reduce(Allowance::least)
            else {
                continue;
            };
            if group
                .waits_until(!blocked.is_empty(), now)
                .is_some_and(|until| until > now)
            {
                group.waiting.get_or_insert(now);
                continue;
            }
            group.waiting = None;
            if !blocked.is_empty() {
                left_behind.push(group.split_off(blocked));
                group.members = ready;
            }
            group.catch_up(update, &least, &mut chains, &mut self.memory, &mut send)?;
        }
        self.groups.append(&mut left_behind);
        self.unite();
        Ok(())
    }

    /// Groups in motion become one where their links allow it.
    fn join_in_motion(&mut self, now: Instant, allowance: &impl Fn(ViewerId) -> Option<Allowance>) {
        let kbps = |group: &Group| {
            let able = group.members.iter().map(|id| allowance(*id));
            // One that cannot take a frame now has no say, and joins nobody.
            able.collect::<Option<Vec<_>>>()?
                .iter()
                .map(|able| able.kbps)
                .min()
        };
        let host = |group: &Group| {
            let video = group.video.as_ref().filter(|_| group.is_chained())?;
            let rested = now.saturating_duration_since(video.last_key) >= KEY_GAP;
            (rested && group.is_in_motion(now)).then(|| kbps(group))?
        };
        let full = self.groups.iter().filter(|group| group.is_chained()).count() >= CHAINS;
        let Some((at, rate)) = (0..self.groups.len())
            .filter_map(|at| Some((at, host(&self.groups[at])?)))
            .min_by_key(|(_, rate)| *rate)
        else {
            return;
        };
        let joins = |group: &Group| {
            let wants = group.is_in_motion(now) || (group.video.is_none() && !group.shown.is_current());
            // One that lags much is shown motion apart, as long as there is an encoder left for it.
            group.can == self.groups[at].can
                && wants
                && kbps(group).is_some_and(|own| {
                    let alike = own * 5 / 4 >= rate && rate * 5 / 4 >= own;
                    alike || (full && group.video.is_none())
                })
        };
        let guests: Vec<usize> = (0..self.groups.len())
            .filter(|n| *n != at && joins(&self.groups[*n]))
            .collect();
        if guests.is_empty() {
            return;
        }
        for guest in guests {
            let members = std::mem::take(&mut self.groups[guest].members);
            self.groups[at].members.extend(members);
        }
        // A key frame over the whole screen makes all of them see the same.
        self.groups[at].wants_key = true;
        self.groups[at].deflate = None;
        self.groups.retain(|group| !group.members.is_empty());
    }

    fn unite(&mut self) {
        let mut united: Vec<Group> = Vec::with_capacity(self.groups.len());
        for group in std::mem::take(&mut self.groups) {
            let twin = |held: &&mut Group| held.can == group.can && held.is_done() && group.is_done();
            match united.iter_mut().find(twin) {
                Some(held) => {
                    held.members.extend(group.members);
                    held.deflate = None;
                }
                None => united.push(group),
            }
        }
        self.groups = united;
    }
}

impl Group {
    fn is_done(&self) -> bool {
        self.shown.is_current() && self.shown.is_exact()
    }

    fn is_chained(&self) -> bool {
        self.video.is_some() && self.can.codec.is_some_and(VideoCodec::is_chained)
    }

    fn moved_at(&self) -> Option<Instant> {
        self.video.as_ref().map(|video| video.last_frame)
    }

    fn is_in_motion(&self, now: Instant) -> bool {
        self.moved_at()
            .is_some_and(|at| now.saturating_duration_since(at) < PATIENCE)
    }

    /// Until when a frame waits for members that cannot take it.
    fn waits_until(&self, blocked: bool, now: Instant) -> Option<Instant> {
        (blocked && self.is_chained() && (self.is_in_motion(now) || self.waiting.is_some()))
            .then(|| self.waiting.map_or(now, |since| since + PATIENCE))
    }

    fn split_off(&self, members: Vec<ViewerId>) -> Self {
        Self {
            shown: self.shown.clone(),
            members,
            can: self.can,
            deflate: None,
            video: None,
            waiting: None,
            wants_key: false,
        }
    }

    fn catch_up(
        &mut self,
        update: Update<'_>,
        allowance: &Allowance,
        chains: &mut usize,
        memory: &mut Memory,
        send: &mut impl FnMut(&[ViewerId], Part<'_>),
    ) -> Result<(), CompressError> {
        if self.begin(update, allowance, memory, send)? {
            return Ok(());
        }
        let Update { picture, now } = update;
        let Memory { ops, deflated, frame } = memory;
        // A third chain would cost everyone; without one, exact pixels come as fast as the link lets them.
        let codec = self
            .can
            .codec
            .filter(|codec| self.video.is_some() || !codec.is_chained() || *chains < CHAINS);
        let mut moving = self.shown.catch_up(picture, allowance, codec.is_some(), now, ops);
        if let Some(ops) = self.pack(ops, deflated)? {
            send(&self.members, ops);
        }
        let key = std::mem::take(&mut self.wants_key);
        if key {
            moving = Region::of(picture.bounds());
        }
        match codec {
            Some(codec) if !moving.is_empty() => {
                let was_chained = self.is_chained();
                if self.show_motion(update, &moving, codec, allowance.kbps, key, frame) {
                    send(&self.members, Part::Frame(codec, frame));
                }
                *chains += usize::from(self.is_chained() && !was_chained);
            }
            _ => {
                let idle = |at| now.saturating_duration_since(at) >= ENCODER_IDLE;
                if self.moved_at().is_some_and(idle) && self.shown.is_exact() {
                    *chains -= usize::from(self.is_chained());
                    self.video = None;
                }
            }
        }
        Ok(())
    }

    /// The group's encoder, made if there is none; its first frame is a key frame.
    fn open_video(
        &mut self,
        codec: VideoCodec,
        Update { picture, now }: Update<'_>,
        kbps: u32,
    ) -> Result<&mut Video, CodecError> {
        match &mut self.video {
            Some(video) => Ok(video),
            none => Ok(none.insert(Video {
                encoder: codec.open(picture.width(), picture.height(), kbps)?,
                last_key: now,
                last_frame: now,
            })),
        }
    }

    /// The first picture, as sharp text and stills of the rest; false if that is nothing for its pages or their link.
    fn begin(
        &mut self,
        update: Update<'_>,
        allowance: &Allowance,
        memory: &mut Memory,
        send: &mut impl FnMut(&[ViewerId], Part<'_>),
    ) -> Result<bool, CompressError> {
        if !self.can.stills || !self.shown.is_blank() || self.video.is_some() {
            return Ok(false);
        }
        let Update { picture, now } = update;
        let Memory { ops, deflated, frame } = memory;
        let photos = self.shown.begin(picture, allowance, now, ops);
        let ops = self.pack(ops, deflated)?;
        frame.bytes.clear();
        let stills = VideoCodec::Jpeg
            .open(picture.width(), picture.height(), allowance.kbps)
            .and_then(|mut jpeg| jpeg.encode(picture, photos.rects(), allowance.kbps, false, frame));
        let bytes = ops.map_or(0, Part::bytes) + frame.bytes.len();
        if stills != Ok(true) || bytes as f64 > allowance.rate * FIRST_SPAN {
            self.shown = Shown::nothing(picture.width(), picture.height());
            self.deflate = None;
            return Ok(false);
        }
        if let Some(ops) = ops {
            send(&self.members, ops);
        }
        if !photos.is_empty() {
            self.shown.draw(picture, &frame.rects, now);
            send(&self.members, Part::Frame(VideoCodec::Jpeg, frame));
        }
        Ok(true)
    }

    /// The operations as the group's pages read them, if there are any.
    fn pack<'a>(
        &mut self,
        ops: &'a Ops,
        deflated: &'a mut Vec<u8>,
    ) -> Result<Option<Part<'a>>, CompressError> {
        let ops = ops.bytes();
        if !self.can.inflates || ops.len() <= PLAIN_BYTES {
            return Ok((!ops.is_empty()).then_some(Part::Ops(ops)));
        }
        deflated.clear();
        self.deflate.get_or_insert_default().append(ops, deflated)?;
        Ok(Some(Part::Deflated {
            length: ops.len(),
            piece: deflated,
        }))
    }

    /// Encodes a frame; false if there is none, and then what moves is still to be shown.
    fn show_motion(
        &mut self,
        update: Update<'_>,
        moving: &Region,
        codec: VideoCodec,
        kbps: u32,
        key: bool,
        frame: &mut Frame,
    ) -> bool {
        let Update { picture, now } = update;
        let encoded = match self.open_video(codec, update, kbps) {
            Ok(video) => {
                video.last_frame = now;
                let encoder = &mut video.encoder;
                let encoded = encoder.encode(picture, moving.rects(), kbps, key, frame);
                if encoded == Ok(true) && frame.is_key {
                    video.last_key = now;
                }
                encoded
            }
            Err(error) => Err(error),
        };
        match encoded {
            Ok(true) => self.shown.draw(picture, &frame.rects, now),
            Ok(false) => {
                self.wants_key = key;
                self.shown.left_out(moving.rects());
            }
            Err(error) => {
                tracing::warn!(%error, "motion is shown without video");
                (self.video, self.can.codec) = (None, None);
                // Those that a key frame was to bring together show different pictures.
                self.shown = Shown::nothing(picture.width(), picture.height());
            }
        }
        encoded == Ok(true)
    }
}

#[cfg(test)]
#[path = "audience_tests.rs"]
mod tests;
