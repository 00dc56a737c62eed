//! Who looks, what they may do, and who has control. Pure but for the time of day.
//!
//! Control is held by one person at a time. Who may control and acts while nobody does, has it by that; it is asked for,
//! given, refused, taken and let go. Its holder may also take over from the agent, whose mouse and keyboard then rest
//! until they are given back, or the holder is gone.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::audience::ViewerId;
use crate::wire::page::Verb;

/// What a viewer may do besides looking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// Act on the screen.
    pub control: bool,
    /// Put text into the clipboard.
    pub clipboard_in: bool,
    /// Read the clipboard.
    pub clipboard_out: bool,
    /// Bring and fetch files. Not done here, but said to the page.
    pub files: bool,
}

impl Rights {
    /// All of them.
    pub const ALL: Self = Self {
        control: true,
        clipboard_in: true,
        clipboard_out: true,
        files: true,
    };

    fn words(self) -> Vec<&'static str> {
        let words = [
            (true, "view"),
            (self.control, "control"),
            (self.clipboard_in, "clipboard-in"),
            (self.clipboard_out, "clipboard-out"),
            (self.files, "files"),
        ];
        words
            .into_iter()
            .filter(|(has, _)| *has)
            .map(|(_, word)| word)
            .collect()
    }
}

/// Who looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visitor {
    /// For other people to see; may be empty.
    pub name: String,
    /// What let them in, for whoever lists them; may be empty.
    pub ticket: String,
    /// What they may do.
    pub rights: Rights,
}

impl Visitor {
    /// Somebody without a name who may do everything.
    pub fn owner() -> Self {
        Self {
            name: String::new(),
            ticket: String::new(),
            rights: Rights::ALL,
        }
    }
}

/// One who looks, as others are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Presence {
    /// Number of the viewer on this screen.
    pub id: ViewerId,
    /// What they are called; may be empty.
    pub name: String,
    /// What let them in.
    pub ticket: String,
    /// What they may do, in words.
    pub rights: Vec<&'static str>,
    /// When they came, in Unix milliseconds.
    pub since: u64,
    /// Whether they have control.
    #[serde(rename = "control")]
    pub controls: bool,
}

/// Who looks and who has control, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Control {
    /// All who look.
    pub viewers: Vec<Presence>,
    /// Who has control.
    pub holder: Option<ViewerId>,
    /// The agent's mouse and keyboard rest, because the holder took over.
    #[serde(rename = "takenOver")]
    pub taken_over: bool,
    /// Counts the changes.
    pub version: u64,
}

/// The state.
#[derive(Debug, Default)]
pub struct Floor {
    present: Vec<(ViewerId, Visitor, u64)>,
    holder: Option<ViewerId>,
    asked: Vec<ViewerId>,
    taken_over: bool,
    version: u64,
}

/// What all pages are told; each of them besides its own number and rights.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct State<'a> {
    rights: Vec<&'static str>,
    holder: Option<ViewerId>,
    asked: &'a [ViewerId],
    taken_over: bool,
    resizable: bool,
    max_width: u16,
    max_height: u16,
    sound: bool,
    viewers: Vec<Seen<'a>>,
}

#[derive(Serialize)]
struct Seen<'a> {
    id: ViewerId,
    name: &'a str,
    control: bool,
    since: u64,
}

/// What the screen can do, for the pages to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Abilities {
    /// The largest size that the screen can take, if it can change.
    pub largest: Option<(u16, u16)>,
    /// There may be sound.
    pub sound: bool,
}

impl Floor {
    /// Counts the changes.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Who has control.
    pub fn holder(&self) -> Option<ViewerId> {
        self.holder
    }

    /// Whether the agent's mouse and keyboard rest.
    pub fn is_taken_over(&self) -> bool {
        self.taken_over
    }

    /// Something else that pages are told has changed.
    pub fn touch(&mut self) {
        self.version += 1;
    }

