//! How quick our links are: those of our children as we tell them, those to other supernodes by what they are for.
//!
//! A child keeps its link to us at [`Pace::HOME`] unless it is told otherwise. While we have few children each is told to be quick, so that
//! small nets notice a dead home at once; all are told again when they have become many, or few. There are half as many to
//! fall as to rise, so that one that comes and goes does not make us repeat ourselves.

use nearmesh_common::{
    NodeId,
    pace::{FEW_CHILDREN, Pace},
    wire::home::ToChild,
};

use super::world::World;

/// What our children were told.
#[derive(Debug)]
pub(super) struct Pacing {
    few: bool,
}

impl Default for Pacing {
    fn default() -> Self {
        Self { few: true }
    }
}

impl Pacing {
    /// We have so many children: what all of them are to be told, if that is another pace than before.
    pub(super) fn handle_load(&mut self, children: usize) -> Option<Pace> {
        let few = children <= if self.few { FEW_CHILDREN } else { FEW_CHILDREN / 2 };
        (std::mem::replace(&mut self.few, few) != few).then(|| self.pace())
    }

    /// Tells one who is new here.
    pub(super) fn handle_attached(&self, child: NodeId, world: &mut World) {
        if self.few && child != world.own() {
            world.tell_child(child, ToChild::Pace(self.pace()));
        }
    }

    fn pace(&self) -> Pace {
        if self.few { Pace::Quick } else { Pace::HOME }
    }
}
