//! How many supernodes there are, and how full.
//!
//! Each counts its own group exactly, and says how many it sees there and how full they are. The net is the sum over the groups; of what the contacts to one
//! group claim the middle one counts (of two sizes the smaller, of two loads their mean), and nothing for much more than a group of middle size, nor for much more or less than
//! its load. So one liar moves nothing much. Whom somebody happens to know tells less: contacts are those that many are near to, and fuller than others, and twenty mates differ from the
//! whole by a tenth.

use nearmesh_common::NodeId;

use super::{super::placement::Groups, known::Known, table::Table};

/// Most claims on one group that are looked at (guess).
const MAX_CLAIMS: usize = 9;
/// What one group may count for: twice the middle one, and a few (groups' sizes differ by their root).
const MOST: (u32, u32) = (2, 8);
/// How far its load may lie from the middle one: a quarter of that, and a twentieth (guess: two in three groups of eight differ by less than a tenth).
const LOAD_RANGE: (u32, u32) = (4, FULL / 20);
/// Most members whose claims are looked at where most see the net divided otherwise than we do (guess).
const MAX_ASKED: usize = 101;

/// The load where there are as many children as there is room for.
pub(in super::super) const FULL: u32 = 10_000;

/// How many supernodes are somewhere, and how full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Seen {
    pub(in super::super) size: u32,
    /// Their children, in parts of [`FULL`].
    pub(in super::super) load: u32,
}

/// What a supernode says of its group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    /// Into how many bits it sees the net divided.
    pub(super) bits: u8,
    pub(super) group: Seen,
}

/// About how many supernodes there are, this one included, and how full, by our own group and what others say of theirs.
pub(super) fn net(own: &NodeId, own_group: Seen, groups: Groups, table: &Table) -> Seen {
    if table.majority().is_some_and(|bits| bits != groups.bits()) {
        let members = u32::try_from(table.members().len()).unwrap_or(u32::MAX).saturating_add(1);
        return of_others(table).unwrap_or(Seen { size: members, ..own_group });
    }
    let seen: Vec<Option<Seen>> = groups
        .all()
        .map(|group| match group == groups.of(&own.0) {
            true => Some(own_group),
            false => claimed(table.known_members(groups.ids(group)).take(MAX_CLAIMS), groups.bits()),
        })
        .collect();
    let usual = middle(seen.iter().flatten().copied()).unwrap_or(own_group);
    let most = usual.size.saturating_mul(MOST.0).saturating_add(MOST.1);
    let range = usual.load / LOAD_RANGE.0 + LOAD_RANGE.1;
    let loads = usual.load.saturating_sub(range)..=usual.load.saturating_add(range);
    let counted = seen.into_iter().map(|seen| {
        let Seen { size, load } = seen.unwrap_or(usual);
        (u64::from(size.min(most)), u64::from(load.clamp(*loads.start(), *loads.end())))
    });
    let (size, filled) =
        counted.fold((0, 0), |(sizes, filled), (size, load)| (sizes + size, filled + size * load));
    let bounded = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    Seen { size: bounded(size), load: bounded(filled / size.max(1)) }
}

/// What the members say, each of the whole net.
fn of_others(table: &Table) -> Option<Seen> {
    let members = table.all().map(|(_, known)| known).filter(|known| known.is_member());
    claimed(members.take(MAX_ASKED), 0)
}

/// What these claim of their groups, as if the net were divided by so many bits.
fn claimed<'a>(members: impl Iterator<Item = &'a Known>, bits: u8) -> Option<Seen> {
    let claims = members.filter_map(Known::claim);
    middle(claims.map(|Claim { bits: from, group: Seen { size, load } }| Seen {
        size: scaled(size, from, bits),
        load,
    }))
}

/// The size of a group where the net is divided by `from` bits, as if it were by `to`.
fn scaled(size: u32, from: u8, to: u8) -> u32 {
    if from >= to { size << (from - to) } else { (size >> (to - from)).max(1) }
}

/// The middle size and the middle load; where two are in the middle the smaller size, and the mean of the loads.
fn middle(of: impl Iterator<Item = Seen>) -> Option<Seen> {
    let (sizes, loads): (Vec<_>, Vec<_>) = of.map(|Seen { size, load }| (size, load)).unzip();
    let ([size, _], [low, high]) = (middle_two(sizes)?, middle_two(loads)?);
    Some(Seen { size, load: low.midpoint(high) })
}

/// The two in the middle, the smaller first; of an odd number the one, twice.
fn middle_two(mut of: Vec<u32>) -> Option<[u32; 2]> {
    of.sort_unstable();
    Some([*of.get(of.len().checked_sub(1)? / 2)?, *of.get(of.len() / 2)?])
}

/// So many children where there is room for so many.
pub(super) fn load(children: u32, capacity: u32) -> u32 {
    let (children, capacity) = (u64::from(children), u64::from(capacity.max(1)));
    u32::try_from((children * u64::from(FULL) + capacity / 2) / capacity).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_claims_the_smaller_counts_and_of_three_the_middle_one() {
        let seen = |(size, load): (u32, u32)| Seen { size, load };
        let middle = |of: &[(u32, u32)]| middle(of.iter().copied().map(seen));
        assert_eq!(middle(&[(65_535, 9), (12, 6)]), Some(seen((12, 7))), "of two loads the mean");
        assert_eq!(middle(&[(65_535, 9), (12, 1), (11, 5)]), Some(seen((12, 5))));
        assert_eq!(middle(&[]), None);
    }

    #[test]
    fn a_claim_is_understood_by_whoever_divides_otherwise() {
        assert_eq!((scaled(10, 4, 3), scaled(20, 3, 4), scaled(1, 3, 5)), (20, 10, 1));
        assert_eq!(scaled(u16::MAX.into(), 8, 0), 0x00ff_ff00);
    }
}
