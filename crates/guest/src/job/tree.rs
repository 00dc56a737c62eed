//! Finding and killing every process that a job started, also those that tried to get away.
//!
//! A supervisor is the reaper of its descendants: a process whose parent ended becomes the supervisor's child, so a
//! walk from the supervisor finds daemons and double forks too. A process may fork while it is being looked for;
//! therefore everything found is stopped first, and killed only when a walk finds nothing new.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::wire::End;

/// Walks until nothing new appears. A fork bomb at its process limit needs a few; this many mean something is wrong.
const WALKS_MAX: usize = 1000;

/// How long killed processes get to disappear.
const DEATH_TIME_MAX: Duration = Duration::from_secs(5);

/// What a kill achieved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Processes that were killed.
    pub killed: usize,
    /// Processes that were killed but are still there.
    pub stuck: usize,
}

/// Kills the processes that `end` names. `reap` takes over ended children of this process.
pub fn end(end: &End, own_pid: i32, mut reap: impl FnMut()) -> Outcome {
    let root = end.root.unwrap_or(own_pid);
    let mut killed = 0;
    let give_up = Instant::now() + DEATH_TIME_MAX;
    loop {
        let victims = stop_all(end, root, own_pid);
        for victim in &victims {
            // Already gone is as good.
            let _ = pidfd_send_signal(&victim.handle, Signal::KILL);
        }
        killed += victims.len();
        let stuck = wait_for(&victims, give_up);
        reap();
        // A round that found nobody ends it; so does a victim that will not die.
        if victims.is_empty() || stuck > 0 {
            return Outcome { killed, stuck };
        }
    }
}

/// Whether this process has children that still run.
pub fn has_children(own_pid: i32) -> bool {
    children(own_pid)
        .into_iter()
        .any(|pid| Process::read(pid).is_some_and(|process| !process.ended))
}

struct Victim {
    handle: OwnedFd,
}

/// Stops everything that is to be killed and returns it.
fn stop_all(end: &End, root: i32, own_pid: i32) -> Vec<Victim> {
    let mut victims = Vec::new();
    let mut stopped = HashSet::new();
    for _ in 0..WALKS_MAX {
        let mut found_new = false;
        for (pid, process) in descendants(root) {
            let spared = end.keep.contains(&pid)
                || pid == own_pid
                || end.since_ticks.is_some_and(|since| process.started_ticks < since);
            if spared || process.ended || stopped.contains(&(pid, process.started_ticks)) {
                continue;
            }
            let Some(handle) = open(pid, &process) else {
                continue;
            };
            let _ = pidfd_send_signal(&handle, Signal::STOP);
            stopped.insert((pid, process.started_ticks));
            victims.push(Victim { handle });
            found_new = true;
        }
        if !found_new {
            break;
        }
    }
    victims
}

/// A handle on exactly the process that was seen: a number may have been given to another one since.
fn open(pid: i32, seen: &Process) -> Option<OwnedFd> {
    let handle = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    (Process::read(pid)?.started_ticks == seen.started_ticks).then_some(handle)
}

/// Waits until the victims are dead; returns how many are not.
fn wait_for(victims: &[Victim], give_up: Instant) -> usize {
    let mut alive: Vec<&Victim> = victims.iter().collect();
    while !alive.is_empty() {
        let left = give_up.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let mut handles: Vec<PollFd<'_>> = alive
            .iter()
            .map(|victim| PollFd::new(&victim.handle, PollFlags::IN))
            .collect();
        let timeout = Timespec::try_from(left).ok();
        if poll(&mut handles, timeout.as_ref()).is_err() {
            continue;
        }
        let dead: Vec<bool> = handles
            .iter()
            .map(|handle| !handle.revents().is_empty())
            .collect();
        let mut dead = dead.into_iter();
        alive.retain(|_| !dead.next().unwrap_or(false));
    }
    alive.len()
}

/// `root` and everything below it. `root` comes first.
fn descendants(root: i32) -> Vec<(i32, Process)> {
    let mut found: Vec<(i32, Process)> = Process::read(root)
        .map(|process| (root, process))
        .into_iter()
        .collect();
    let mut seen = HashSet::from([root]);
    let mut next = 0;
    while next < found.len() {
        for pid in children(found[next].0) {
            if seen.insert(pid)
                && let Some(process) = Process::read(pid)
            {
                found.push((pid, process));
            }
        }
        next += 1;
    }
    found
}

/// The children of `pid`. Each of its threads has a list of its own.
fn children(pid: i32) -> Vec<i32> {
    let Ok(threads) = fs_err::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let mut all = Vec::new();
    for thread in threads.flatten() {
        let path = thread.path().join("children");
        let Ok(list) = fs_err::read_to_string(path) else {
            continue;
        };
        all.extend(
            list.split_ascii_whitespace()
                .filter_map(|pid| pid.parse::<i32>().ok()),
        );
    }
    all
}

struct Process {
    ended: bool,
    started_ticks: u64,
}

impl Process {
    fn read(pid: i32) -> Option<Self> {
        Self::parse(&fs_err::read(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The name is in parentheses and may hold anything, parentheses and line ends too: fields are counted after it.
    fn parse(stat: &[u8]) -> Option<Self> {
        let after_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
        let rest = std::str::from_utf8(&stat[after_name..]).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?;
        let started_ticks = fields.nth(18)?.parse().ok()?;
        Some(Self {
            ended: matches!(state, "Z" | "X"),
            started_ticks,
        })
    }
}

/// Now, in clock ticks since the machine started: the unit of [`End::since_ticks`].
pub fn now_ticks() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let per_second = rustix::param::clock_ticks_per_second();
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds * per_second + nanoseconds * per_second / 1_000_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = b"12 (a) R (b) c) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0";
        let process = Process::parse(stat).unwrap();
        assert!(!process.ended);
        assert_eq!(process.started_ticks, 4242);
    }

    #[test]
    fn this_process_started_before_now() {
        let own = Process::read(std::process::id().try_into().unwrap()).unwrap();
        assert!(own.started_ticks <= now_ticks());
        assert!(own.started_ticks > 0);
    }
}
