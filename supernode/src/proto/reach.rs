//! Whom to ask in which part of the net: pure functions of the membership.
//!
//! While the division into groups changes, two of them count, and a search goes by the finer one: whose members we are linked to, whichever way it
//! goes. After a split these were our mates already; before a merge ends they still are.

use std::{collections::BTreeMap, time::Duration};

use nearmesh_common::{NodeId, wire::mesh::Part};

use super::{
    membership::{Membership, Standing},
    placement::{Group, Groups, Place},
    world::World,
};

/// Contacts of one part that a search may turn to.
const CONTACTS: usize = 2;

/// What may be expected of it, how far it is, and who: in this order they are asked.
type Linked = (Standing, Duration, NodeId);

/// Whom a search can ask.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// Members of our own group.
    pub(super) mates: Vec<NodeId>,
    /// Other parts of the net, the round trip to the nearest contact, and the contacts.
    pub(super) parts: Vec<(Duration, Part, Vec<NodeId>)>,
    /// Parts in which we know nobody.
    pub(super) unreachable: usize,
}

/// Whom to ask for everything in `scope`, or in the whole net; `asking` is not asked itself.
pub(super) fn reach(
    scope: Option<Part>,
    asking: Option<NodeId>,
    membership: &Membership,
    world: &World,
) -> Reach {
    let groups = finest(membership);
    let own = groups.of(&world.own().0);
    let fits = |node: &NodeId| scope.is_none_or(|scope| contains(scope, node)) && Some(*node) != asking;
    let mut reach = Reach::default();
    if scope.is_some_and(|scope| is_within(scope, groups.part(own))) && membership.former_groups().is_none() {
        reach.mates = membership.mates().filter(fits).collect();
        return reach;
    }
    let mut linked: BTreeMap<Group, Vec<Linked>> = BTreeMap::new();
    for node in membership.members() {
        let group = groups.of(&node.0);
        if group == own {
            reach.mates.extend(Some(node).filter(fits));
        } else if Some(node) != asking {
            let standing = membership.standing(&node, world);
            linked.entry(group).or_default().push((standing, world.links.rtt(&node), node));
        }
    }
    linked.values_mut().for_each(|contacts| contacts.sort_unstable());
    for group in groups.all().filter(|group| *group != own) {
        let Some(part) = common(scope, groups.part(group)) else { continue };
        match contacts(groups, group, &linked) {
            contacts if contacts.is_empty() => reach.unreachable += 1,
            contacts => {
                let nodes = contacts.iter().take(CONTACTS).map(|(.., node)| *node).collect();
                reach.parts.push((contacts[0].1, part, nodes));
            }
        }
    }
    reach
}

/// Contacts for the key of `place` in its group by this division, nearest first.
pub(super) fn contacts_for(
    place: Place,
    groups: Groups,
    membership: &Membership,
    world: &World,
) -> Vec<NodeId> {
    let group = place.group(groups);
    if groups == membership.groups() {
        return membership.contacts(group, world);
    }
    let mut found: Vec<_> = membership.members().filter(|node| groups.of(&node.0) == group).collect();
    found.sort_by_cached_key(|node| (membership.standing(node, world), world.links.rtt(node)));
    found
}

/// The division that a search goes by.
fn finest(membership: &Membership) -> Groups {
    membership.former_groups().into_iter().fold(membership.groups(), Groups::max)
}

/// Those linked in a group; where there is nobody yet, in the larger one that it is a half of, and so on.
fn contacts(groups: Groups, group: Group, linked: &BTreeMap<Group, Vec<Linked>>) -> Vec<Linked> {
    if let Some(contacts) = linked.get(&group) {
        return contacts.clone();
    }
    let siblings = |bits: u8| {
        let kin = move |other: u16| other >> bits == group.number() >> bits;
        linked.iter().filter(move |(other, _)| kin(other.number())).flat_map(|(_, contacts)| contacts.clone())
    };
    let mut found: Vec<_> = (1..=groups.bits())
        .map(|bits| siblings(bits).collect::<Vec<_>>())
        .find(|some| !some.is_empty())
        .unwrap_or_default();
    found.sort_unstable();
    found
}

fn contains(part: Part, node: &NodeId) -> bool {
    Groups::new(part.bits).of(&node.0).number() == part.number
}

/// Whether `inner` is the same as `outer` or a part of it.
fn is_within(inner: Part, outer: Part) -> bool {
    inner.bits >= outer.bits && inner.number >> (inner.bits - outer.bits) == outer.number
}

/// What `scope` and `part` have in common.
fn common(scope: Option<Part>, part: Part) -> Option<Part> {
    match scope {
        None => Some(part),
        Some(scope) if is_within(part, scope) => Some(part),
        Some(scope) if is_within(scope, part) => Some(scope),
        Some(_) => None,
    }
}
