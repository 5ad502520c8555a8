//! Who holds a key, by what this supernode sees of the groups.

use nearmesh_common::NodeId;

use super::{
    super::{
        handover::Division,
        placement::{Groups, Place},
    },
    Supernode,
};

/// Contacts in another group that are told of what changed.
pub(super) const TOLD_CONTACTS: usize = 2;

impl Supernode {
    /// The divisions of the net that count now, the present one first.
    pub(super) fn divisions(&self) -> impl Iterator<Item = Groups> + use<> {
        std::iter::once(self.membership.groups()).chain(self.membership.former_groups())
    }

    pub(super) fn is_ours(&self, place: Place, groups: Groups) -> bool {
        place.group(groups) == groups.of(&self.world.own().0)
    }

    /// Whether an id is one of our group's, or of our former one while that counts.
    pub(super) fn is_mate(&self, node: &NodeId) -> bool {
        let same = |groups: Groups| groups.of(&node.0) == groups.of(&self.world.own().0);
        self.divisions().any(same)
    }

    pub(super) fn holds(&self, place: Place) -> bool {
        self.holds_by(self.membership.groups(), place)
    }

    /// Whether others ask us about it as a holder: who was one also is while the division into groups changes.
    pub(super) fn holds_now(&self, place: Place) -> bool {
        self.divisions().any(|groups| self.holds_by(groups, place))
    }

    fn holds_by(&self, groups: Groups, place: Place) -> bool {
        self.is_ours(place, groups) && self.holders(place, groups).contains(&self.world.own())
    }

    /// Whether we are linked to all who hold it by this division: those of our group, and where groups were merged those of its parts.
    pub(super) fn knows_holders(&self, place: Place, groups: Groups) -> bool {
        let present = self.membership.groups();
        self.is_ours(place, groups) || groups.bits() > present.bits() && self.is_ours(place, present)
    }

    /// The holders of a key by this division, if [`Self::knows_holders`]. One that is silent may be dead: the next is taken in its place until it speaks.
    /// Who came after the net was divided otherwise did not hold anything by the former division.
    pub(super) fn holders(&self, place: Place, groups: Groups) -> Vec<NodeId> {
        let own = self.world.own();
        let alive = |mate: &NodeId| !self.world.links.is_silent(mate);
        if groups == self.membership.groups() {
            return place.holders(self.membership.mates().filter(alive).chain([own]));
        }
        let group = place.group(groups);
        let knew = |node: &NodeId| self.membership.knew_before(node) && alive(node);
        let members = self.membership.members().filter(knew).chain([own]);
        place.holders(members.filter(|node| groups.of(&node.0) == group))
    }

    /// Who would hold a key of our own group if they were not silent. What is new of it goes to them as well: who only seems dead must not miss it.
    pub(super) fn silent_holders(&self, place: Place, groups: Groups) -> Vec<NodeId> {
        let links = &self.world.links;
        if !links.any_silent() {
            return Vec::new();
        }
        let group = groups.of(&self.world.own().0);
        let mates = self.membership.members().filter(|node| groups.of(&node.0) == group);
        let holders = place.holders(mates.chain([self.world.own()]));
        holders.into_iter().filter(|holder| links.is_silent(holder)).collect()
    }

    /// Who holds a key of our own group in place of one that is silent or gone.
    pub(super) fn successors(&self, of: &NodeId, place: Place) -> Vec<NodeId> {
        let after = self.holders(place, self.membership.groups());
        let alive = self.membership.mates().filter(|mate| !self.world.links.is_silent(mate));
        let before = place.holders(alive.chain([self.world.own(), *of]));
        after.into_iter().filter(|holder| !before.contains(holder)).collect()
    }

    pub(super) fn division(&self) -> Division {
        let groups = self.membership.groups();
        let alive = |mate: &NodeId| !self.world.links.is_silent(mate);
        Division {
            groups,
            group: groups.of(&self.world.own().0),
            members: self.membership.mates().filter(alive).chain([self.world.own()]).collect(),
            changing: self.membership.former_groups().is_some(),
        }
    }
}
