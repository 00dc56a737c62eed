//! Where pointers are and what they do, for those who watch: the agent's, and people's.

use std::collections::VecDeque;

use crate::audience::ViewerId;
use crate::wire::page::{Input, Position};

/// Marks that are kept for viewers who cannot take them now. Moves replace each other, so these are clicks.
const MAX_MARKS: usize = 32;

/// Who acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// A program.
    Agent,
    /// A person in a page.
    Person(ViewerId),
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// The pointer moved.
    Moved,
    /// A button went down.
    Down,
    /// A button came up.
    Up,
    /// Something was typed.
    Types,
}

/// One thing that was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Who did it.
    pub actor: Actor,
    /// Where the pointer is.
    pub at: Position,
    /// What it was.
    pub deed: Deed,
}

/// The latest marks, numbered from 1.
#[derive(Debug, Default)]
pub struct Marks {
    marks: VecDeque<(u64, Mark)>,
    last: u64,
    pointer: Position,
}

impl Marks {
    /// Somebody acts. What shows nothing is no mark.
    pub fn add(&mut self, actor: Actor, input: &Input<'_>) {
        let (at, deed) = match *input {
            Input::Pointer(at) | Input::Wheel { at, .. } => (at, Deed::Moved),
            Input::Button { down: true, at, .. } => (at, Deed::Down),
            Input::Button { down: false, at, .. } => (at, Deed::Up),
            Input::Key(key) if key.down => (self.pointer, Deed::Types),
            Input::Text(_) => (self.pointer, Deed::Types),
            Input::Key(_) | Input::Clipboard(_) | Input::Release => return,
        };
        self.pointer = at;
        let mark = Mark { actor, at, deed };
        let replaceable = |(_, held): &(u64, Mark)| {
            held.actor == actor
                && (held.deed == Deed::Moved || (held.deed, deed) == (Deed::Types, Deed::Types))
        };
        if self.marks.back().is_some_and(replaceable) {
            self.marks.pop_back();
        } else if self.marks.len() == MAX_MARKS {
            self.marks.pop_front();
        }
        self.last += 1;
        self.marks.push_back((self.last, mark));
    }

    /// The number of the latest.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Those after number `seen`, but not of `viewer` itself.
    pub fn after(&self, seen: u64, viewer: ViewerId) -> Vec<Mark> {
        let new = self.marks.iter().filter(|(number, _)| *number > seen);
        new.map(|(_, mark)| *mark)
            .filter(|mark| mark.actor != Actor::Person(viewer))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_replace_each_other_and_clicks_do_not() {
        let mut marks = Marks::default();
        let at = |x| Position { x, y: 5 };
        for x in 0..100 {
            marks.add(Actor::Agent, &Input::Pointer(at(x)));
        }
        for down in [true, false] {
            marks.add(
                Actor::Agent,
                &Input::Button {
                    button: 1,
                    down,
                    at: at(100),
                },
            );
        }
        marks.add(Actor::Person(3), &Input::Text("x"));
        let deeds = |viewer| {
            marks
                .after(0, viewer)
                .iter()
                .map(|mark| mark.deed)
                .collect::<Vec<_>>()
        };
        assert_eq!(deeds(1), [Deed::Down, Deed::Up, Deed::Types]);
        assert_eq!(deeds(3), [Deed::Down, Deed::Up], "its own are not told");
        assert!(marks.after(marks.last(), 1).is_empty());
        for _ in 0..1000 {
            marks.add(
                Actor::Agent,
                &Input::Button {
                    button: 1,
                    down: true,
                    at: at(1),
                },
            );
        }
        assert_eq!(marks.after(0, 1).len(), MAX_MARKS);
    }
}
