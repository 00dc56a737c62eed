//! The session's control group, as far as the sandbox shows it: version 2, version 1, or nothing.
//!
//! Every number is optional: where a file is missing, the caller falls back to what `/proc` says of the machine.

use std::path::Path;

/// Above this a version 1 limit means "none".
const NO_LIMIT: u64 = 1 << 60;

fn read(path: &str) -> Option<String> {
    fs_err::read_to_string(Path::new("/sys/fs/cgroup").join(path)).ok()
}

fn number(path: &str) -> Option<u64> {
    read(path)?.trim().parse().ok()
}

/// A value of a file with one `name value` a line.
fn keyed(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Bytes of memory that the session may use.
pub fn memory_limit() -> Option<u64> {
    number("memory.max")
        .or_else(|| number("memory/memory.limit_in_bytes"))
        .or_else(|| number("memory.limit_in_bytes"))
        .filter(|limit| *limit < NO_LIMIT)
}

/// Bytes of memory that the session uses, without file pages that the kernel can take back at once.
pub fn memory_used() -> Option<u64> {
    let (used, stat) = match number("memory.current") {
        Some(used) => (used, read("memory.stat")),
        None => (
            number("memory/memory.usage_in_bytes")?,
            read("memory/memory.stat"),
        ),
    };
    let reclaimable = stat
        .and_then(|stat| keyed(&stat, "total_inactive_file").or_else(|| keyed(&stat, "inactive_file")))
        .unwrap_or(0);
    Some(used.saturating_sub(reclaimable))
}

/// Nanoseconds of processor time that the session has used.
pub fn cpu_used_ns() -> Option<u64> {
    if let Some(microseconds) = read("cpu.stat").and_then(|stat| keyed(&stat, "usage_usec")) {
        return Some(microseconds.saturating_mul(1000));
    }
    number("cpuacct/cpuacct.usage").or_else(|| number("cpu,cpuacct/cpuacct.usage"))
}

/// Processors' worth of time that the session may use.
pub fn cpu_limit() -> Option<f64> {
    let share = |quota: f64, period: f64| (quota > 0.0 && period > 0.0).then(|| quota / period);
    if let Some(text) = read("cpu.max") {
        let (quota, period) = text.trim().split_once(' ')?;
        return share(quota.parse().ok()?, period.parse().ok()?);
    }
    let of = |folder: &str| {
        let value = |name: &str| read(&format!("{folder}/{name}"))?.trim().parse().ok();
        share(value("cpu.cfs_quota_us")?, value("cpu.cfs_period_us")?)
    };
    of("cpu").or_else(|| of("cpu,cpuacct"))
}

/// How many processes the kernel has killed because the session had no memory left.
pub fn oom_kills() -> Option<u64> {
    keyed(
        &read("memory.events").or_else(|| read("memory/memory.oom_control"))?,
        "oom_kill",
    )
}

/// Whole processors that the session has, at least one.
pub fn cpu_count() -> u64 {
    cpus_below_machine().unwrap_or_else(machine_cpus)
}

/// Whole processors that the session has, where a limit gives it fewer than the machine shows.
pub fn cpus_below_machine() -> Option<u64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small positive number"
    )]
    let limit = (cpu_limit()?.ceil() as u64).max(1);
    (limit < machine_cpus()).then_some(limit)
}

/// Not `available_parallelism`, which knows of limits too: this is what other programs count.
fn machine_cpus() -> u64 {
    rustix::thread::sched_getaffinity(None).map_or(1, |cpus| u64::from(cpus.count()).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_matched_whole() {
        let text = "inactive_file_x 1\ninactive_file 2\n";
        assert_eq!(keyed(text, "inactive_file"), Some(2));
        assert_eq!(keyed(text, "active"), None);
    }
}
