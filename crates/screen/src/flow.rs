//! How much one viewer can take. Pure: callers bring the time.
//!
//! The page acknowledges every update twice: when it arrived (for the link's rate and round trip) and when it is
//! painted (for slow devices). Rate and round trip give the window: what the link holds, and a little more. Nothing is
//! encoded for a viewer whose window is full, so nothing that is sent is stale.
//!
//! Invariant: bytes in flight are the sum over the updates in flight, and an update leaves them once.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Updates that may be sent and not yet painted.
const MAX_UNPAINTED: u32 = 8;
/// Bytes that may be in flight beyond what the link holds.
const SLACK_BYTES: f64 = 8_000.0;
/// How far the window exceeds what the link holds, so that a faster link is noticed.
const GAIN: f64 = 1.1;
/// Bytes a second before anything is known: 1.6 Mbit/s.
const FIRST_RATE: f64 = 200_000.0;
/// And on a link with a short round trip, which is a local one: 20 Mbit/s.
const NEAR_RATE: f64 = 2_500_000.0;
/// Bytes a second below which no measurement is believed.
const LOWEST_RATE: f64 = 15_000.0;
/// Round trip before anything is known.
const FIRST_ROUND_TRIP: Duration = Duration::from_millis(20);
/// How long a measured rate counts.
const RATE_AGE: Duration = Duration::from_secs(4);
/// How long the shortest round trip counts: paths change.
const ROUND_TRIP_AGE: Duration = Duration::from_secs(10);
/// Shorter spans say more about the clock than about the link.
const SHORTEST_SPAN: Duration = Duration::from_micros(300);
/// Rates that are remembered.
const MAX_RATES: usize = 16;
/// How much of the link one update may take up.
const BUDGET_SPAN: f64 = 0.25;
/// Bounds of [`Flow::budget`].
const BUDGET: (f64, f64) = (128_000.0, 8_000_000.0);

/// kbit/s of video before anything is known, and its bounds.
const FIRST_BITRATE: f64 = 1_500.0;
const BITRATE: (f64, f64) = (150.0, 12_000.0);
/// kbit/s of video that a million pixels are worth at most.
const BITRATE_PER_MEGAPIXEL: f64 = 4_300.0;
/// A round trip that is longer than the shortest by so much means that something queues up.
const QUEUEING: Duration = Duration::from_millis(40);
/// Below this nothing does.
const QUIET: Duration = Duration::from_millis(15);
/// What a queue takes off the bitrate, and a quiet link adds, once in a round trip.
const SLOWER: f64 = 0.8;
const FASTER: f64 = 1.05;
/// Between two changes of the bitrate on a short path.
const BITRATE_PAUSE: Duration = Duration::from_millis(30);
/// How far the window in motion exceeds what the bitrate puts on the link, and the time beside the round trip that
/// frames spend in the sender and the page.
const MOTION_GAIN: f64 = 1.2;
const MOTION_SPAN: Duration = Duration::from_millis(40);
/// One frame fits whatever the window.
const MOTION_BYTES: f64 = 6_000.0;
/// Of what the link holds: with less on its way, what is not urgent may follow.
const IDLE_SHARE: f64 = 0.6;
const IDLE_BYTES: f64 = 3_000.0;

/// An acknowledgement of an update that is not in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeverSent(pub u32);

/// What is known of one viewer's link and device.
#[derive(Debug, Default)]
pub struct Flow {
    last_sent: u32,
    last_painted: u32,
    in_flight: VecDeque<InFlight>,
    bytes_in_flight: usize,
    delivered: u64,
    delivered_at: Option<Instant>,
    round_trip: Option<(Duration, Instant)>,
    /// Bytes a second, and when measured.
    rates: VecDeque<(f64, Instant)>,
    /// The last rate that counted: kept when all measurements are old.
    rate: Option<f64>,
    /// kbit/s of video.
    bitrate: Option<f64>,
    bitrate_max: Option<f64>,
    bitrate_fixed_until: Option<Instant>,
    /// The last update was a video frame.
    in_motion: bool,
}

#[derive(Debug)]
struct InFlight {
    seq: u32,
    bytes: usize,
    sent_at: Instant,
    /// The page's account when this was sent.
    delivered: u64,
    delivered_at: Option<Instant>,
    /// There was no more to send, so the time it took says nothing about how fast the link could have been.
    window_filled: bool,
}

impl Flow {
    /// Whether another update may be encoded.
    pub fn is_open(&self) -> bool {
        let unpainted = self.last_sent - self.last_painted;
        unpainted < MAX_UNPAINTED
            && (self.in_flight.is_empty() || (self.bytes_in_flight as f64) < self.window())
    }

    /// Since when the page owes the acknowledgement of an update.
    pub fn waits_since(&self) -> Option<Instant> {
        self.in_flight.front().map(|update| update.sent_at)
    }

    /// Bytes that the next update should not exceed by much.
    pub fn budget(&self) -> usize {
        (self.rate() * BUDGET_SPAN).clamp(BUDGET.0, BUDGET.1) as usize
    }

    /// The number of the next update.
    pub fn next_seq(&self) -> u32 {
        self.last_sent + 1
    }

    /// Bytes a second that the link delivers.
    pub fn rate(&self) -> f64 {
        self.rate.unwrap_or(FIRST_RATE)
    }

    /// kbit/s that video should not exceed.
    pub fn bitrate(&self) -> u32 {
        let most = self.bitrate_max.unwrap_or(BITRATE.1);
        self.bitrate.unwrap_or(FIRST_BITRATE).clamp(BITRATE.0, most) as u32
    }

