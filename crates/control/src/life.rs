//! The life of a session. Pure: callers bring facts and write down the answer.
//!
//! ```text
//! Running <--pause, resume--> Paused
//!    |                          |
//!    +-------- end(why) --------+--> Ending(why) --sandbox gone--> Ended(why)
//!    +---- sandbox gone (nobody asked) ----+---------------------------^
//! ```
//!
//! A session is written down when its sandbox is ready, so there is no state before `Running`: what comes earlier is the
//! life of a sandbox, which no client knows by name.
//!
//! Invariant: the first reason to end is kept. A release that races the reaper must not change what the caller was
//! told.

use std::fmt;
use std::sync::Arc;

/// Why a session ended. Each has a word for the store and a sentence for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// Its owner released it.
    Released,
    /// Nobody used it for its idle timeout.
    Idle,
    /// It reached the server's lifetime limit.
    Lifetime,
    /// Its memory limit was reached and the guest was the victim.
    OutOfMemory,
    /// Its guest ended by itself.
    Crashed,
    /// It was ended together with its server.
    ServerStopped,
    /// It was gone when the server started: the machine was restarted, or someone removed it.
    HostRestarted,
    /// Its API key was revoked, or has expired.
    KeyRevoked,
}

impl EndReason {
    pub(crate) const ALL: [EndReason; 8] = [
        EndReason::Released,
        EndReason::Idle,
        EndReason::Lifetime,
        EndReason::OutOfMemory,
        EndReason::Crashed,
        EndReason::ServerStopped,
        EndReason::HostRestarted,
        EndReason::KeyRevoked,
    ];

    /// The word under which it is stored and shown to programs.
    pub fn word(self) -> &'static str {
        match self {
            EndReason::Released => "released",
            EndReason::Idle => "idle",
            EndReason::Lifetime => "lifetime",
            EndReason::OutOfMemory => "out-of-memory",
            EndReason::Crashed => "crashed",
            EndReason::ServerStopped => "server-stopped",
            EndReason::HostRestarted => "host-restarted",
            EndReason::KeyRevoked => "key-revoked",
        }
    }

    /// The reason that a stored word stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.word() == word)
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EndReason::Released => "it was released by its owner",
            EndReason::Idle => "it was released because nobody used it for its idle timeout",
            EndReason::Lifetime => "it reached the lifetime limit of this server",
            EndReason::OutOfMemory => "it used all the memory that it may have",
            EndReason::ServerStopped => "it was ended together with its server",
            EndReason::Crashed => "its guest process ended unexpectedly",
            EndReason::HostRestarted => "the machine was restarted, or its sandbox was removed from outside",
            EndReason::KeyRevoked => "its API key was revoked or has expired",
        })
    }
}

/// Why a session ended, with what is known beyond the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Why.
    pub reason: EndReason,
    /// Which key released it, or how its guest ended: part of a sentence, for people.
    pub detail: Option<Arc<str>>,
}

impl From<EndReason> for End {
    fn from(reason: EndReason) -> Self {
        Self { reason, detail: None }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.detail {
            Some(detail) => write!(f, "{} ({detail})", self.reason),
            None => self.reason.fmt(f),
        }
    }
}

/// How far a session has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It takes calls.
    Running,
    /// Its processes are frozen; a call thaws them first.
    Paused,
    /// It takes no more calls; its sandbox is being removed.
    Ending(EndReason),
    /// Nothing of it is left on this machine.
    Ended(EndReason),
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Its processes were frozen.
    Pause,
    /// They were thawed.
    Resume,
    /// Someone or something wants it to end.
    End(EndReason),
    /// Its sandbox is gone.
    SandboxGone,
}

impl State {
    /// The state after `event`. Every event is possible in every state, since facts arrive late.
    pub fn after(self, event: Event) -> State {
        match (self, event) {
            (State::Running | State::Paused, Event::Pause) => State::Paused,
            (State::Running | State::Paused, Event::Resume) => State::Running,
            (State::Running | State::Paused, Event::End(why)) => State::Ending(why),
            // Nobody asked it to stop, so something killed it: that is a reason too.
            (State::Running | State::Paused, Event::SandboxGone) => State::Ended(EndReason::Crashed),
            (State::Ending(why), Event::SandboxGone) => State::Ended(why),
            (State::Ending(why), Event::End(_) | Event::Pause | Event::Resume) => State::Ending(why),
            (State::Ended(why), _) => State::Ended(why),
        }
    }

    /// Why it ends or ended.
    pub fn end_reason(self) -> Option<EndReason> {
        match self {
            State::Running | State::Paused => None,
            State::Ending(why) | State::Ended(why) => Some(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    fn any_event() -> impl Strategy<Value = Event> {
        prop_oneof![
            select(EndReason::ALL.as_slice()).prop_map(Event::End),
            Just(Event::Pause),
            Just(Event::Resume),
            Just(Event::SandboxGone)
        ]
    }

    proptest! {
        #[test]
        fn the_first_reason_to_end_is_kept(events in prop::collection::vec(any_event(), 0..50)) {
            let (mut state, mut told) = (State::Running, None);
            for event in events {
                state = state.after(event);
                told = told.or(state.end_reason());
                prop_assert_eq!(state.end_reason(), told);
            }
        }

        #[test]
        fn nothing_comes_back_to_life(events in prop::collection::vec(any_event(), 0..50)) {
            let rank = |state: State| match state {
                State::Running | State::Paused => 0,
                State::Ending(_) => 1,
                State::Ended(_) => 2,
            };
            let mut state = State::Running;
            for event in events {
                let next = state.after(event);
                prop_assert!(rank(next) >= rank(state));
                state = next;
            }
        }

        #[test]
        fn a_live_session_is_what_the_last_event_made_of_it(pauses in prop::collection::vec(any::<bool>(), 1..50)) {
            let events = pauses.iter().map(|pause| if *pause { Event::Pause } else { Event::Resume });
            let state = events.fold(State::Running, State::after);
            prop_assert_eq!(state == State::Paused, *pauses.last().unwrap());
        }
    }

    #[test]
    fn every_word_leads_back_to_its_reason() {
        for reason in EndReason::ALL {
            assert_eq!(EndReason::from_word(reason.word()), Some(reason));
        }
    }
}
