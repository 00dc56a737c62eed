//! Measures what the session uses. Rates are means since the call before, so the first one of a session tells little.

use std::sync::Mutex;
use std::time::Instant;

use jiff::Timestamp;
use serde::Serialize;

use crate::cgroup;

/// Shorter intervals make rates of noise; the last ones are repeated instead.
const INTERVAL_S_MIN: f64 = 0.1;

/// One measurement, under the names that clients read.
#[derive(Debug, Clone, Serialize)]
pub struct Metrics {
    cpu_count: u64,
    cpu_used_pct: f64,
    mem_total: u64,
    mem_used: u64,
    disk_total: u64,
    disk_used: u64,
    rx_rate_kbyte_per_s: f64,
    tx_rate_kbyte_per_s: f64,
    rx_used_kbyte: f64,
    tx_used_kbyte: f64,
    timestamp: String,
}

/// Remembers the last measurement, for rates.
#[derive(Debug)]
pub struct Meter {
    last: Mutex<Sample>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    cpu_ns: u64,
    received: u64,
    sent: u64,
    cpu_pct: f64,
    received_rate: f64,
    sent_rate: f64,
}

impl Default for Meter {
    fn default() -> Self {
        let (received, sent) = network();
        let first = Sample {
            at: Instant::now(),
            cpu_ns: cpu_ns(),
            received,
            sent,
            cpu_pct: 0.0,
            received_rate: 0.0,
            sent_rate: 0.0,
        };
        Self {
            last: Mutex::new(first),
        }
    }
}

impl Meter {
    /// The numbers now.
    pub fn measure(&self) -> Metrics {
        let cpu_count = cgroup::cpu_count();
        let sample = self.sample(cpu_count);
        let (machine_total, machine_used) = machine_memory();
        let mem_total = cgroup::memory_limit().map_or(machine_total, |limit| limit.min(machine_total));
        let (disk_total, disk_used) = disk();
        Metrics {
            cpu_count,
            cpu_used_pct: rounded(sample.cpu_pct),
            mem_total,
            mem_used: cgroup::memory_used().unwrap_or(machine_used).min(mem_total),
            disk_total,
            disk_used,
            rx_rate_kbyte_per_s: rounded(sample.received_rate / 1024.0),
            tx_rate_kbyte_per_s: rounded(sample.sent_rate / 1024.0),
            rx_used_kbyte: rounded(as_f64(sample.received) / 1024.0),
            tx_used_kbyte: rounded(as_f64(sample.sent) / 1024.0),
            timestamp: Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        }
    }

    fn sample(&self, cpu_count: u64) -> Sample {
        let (received, sent) = network();
        let (at, cpu_ns) = (Instant::now(), cpu_ns());
        // A poisoned lock holds numbers that are as good as any.
        let mut last = self
            .last
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let seconds = at.duration_since(last.at).as_secs_f64();
        if seconds < INTERVAL_S_MIN {
            return Sample {
                received,
                sent,
                ..*last
            };
        }
        let rate = |now: u64, before: u64| as_f64(now.saturating_sub(before)) / seconds;
        let busy = rate(cpu_ns, last.cpu_ns) / 1e9 / as_f64(cpu_count);
        *last = Sample {
            at,
            cpu_ns,
            received,
            sent,
            cpu_pct: (busy * 100.0).clamp(0.0, 100.0),
            received_rate: rate(received, last.received),
            sent_rate: rate(sent, last.sent),
        };
        *last
    }
}

#[expect(clippy::cast_precision_loss, reason = "numbers for a person to read")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

fn cpu_ns() -> u64 {
    cgroup::cpu_used_ns().or_else(machine_cpu_ns).unwrap_or(0)
}

/// Busy time of all processors of the machine.
fn machine_cpu_ns() -> Option<u64> {
    let stat = fs_err::read_to_string("/proc/stat").ok()?;
    let fields: Vec<u64> = stat
        .lines()
        .next()?
        .split_ascii_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    // user, nice, system, idle, iowait, irq, softirq, steal: idle and iowait are not work.
    let busy: u64 = fields
        .iter()
        .take(8)
        .enumerate()
        .filter(|(at, _)| !matches!(at, 3 | 4))
        .map(|(_, ticks)| ticks)
        .sum();
    Some(busy.saturating_mul(1_000_000_000 / rustix::param::clock_ticks_per_second().max(1)))
}

fn machine_memory() -> (u64, u64) {
    let text = fs_err::read_to_string("/proc/meminfo").unwrap_or_default();
    let bytes = |name: &str| {
        text.lines()
            .find_map(|line| {
                line.strip_prefix(name)?
                    .trim()
                    .strip_suffix(" kB")?
                    .trim()
                    .parse::<u64>()
                    .ok()
            })
            .unwrap_or(0)
            * 1024
    };
    let total = bytes("MemTotal:");
    (total, total.saturating_sub(bytes("MemAvailable:")))
}

/// Of the file system that the session's root is on.
fn disk() -> (u64, u64) {
    rustix::fs::statvfs("/").map_or((0, 0), |stat| {
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        (
            bytes(stat.f_blocks),
            bytes(stat.f_blocks.saturating_sub(stat.f_bfree)),
        )
    })
}

/// Bytes received and sent on every interface but the loopback.
fn network() -> (u64, u64) {
    parse_network(&fs_err::read_to_string("/proc/net/dev").unwrap_or_default())
}

fn parse_network(text: &str) -> (u64, u64) {
    let mut sum = (0_u64, 0_u64);
    for line in text.lines().skip(2) {
        let Some((name, numbers)) = line.split_once(':') else {
            continue;
        };
        if name.trim() == "lo" {
            continue;
        }
        let numbers: Vec<u64> = numbers
            .split_ascii_whitespace()
            .filter_map(|number| number.parse().ok())
            .collect();
        sum.0 = sum.0.saturating_add(numbers.first().copied().unwrap_or(0));
        sum.1 = sum.1.saturating_add(numbers.get(8).copied().unwrap_or(0));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_is_the_sum_without_the_loopback() {
        let text = "Inter-| Receive\n face |bytes\n    lo: 9 1 0 0 0 0 0 0 9 1\n  eth0: 10 1 0 0 0 0 0 0 20 1\n \
                    eth1:5 0 0 0 0 0 0 0 6 0\n";
        assert_eq!(parse_network(text), (15, 26));
    }

    #[test]
    fn a_measurement_is_within_its_limits() {
        let metrics = Meter::default().measure();
        assert!(metrics.cpu_count >= 1 && (0.0..=100.0).contains(&metrics.cpu_used_pct));
        assert!(metrics.mem_total > 0 && metrics.mem_used <= metrics.mem_total);
        assert!(metrics.disk_total > 0 && metrics.disk_used <= metrics.disk_total);
        assert!(!metrics.timestamp.is_empty());
    }
}