    /// The page says that the link's round trip is short. What is measured later counts instead.
    pub fn set_near(&mut self) {
        self.rate.get_or_insert(NEAR_RATE);
    }

    /// The screen has so many pixels, which bounds the bitrate.
    pub fn set_pixels(&mut self, pixels: usize) {
        let most = pixels as f64 / 1e6 * BITRATE_PER_MEGAPIXEL;
        self.bitrate_max = Some(most.clamp(BITRATE.0 * 4.0, BITRATE.1));
    }

    /// Whether so little is on its way that what is not urgent may follow.
    pub fn is_idle(&self) -> bool {
        (self.bytes_in_flight as f64)
            < self.rate() * self.shortest_round_trip().as_secs_f64() * IDLE_SHARE + IDLE_BYTES
    }

    /// The next update, of so many bytes, goes out; `motion` if it is a video frame.
    pub fn sent(&mut self, bytes: usize, motion: bool, now: Instant) {
        self.in_motion = motion;
        self.last_sent += 1;
        self.bytes_in_flight += bytes;
        let window_filled = self.bytes_in_flight as f64 >= self.window();
        self.in_flight.push_back(InFlight {
            seq: self.last_sent,
            bytes,
            sent_at: now,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            window_filled,
        });
    }

    /// The page has update `seq`, and with it all before.
    pub fn received(&mut self, seq: u32, now: Instant) -> Result<(), NeverSent> {
        self.check(seq)?;
        while self.in_flight.front().is_some_and(|first| first.seq <= seq) {
            if let Some(update) = self.in_flight.pop_front() {
                self.arrived(&update, now);
            }
        }
        Ok(())
    }

    /// The page has painted update `seq`, and all before.
    pub fn painted(&mut self, seq: u32) -> Result<(), NeverSent> {
        self.check(seq)?;
        self.last_painted = self.last_painted.max(seq);
        Ok(())
    }

    fn check(&self, seq: u32) -> Result<(), NeverSent> {
        if seq == 0 || seq > self.last_sent {
            Err(NeverSent(seq))
        } else {
            Ok(())
        }
    }

    fn arrived(&mut self, update: &InFlight, now: Instant) {
        self.bytes_in_flight -= update.bytes;
        self.delivered += update.bytes as u64;
        self.delivered_at = Some(now);

        let round_trip = now.saturating_duration_since(update.sent_at);
        if self
            .round_trip
            .is_none_or(|(shortest, since)| round_trip < shortest || now - since > ROUND_TRIP_AGE)
        {
            self.round_trip = Some((round_trip, now));
        }

        self.follow_queue(round_trip, now);

        // What arrived since this was sent, over the longer of both spans: from its sending, and from the last arrival
        // that its sending knew. Either alone flatters a link that delivers in bursts.
        let since_arrival = update
            .delivered_at
            .map(|then| now.saturating_duration_since(then));
        let span = since_arrival
            .filter(|span| *span < round_trip + Duration::from_secs(1))
            .unwrap_or(round_trip);
        let span = span.max(round_trip).max(SHORTEST_SPAN);
        let rate = (self.delivered - update.delivered) as f64 / span.as_secs_f64();
        // When there was nothing more to send, a low rate means nothing; a high one still proves that it is possible.
        if update.window_filled || rate > self.rate() {
            if self.rates.len() == MAX_RATES {
                self.rates.pop_front();
            }
            self.rates.push_back((rate, now));
        }
        self.rates
            .retain(|(_, at)| now.saturating_duration_since(*at) < RATE_AGE);
        let fastest = self.rates.iter().map(|(rate, _)| *rate).fold(0.0, f64::max);
        if fastest > 0.0 {
            self.rate = Some(fastest.max(LOWEST_RATE));
        }
    }

    /// Lets the bitrate follow the link: down when updates queue up, up while they do not.
    fn follow_queue(&mut self, round_trip: Duration, now: Instant) {
        let shortest = self.shortest_round_trip();
        if self.bitrate_fixed_until.is_some_and(|until| now < until) {
            return;
        }
        let queueing = round_trip.saturating_sub(shortest);
        let (factor, pause) = if queueing > QUEUEING {
            // What is on its way already was sent at the old rate.
            (SLOWER, round_trip)
        } else if queueing < QUIET && self.in_motion {
            (FASTER, shortest)
        } else {
            return;
        };
        let most = self.bitrate_max.unwrap_or(BITRATE.1);
        let bitrate = self.bitrate.unwrap_or(FIRST_BITRATE) * factor;
        self.bitrate = Some(bitrate.clamp(BITRATE.0, most));
        self.bitrate_fixed_until = Some(now + pause.max(BITRATE_PAUSE));
    }

    fn shortest_round_trip(&self) -> Duration {
        self.round_trip.map_or(FIRST_ROUND_TRIP, |(shortest, _)| shortest)
    }

    fn window(&self) -> f64 {
        let round_trip = self.shortest_round_trip();
        let window = self.rate() * round_trip.as_secs_f64() * GAIN + SLACK_BYTES;
        if !self.in_motion {
            return window;
        }
        let bytes_per_second = f64::from(self.bitrate()) * 125.0;
        let motion = bytes_per_second * (round_trip + MOTION_SPAN).as_secs_f64() * MOTION_GAIN;
        window.min(motion).max(MOTION_BYTES)
    }
}

#[cfg(test)]
#[path = "flow_tests.rs"]
mod tests;
