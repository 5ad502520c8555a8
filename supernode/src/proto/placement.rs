//! Where a key has its place: pure functions of the membership.
//!
//! A key's hash names a group by its leading bits, as a supernode's id names its own. Within the group the three members
//! with the highest random weight hold it (Thaler and Ravishankar, 1998): when a member comes or goes, only the keys that it
//! gains or loses move, and everybody who knows the same members finds the same holders.
//!
//! The weight is a mix of 64 bits, not a cryptographic hash: an id can be ground until it holds a given key either way.

use std::ops::RangeInclusive;

use nearmesh_common::{NodeId, UserName, supernode_record::MAX_GROUP_BITS, wire::mesh::Part};

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
        self.leading(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// This group as it is named to others.
    pub(super) fn part(self, group: Group) -> Part {
        Part { bits: self.bits, number: group.0 }
    }

    fn leading(self, leading: u16) -> Group {
        Group(leading.checked_shr(u16::BITS - u32::from(self.bits)).unwrap_or(0))
    }
}

impl Group {
    /// Its number, as it travels.
    pub(super) fn number(self) -> u16 {
        self.0
    }
}

/// Where a key belongs: what names its group, and what weighs the members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    leading: u16,
    mixed: u64,
}

impl Place {
    /// The place of a user's presences.
    pub(super) fn of_user(user: &UserName) -> Self {
        Self::of_hash(blake3::hash(user.as_str().as_bytes()).as_bytes())
    }

    /// The place of a content's sources.
    ///
    /// `content` is what travels of its hash, the first eight bytes.
    pub(super) fn of_content(content: u64) -> Self {
        Self { leading: (content >> 48) as u16, mixed: mix(content) }
    }

    fn of_hash(hash: &[u8; 32]) -> Self {
        Self { leading: u16::from_be_bytes([hash[0], hash[1]]), mixed: word(hash) }
    }

    /// The group that holds it.
    pub(super) fn group(self, groups: Groups) -> Group {
        groups.leading(self.leading)
    }

    /// Those of its group's `members` that hold it, the first choice first: at most [`HOLDERS`].
    pub(super) fn holders(self, members: impl Iterator<Item = NodeId>) -> Vec<NodeId> {
        let mut best: Vec<(u64, NodeId)> = Vec::with_capacity(HOLDERS + 1);
        for node in members {
            let weighed = (mix(self.mixed ^ word(&node.0)), node);
            if best.len() == HOLDERS && best.last().is_some_and(|last| *last >= weighed) {
                continue;
            }
            let at = best.partition_point(|better| *better > weighed);
            best.insert(at, weighed);
            best.truncate(HOLDERS);
        }
        best.into_iter().map(|(_, node)| node).collect()
    }
}

/// Eight bytes that have nothing to do with the leading ones, which all members of a group share.
fn word(bytes: &[u8; 32]) -> u64 {
    u64::from_le_bytes([8, 9, 10, 11, 12, 13, 14, 15].map(|at| bytes[at]))
}

/// Murmur3's finisher (public domain): every bit of the input changes half of the output's.
fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let word = (word ^ (word >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    word ^ (word >> 33)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn node(number: u8) -> NodeId {
        NodeId(*blake3::hash(&[number]).as_bytes())
    }

    fn place(key: &[u8]) -> Place {
        Place::of_hash(blake3::hash(key).as_bytes())
    }

    #[test]
    fn everybody_finds_the_same_three_whatever_the_order() {
        let forwards = place(b"bob").holders((0..20).map(node));
        let backwards = place(b"bob").holders((0..20).rev().map(node));
        assert_eq!(forwards, backwards);
        assert_eq!(forwards.len(), HOLDERS);
        assert_eq!(place(b"bob").holders((0..2).map(node)).len(), 2);
    }

    #[test]
    fn when_a_member_goes_only_its_own_keys_move() {
        for key in 0..200u8 {
            let before = place(&[key]).holders((0..20).map(node));
            let after = place(&[key]).holders((1..20).map(node));
            let kept = before.iter().filter(|holder| **holder != node(0));
            assert!(kept.eq(after.iter().take(before.iter().filter(|h| **h != node(0)).count())));
        }
    }

    #[test]
    fn keys_spread_evenly() {
        let mut load = BTreeMap::new();
        for key in 0..2000u32 {
            for holder in place(&key.to_le_bytes()).holders((0..10).map(node)) {
                *load.entry(holder).or_insert(0u32) += 1;
            }
        }
        assert!(load.len() == 10 && load.values().all(|count| (450..750).contains(count)), "{load:?}");
    }

    #[test]
    fn a_key_and_a_supernode_with_the_same_leading_bits_share_a_group() {
        let four = Groups::new(2);
        for key in 0..50u8 {
            let hash = *blake3::hash(&[key]).as_bytes();
            assert_eq!(place(&[key]).group(four), four.of(&hash));
        }
    }
}
