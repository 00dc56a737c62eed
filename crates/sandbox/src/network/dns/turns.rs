//! Who may have how much under way at once, so that nobody's greed leaves another without.

use std::{
    collections::HashMap,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
};

/// Limits, and what is under way.
///
/// Each sandbox has a few turns for sure. Beyond those it gets another only while more are free than it has: however many are
/// greedy, they come to hold equal parts and leave one such part free.
#[derive(Debug)]
pub(super) struct Turns {
    /// What each sandbox has for sure, though all others are greedy.
    sure: usize,
    /// What one sandbox has at most.
    each: usize,
    /// What all have at most together, but for what is sure.
    all: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// By sandbox. An entry goes with its last turn.
    each: HashMap<Ipv4Addr, usize>,
}

/// The right to have one thing under way.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Arc<Turns>,
    sandbox: Ipv4Addr,
}

impl Turns {
    pub(super) fn new(sure: usize, each: usize, all: usize) -> Arc<Self> {
        Arc::new(Self {
            sure,
            each,
            all,
            taken: Mutex::default(),
        })
    }

    /// A turn for a sandbox; none when it has its share.
    pub(super) fn take(self: &Arc<Self>, sandbox: Ipv4Addr) -> Option<Turn> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let has = taken.each.get(&sandbox).copied().unwrap_or_default();
        let free = self.all.saturating_sub(taken.all);
        if has >= self.sure && has >= self.each.min(free) {
            return None;
        }
        taken.all += 1;
        taken.each.insert(sandbox, has + 1);
        Some(Turn {
            turns: self.clone(),
            sandbox,
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut taken = self.turns.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        if let Some(count) = taken.each.get_mut(&self.sandbox) {
            *count -= 1;
            if *count == 0 {
                taken.each.remove(&self.sandbox);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sandbox(n: usize) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 213, 0, 1)) + 2 * n as u32)
    }

    /// All that one sandbox gets.
    fn greedy(turns: &Arc<Turns>, n: usize) -> Vec<Turn> {
        std::iter::from_fn(|| turns.take(sandbox(n))).collect()
    }

    #[test]
    fn a_greedy_sandbox_is_bounded_and_gives_back_what_it_had() {
        let turns = Turns::new(4, 64, 512);
        let held = greedy(&turns, 0);
        assert_eq!(held.len(), 64);
        assert!(turns.take(sandbox(1)).is_some());
        drop(held);
        assert!(turns.take(sandbox(0)).is_some());
        let taken = turns.taken.lock().unwrap();
        assert!(taken.all == 0 && taken.each.is_empty(), "{taken:?}");
    }

    #[test]
    fn however_many_are_greedy_another_has_its_turns() {
        for others in [1, 8, 64, 1000] {
            let turns = Turns::new(4, 64, 512);
            let mut held: Vec<Turn> = (0..others).flat_map(|n| greedy(&turns, n)).collect();
            let last = greedy(&turns, others);
            assert!(last.len() >= 4, "{others} greedy ones left {}", last.len());
            held.extend(last);
            assert!(held.len() <= 512 + 4 * (others + 1), "{}", held.len());
        }
    }

    #[test]
    fn those_that_come_and_go_hold_equal_parts() {
        let turns = Turns::new(4, 64, 512);
        let mut held: Vec<Vec<Turn>> = (0..15).map(|n| greedy(&turns, n)).collect();
        // Each turn that ends is asked for by all of them.
        for round in 0..2000 {
            held[round % 15].pop();
            for n in 0..15 {
                held[(round + n) % 15].extend(turns.take(sandbox((round + n) % 15)));
            }
        }
        for held in &held {
            assert!((28..=36).contains(&held.len()), "{}", held.len());
        }
    }
}
