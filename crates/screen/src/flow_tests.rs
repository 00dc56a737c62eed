//! Tests of `flow`.

use proptest::prelude::*;

use super::*;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A link with a rate and a delay; sends whenever the window is open, and gives the bytes that arrived.
fn transfer(flow: &mut Flow, bytes_per_second: f64, delay: Duration, update: usize, span: Duration) -> usize {
    let start = Instant::now();
    let (mut now, mut link_free, mut arrived) = (start, start, 0);
    let mut acks: VecDeque<(Instant, u32)> = VecDeque::new();
    while now < start + span {
        while let Some((_, seq)) = acks.front().copied().filter(|(at, _)| *at <= now) {
            acks.pop_front();
            flow.received(seq, now).unwrap();
            flow.painted(seq).unwrap();
            arrived += update;
        }
        while flow.is_open() {
            let seq = flow.next_seq();
            flow.sent(update, false, now);
            link_free = link_free.max(now) + Duration::from_secs_f64(update as f64 / bytes_per_second);
            acks.push_back((link_free + delay, seq));
        }
        now = acks.front().map_or(now + ms(1), |(at, _)| *at);
    }
    arrived
}

#[test]
fn a_slow_link_is_filled_and_not_flooded() {
    let mut flow = Flow::default();
    let arrived = transfer(&mut flow, 250_000.0, ms(100), 20_000, Duration::from_secs(10));
    assert!(arrived > 1_900_000, "2 Mbit/s for 10 s: {arrived} bytes");
    // One update more than the link and the slack hold: what a key press would have to wait behind.
    assert!(flow.bytes_in_flight < 80_000, "{}", flow.bytes_in_flight);
    assert_eq!(flow.budget(), BUDGET.0 as usize);
}

#[test]
fn a_fast_link_is_noticed() {
    let mut flow = Flow::default();
    transfer(&mut flow, 12_500_000.0, ms(5), 100_000, Duration::from_secs(3));
    assert!(flow.rate() > 8_000_000.0, "{}", flow.rate());
    assert_eq!(
        flow.budget(),
        (flow.rate() * BUDGET_SPAN).clamp(BUDGET.0, BUDGET.1) as usize
    );
}

#[test]
fn a_near_page_is_believed_until_its_link_is_measured() {
    let mut flow = Flow::default();
    flow.set_near();
    assert_eq!(flow.rate(), NEAR_RATE);
    transfer(&mut flow, 250_000.0, ms(5), 20_000, Duration::from_secs(3));
    assert!(flow.rate() < 300_000.0, "{}", flow.rate());
}

#[test]
fn small_updates_do_not_make_a_link_look_slow() {
    let mut flow = Flow::default();
    let start = Instant::now();
    transfer(&mut flow, 2_500_000.0, ms(20), 50_000, Duration::from_secs(3));
    let before = flow.rate();
    for n in 0..1000 {
        let now = start + ms(10_000 + n * 50);
        flow.sent(300, false, now);
        let seq = flow.last_sent;
        flow.received(seq, now + ms(20)).unwrap();
        flow.painted(seq).unwrap();
    }
    assert!(flow.rate() > before * 0.9, "{} of {before}", flow.rate());
}

/// Frames at the bitrate that `flow` asks for, 30 a second, over a link; gives the longest delay in the second half.
fn play(flow: &mut Flow, bytes_per_second: f64, delay: Duration, span: Duration) -> Duration {
    let start = Instant::now();
    let (mut now, mut link_free, mut worst) = (start, start, Duration::ZERO);
    let mut acks: VecDeque<(Instant, u32)> = VecDeque::new();
    while now < start + span {
        while let Some((at, seq)) = acks.front().copied().filter(|(at, _)| *at <= now) {
            acks.pop_front();
            flow.received(seq, at).unwrap();
            flow.painted(seq).unwrap();
        }
        if flow.is_open() {
            let frame = (flow.bitrate() * 125 / 30) as usize;
            let seq = flow.next_seq();
            flow.sent(frame, true, now);
            link_free = link_free.max(now) + Duration::from_secs_f64(frame as f64 / bytes_per_second);
            if now > start + span / 2 {
                worst = worst.max(link_free - now);
            }
            acks.push_back((link_free + delay, seq));
        }
        now += ms(33);
    }
    worst
}

#[test]
fn video_follows_the_link_and_does_not_queue_up() {
    let mut slow = Flow::default();
    slow.set_pixels(1280 * 720);
    let worst = play(&mut slow, 125_000.0, ms(100), Duration::from_secs(20));
    assert!(worst < ms(150), "a frame waits {worst:?} on a link of 1 Mbit/s");
    assert!(
        (400..=1_100).contains(&slow.bitrate()),
        "{} kbit/s",
        slow.bitrate()
    );

    let mut fast = Flow::default();
    fast.set_pixels(1280 * 720);
    play(&mut fast, 12_500_000.0, ms(5), Duration::from_secs(10));
    assert!(
        (3_500..4_500).contains(&fast.bitrate()),
        "{} kbit/s",
        fast.bitrate()
    );
}

#[test]
fn a_device_that_does_not_paint_stops_the_updates() {
    let mut flow = Flow::default();
    let now = Instant::now();
    let mut sent = 0;
    while flow.is_open() {
        flow.sent(10, false, now);
        sent += 1;
        flow.received(sent, now + ms(1)).unwrap();
    }
    assert_eq!(sent, MAX_UNPAINTED);
    flow.painted(1).unwrap();
    assert!(flow.is_open());
}

proptest! {
    #[test]
    fn no_acknowledgements_confuse_it(
        events in prop::collection::vec((0u8..3, 0u32..40, 0usize..100_000, 0u64..200), 0..100)
    ) {
        let (mut flow, mut now) = (Flow::default(), Instant::now());
        for (kind, seq, bytes, later) in events {
            now += ms(later);
            match kind {
                0 if flow.is_open() => flow.sent(bytes, false, now),
                0 => {}
                1 => {
                    let known = seq > 0 && seq <= flow.last_sent;
                    prop_assert_eq!(flow.received(seq, now).is_ok(), known);
                }
                _ => {
                    let known = seq > 0 && seq <= flow.last_sent;
                    prop_assert_eq!(flow.painted(seq).is_ok(), known);
                }
            }
            let sum: usize = flow.in_flight.iter().map(|update| update.bytes).sum();
            prop_assert_eq!(sum, flow.bytes_in_flight);
            prop_assert!(flow.last_sent - flow.last_painted <= MAX_UNPAINTED);
            prop_assert!(flow.window().is_finite() && flow.budget() >= BUDGET.0 as usize);
        }
    }
}
