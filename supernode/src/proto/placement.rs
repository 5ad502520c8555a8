//! Where a key has its place: pure functions of the membership.
//!
//! A key's hash names a group by its leading bits, as a supernode's id names its own. Within the group the three members
//! with the highest random weight hold it (Thaler and Ravishankar, 1998): when a member comes or goes, only the keys that it
//! gains or loses move, and everybody who knows the same members finds the same holders.

use std::ops::RangeInclusive;

use nearmesh_common::{NodeId, supernode_record::MAX_GROUP_BITS};

/// How many members hold a key (design, section 6).
pub(super) const HOLDERS: usize = 3;

/// Into how many groups the net is divided, as a number of leading bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Groups {
    bits: u8,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group(u16);

impl Groups {
    /// A full mesh: all in one group, while there are at most 64 supernodes.
    pub(super) const ONE: Self = Self { bits: 0 };

    /// Divided by so many leading bits, at most [`MAX_GROUP_BITS`].
    pub(super) fn new(bits: u8) -> Self {
        Self { bits: bits.min(MAX_GROUP_BITS) }
    }

    /// How many leading bits.
    pub(super) fn bits(self) -> u8 {
        self.bits
    }

    /// How many groups.
    pub(super) fn count(self) -> usize {
        1 << self.bits
    }

    /// Every group.
    pub(super) fn all(self) -> impl Iterator<Item = Group> {
        (0..1 << self.bits).map(Group)
    }

    /// The group with this number, if there are so many.
    pub(super) fn numbered(self, number: u16) -> Option<Group> {
        (usize::from(number) < self.count()).then_some(Group(number))
    }

    /// The lowest and the highest id that a member of `group` can have.
    pub(super) fn ids(self, group: Group) -> RangeInclusive<NodeId> {
        let free = u16::BITS - u32::from(self.bits);
        let first = group.0.checked_shl(free).unwrap_or(0);
        let last = first | u16::MAX.checked_shr(u32::from(self.bits)).unwrap_or(0);
        let id = |leading: u16, rest: u8| {
            let mut id = [rest; 32];
            id[..2].copy_from_slice(&leading.to_be_bytes());
            NodeId(id)
        };
        id(first, 0)..=id(last, u8::MAX)
    }

    /// The group that 32 even bytes, a node id or a key's hash, belong to.
    pub(super) fn of(self, bytes: &[u8; 32]) -> Group {
        let leading = u16::from_be_bytes([bytes[0], bytes[1]]);
        Group(leading.checked_shr(u16::BITS - u32::from(self.bits)).unwrap_or(0))
    }
}

impl Group {
    /// Its number, as it travels.
    pub(super) fn number(self) -> u16 {
        self.0
    }
}

/// The members that hold `key`, the first choice first: at most [`HOLDERS`] of its group.
pub(super) fn holders(key: &[u8], members: impl Iterator<Item = NodeId>, groups: Groups) -> Vec<NodeId> {
    let hash = *blake3::hash(key).as_bytes();
    let group = groups.of(&hash);
    let mut weighed: Vec<_> =
        members.filter(|node| groups.of(&node.0) == group).map(|node| (weight(&hash, &node), node)).collect();
    weighed.sort_unstable_by(|a, b| b.cmp(a));
    weighed.into_iter().take(HOLDERS).map(|(_, node)| node).collect()
}

fn weight(key: &[u8; 32], node: &NodeId) -> [u8; 32] {
    *blake3::keyed_hash(key, &node.0).as_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn node(number: u8) -> NodeId {
        NodeId(*blake3::hash(&[number]).as_bytes())
    }

    #[test]
    fn everybody_finds_the_same_three_whatever_the_order() {
        let forwards = holders(b"bob", (0..20).map(node), Groups::ONE);
        let backwards = holders(b"bob", (0..20).rev().map(node), Groups::ONE);
        assert_eq!(forwards, backwards);
        assert_eq!(forwards.len(), HOLDERS);
        assert_eq!(holders(b"bob", (0..2).map(node), Groups::ONE).len(), 2);
    }

    #[test]
    fn when_a_member_goes_only_its_own_keys_move() {
        for key in 0..200u8 {
            let before = holders(&[key], (0..20).map(node), Groups::ONE);
            let after = holders(&[key], (1..20).map(node), Groups::ONE);
            let kept = before.iter().filter(|holder| **holder != node(0));
            assert!(kept.eq(after.iter().take(before.iter().filter(|h| **h != node(0)).count())));
        }
    }

    #[test]
    fn keys_spread_evenly() {
        let mut load = BTreeMap::new();
        for key in 0..2000u32 {
            for holder in holders(&key.to_le_bytes(), (0..10).map(node), Groups::ONE) {
                *load.entry(holder).or_insert(0u32) += 1;
            }
        }
        assert!(load.len() == 10 && load.values().all(|count| (450..750).contains(count)), "{load:?}");
    }

    #[test]
    fn with_groups_a_key_stays_in_its_own() {
        let four = Groups::new(2);
        let group = four.of(blake3::hash(b"bob").as_bytes());
        let found = holders(b"bob", (0..100).map(node), four);
        assert_eq!(found.len(), HOLDERS);
        assert!(found.iter().all(|holder| four.of(&holder.0) == group));
    }
}
