//! What each viewer has been shown, with the work shared among those who have been shown the same.
//!
//! Viewers form groups. A group has one [`Shown`]: the picture that its members' pages show, and where that may differ
//! from the latest capture. When an update is due, one encoding serves all members of a group that can take
//! it; members that cannot are left behind as a group of their own, and are repainted from there when they can. Groups
//! that have caught up hold the same picture, so they become one.
//!
//! Invariant: two groups that are current show the same, namely what the screen shows.

use crate::encode::Shown;
use crate::ops::Ops;
use crate::picture::Picture;
use crate::region::Region;

/// A viewer within this screen.
pub type ViewerId = u64;

/// All viewers of a screen, in groups.
#[derive(Default)]
pub struct Audience {
    groups: Vec<Group>,
}

struct Group {
    shown: Shown,
    members: Vec<ViewerId>,
}

impl Audience {
    /// A viewer that has seen nothing of a picture this size.
    pub fn join(&mut self, viewer: ViewerId, picture: &Picture) {
        let shown = Shown::nothing(picture.width(), picture.height());
        self.groups.push(Group {
            shown,
            members: vec![viewer],
        });
    }

    /// A viewer is gone.
    pub fn leave(&mut self, viewer: ViewerId) {
        for group in &mut self.groups {
            group.members.retain(|member| *member != viewer);
        }
        self.groups.retain(|group| !group.members.is_empty());
    }

    /// The screen changed in `fresh`.
    pub fn changed(&mut self, fresh: &Region) {
        for group in &mut self.groups {
            group.shown.changed(fresh);
        }
    }

    /// Viewers that do not see all that the last capture shows.
    pub fn behind(&self) -> impl Iterator<Item = ViewerId> + '_ {
        self.groups
            .iter()
            .filter(|group| !group.shown.is_current())
            .flat_map(|group| group.members.iter().copied())
    }

    /// Brings viewers up to `picture`. `budget` says how many bytes a viewer can take, or that it can take none now;
    /// `send` gets the operations, and for whom they are.
    pub fn update(
        &mut self,
        picture: &Picture,
        ops: &mut Ops,
        budget: impl Fn(ViewerId) -> Option<usize>,
        mut send: impl FnMut(&[ViewerId], &Ops),
    ) {
        let mut left_behind = Vec::new();
        for group in self.groups.iter_mut().filter(|group| !group.shown.is_current()) {
            let (ready, blocked): (Vec<_>, Vec<_>) = group
                .members
                .iter()
                .copied()
                .partition(|id: &ViewerId| budget(*id).is_some());
            // The slowest member decides how much at a time, so that they stay together.
            let Some(budget) = ready.iter().filter_map(|id| budget(*id)).min() else {
                continue;
            };
            if !blocked.is_empty() {
                left_behind.push(Group {
                    shown: group.shown.clone(),
                    members: blocked,
                });
            }
            group.members = ready;
            group.shown.catch_up(picture, budget, ops);
            if !ops.bytes().is_empty() {
                send(&group.members, ops);
            }
        }
        self.groups.append(&mut left_behind);
        self.unite();
    }

    fn unite(&mut self) {
        let (caught_up, mut groups): (Vec<_>, Vec<_>) = std::mem::take(&mut self.groups)
            .into_iter()
            .partition(|group| group.shown.is_current());
        groups.extend(caught_up.into_iter().reduce(|mut one, other| {
            one.members.extend(other.members);
            one
        }));
        self.groups = groups;
    }
}

#[cfg(test)]
#[path = "audience_tests.rs"]
mod tests;