    /// Somebody came.
    pub fn enter(&mut self, id: ViewerId, visitor: Visitor) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Milliseconds since 1970 fit for half a billion years.
        self.present.push((id, visitor, since.as_millis() as u64));
        self.version += 1;
    }

    /// Somebody left.
    pub fn leave(&mut self, id: ViewerId) {
        self.present.retain(|(held, ..)| *held != id);
        self.asked.retain(|held| *held != id);
        if self.holder == Some(id) {
            self.hold(None);
        }
        self.version += 1;
    }

    /// What a viewer may do.
    pub fn rights(&self, id: ViewerId) -> Option<Rights> {
        self.present
            .iter()
            .find(|(held, ..)| *held == id)
            .map(|(_, visitor, _)| visitor.rights)
    }

    /// Somebody acts on the screen: whether that counts. Who acts while nobody has control gets it.
    pub fn acts(&mut self, id: ViewerId) -> bool {
        if self.holder.is_none() && self.may_control(id) {
            self.hold(Some(id));
        }
        self.holder == Some(id)
    }

    /// Whether a viewer may act or could by acting.
    pub fn could_act(&self, id: ViewerId) -> bool {
        self.may_control(id) && self.holder.is_none_or(|holder| holder == id)
    }

    /// Does what a viewer asked for, if it may. What makes no sense (any more) changes nothing.
    pub fn request(&mut self, id: ViewerId, verb: Verb, other: ViewerId) {
        if !self.may_control(id) {
            return;
        }
        let is_holder = self.holder == Some(id);
        match verb {
            Verb::Ask if self.holder.is_none() => self.hold(Some(id)),
            Verb::Ask if !is_holder && !self.asked.contains(&id) => {
                self.asked.push(id);
                self.version += 1;
            }
            Verb::Take if !is_holder => self.hold(Some(id)),
            Verb::Give if is_holder && self.may_control(other) => self.hold(Some(other)),
            Verb::Release if is_holder => self.hold(None),
            Verb::Refuse if is_holder && self.asked.contains(&other) => {
                self.asked.retain(|asked| *asked != other);
                self.version += 1;
            }
            Verb::TakeOver if self.acts(id) => self.take_over(true),
            Verb::GiveBack if is_holder => self.take_over(false),
            Verb::Ask | Verb::Take | Verb::Give | Verb::Release => {}
            Verb::Refuse | Verb::TakeOver | Verb::GiveBack => {}
        }
    }

    /// Who looks and who has control.
    pub fn control(&self) -> Control {
        let presence = |(id, visitor, since): &(ViewerId, Visitor, u64)| Presence {
            id: *id,
            name: visitor.name.clone(),
            ticket: visitor.ticket.clone(),
            rights: visitor.rights.words(),
            since: *since,
            controls: self.holder == Some(*id),
        };
        Control {
            viewers: self.present.iter().map(presence).collect(),
            holder: self.holder,
            taken_over: self.taken_over,
            version: self.version,
        }
    }

    /// What the page of `id` is told, as JSON.
    pub fn state(&self, id: ViewerId, abilities: Abilities) -> Vec<u8> {
        let viewers = self.present.iter().map(|(id, visitor, since)| Seen {
            id: *id,
            name: &visitor.name,
            control: visitor.rights.control,
            since: *since,
        });
        let (max_width, max_height) = abilities.largest.unwrap_or_default();
        let state = State {
            rights: self.rights(id).map(Rights::words).unwrap_or_default(),
            holder: self.holder,
            asked: &self.asked,
            taken_over: self.taken_over,
            resizable: abilities.largest.is_some(),
            max_width,
            max_height,
            sound: abilities.sound,
            viewers: viewers.collect(),
        };
        serde_json::to_vec(&state).unwrap_or_default()
    }

    fn may_control(&self, id: ViewerId) -> bool {
        self.rights(id).is_some_and(|rights| rights.control)
    }

    fn hold(&mut self, holder: Option<ViewerId>) {
        self.holder = holder;
        self.asked.retain(|asked| Some(*asked) != holder);
        // Whoever comes next has not taken over from the agent.
        self.taken_over = false;
        self.version += 1;
    }

    fn take_over(&mut self, taken_over: bool) {
        if self.taken_over != taken_over {
            self.taken_over = taken_over;
            self.version += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn visitor(control: bool) -> Visitor {
        Visitor {
            rights: Rights {
                control,
                ..Rights::ALL
            },
            ..Visitor::owner()
        }
    }

    #[test]
    fn control_is_taken_by_acting_asked_for_and_handed_over() {
        let mut floor = Floor::default();
        floor.enter(1, visitor(true));
        floor.enter(2, visitor(true));
        floor.enter(3, visitor(false));
        assert!(!floor.acts(3), "may only look");
        assert!(floor.acts(1) && !floor.acts(2));
        floor.request(2, Verb::Ask, 0);
        assert_eq!(floor.asked, [2]);
        floor.request(3, Verb::Take, 0);
        floor.request(2, Verb::Give, 2);
        assert_eq!(floor.holder, Some(1), "neither may");
        floor.request(1, Verb::Refuse, 2);
        assert!(floor.asked.is_empty());
        floor.request(2, Verb::Ask, 0);
        floor.request(1, Verb::Give, 2);
        assert!(floor.acts(2) && !floor.acts(1) && floor.asked.is_empty());
        floor.request(1, Verb::Take, 0);
        assert!(floor.acts(1));
        floor.leave(1);
        assert!(floor.acts(2));
    }

    #[test]
    fn the_agent_rests_until_it_is_given_back_or_the_holder_is_gone() {
        let mut floor = Floor::default();
        floor.enter(1, visitor(true));
        floor.enter(2, visitor(true));
        floor.request(1, Verb::TakeOver, 0);
        assert!(floor.is_taken_over() && floor.holder == Some(1));
        floor.request(2, Verb::GiveBack, 0);
        assert!(floor.is_taken_over());
        floor.request(1, Verb::GiveBack, 0);
        assert!(!floor.is_taken_over());
        for end in [Verb::Release, Verb::Give] {
            floor.request(1, Verb::Take, 0);
            floor.request(1, Verb::TakeOver, 0);
            floor.request(1, end, 2);
            assert!(!floor.is_taken_over());
            floor.request(2, Verb::Release, 0);
        }
        floor.request(1, Verb::TakeOver, 0);
        floor.leave(1);
        assert!(!floor.is_taken_over());
    }

    #[test]
    fn pages_are_told_what_they_may_do() {
        let mut floor = Floor::default();
        floor.enter(
            7,
            Visitor {
                name: "Ann \"A\"".into(),
                ..visitor(false)
            },
        );
        let abilities = Abilities {
            largest: Some((3840, 2160)),
            sound: false,
        };
        let state: serde_json::Value = serde_json::from_slice(&floor.state(7, abilities)).unwrap();
        assert_eq!(
            state["rights"],
            serde_json::json!(["view", "clipboard-in", "clipboard-out", "files"])
        );
        assert_eq!(state["viewers"][0]["name"], "Ann \"A\"");
        assert_eq!(
            (&state["holder"], &state["maxWidth"]),
            (&serde_json::Value::Null, &3840.into())
        );
    }

    fn any_verb() -> impl Strategy<Value = Verb> {
        prop::sample::select(vec![
            Verb::Ask,
            Verb::Take,
            Verb::Give,
            Verb::Release,
            Verb::Refuse,
            Verb::TakeOver,
            Verb::GiveBack,
        ])
    }

    proptest! {
        #[test]
        fn only_one_who_is_there_and_may_has_control(
            steps in prop::collection::vec((0u8..4, 1u64..6, 1u64..6, any_verb()), 0..80)
        ) {
            let mut floor = Floor::default();
            for (step, id, other, verb) in steps {
                let before = floor.control();
                match step {
                    0 if floor.rights(id).is_none() => floor.enter(id, visitor(id % 2 == 0)),
                    1 => floor.leave(id),
                    2 => drop(floor.acts(id)),
                    _ => floor.request(id, verb, other),
                }
                let after = floor.control();
                prop_assert!(after.holder.is_none_or(|holder| floor.may_control(holder)));
                prop_assert!(floor.asked.iter().all(|asked| floor.may_control(*asked) && Some(*asked) != after.holder));
                prop_assert!(!after.taken_over || after.holder.is_some());
                prop_assert!(before.version != after.version || before == after);
            }
        }
    }
}
