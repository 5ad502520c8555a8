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

/// About how many supernodes there are, this one included; its own group is as full as that.
pub(super) fn net(own: &NodeId, own_load: u32, groups: Groups, table: &Table) -> Seen {
    let members = u32::try_from(table.members().len()).unwrap_or(u32::MAX).saturating_add(1);
    if table.majority().is_some_and(|bits| bits != groups.bits()) {
        return of_others(table).unwrap_or(Seen { size: members, load: own_load });
    }
    if groups == Groups::ONE {
        return Seen { size: members, load: own_load };
    }
    let own_group = groups.of(&own.0);
    let mates = table.members_in(groups.ids(own_group)).count();
    let own_group_seen = Seen { size: u32::try_from(mates + 1).unwrap_or(u32::MAX), load: own_load };
    let seen: Vec<Option<Seen>> = groups
        .all()
        .map(|group| match group == own_group {
            true => Some(own_group_seen),
            false => middle_of(table.known_members(groups.ids(group)).take(MAX_CLAIMS), groups.bits()),
        })
        .collect();
    let known = seen.iter().flatten();
    let usual = Seen {
        size: middle(known.clone().map(|seen| seen.size).collect()).unwrap_or(1),
        load: median(known.map(|seen| seen.load).collect()).unwrap_or(0),
    };
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
    middle_of(members.take(MAX_ASKED), 0)
}

/// What these claim of their groups, as if the net were divided by so many bits.
fn middle_of<'a>(members: impl Iterator<Item = &'a Known>, bits: u8) -> Option<Seen> {
    let claims = members.filter_map(Known::claim);
    let (sizes, loads) =
        claims.map(|claim| (scaled(claim.group.size, claim.bits, bits), claim.group.load)).unzip();
    Some(Seen { size: middle(sizes)?, load: median(loads)? })
}

/// The size of a group where the net is divided by `from` bits, as if it were by `to`.
fn scaled(size: u32, from: u8, to: u8) -> u32 {
    if from >= to { size << (from - to) } else { (size >> (to - from)).max(1) }
}

/// The middle one; of an even number the smaller of the two in the middle.
fn middle(mut of: Vec<u32>) -> Option<u32> {
    of.sort_unstable();
    of.get(of.len().checked_sub(1)? / 2).copied()
}

/// The middle one; of an even number the mean of the two in the middle.
fn median(mut of: Vec<u32>) -> Option<u32> {
    of.sort_unstable();
    let upper = of.get(of.len() / 2)?;
    let lower = of.get(of.len().checked_sub(1)? / 2)?;
    Some(lower.midpoint(*upper))
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
        assert_eq!(middle(vec![65_535, 12]), Some(12));
        assert_eq!(middle(vec![65_535, 12, 11]), Some(12));
        assert_eq!(middle(Vec::new()), None);
        assert_eq!((median(vec![9, 6]), median(vec![9, 1, 5]), median(Vec::new())), (Some(7), Some(5), None));
    }

    #[test]
    fn a_claim_is_understood_by_whoever_divides_otherwise() {
        assert_eq!((scaled(10, 4, 3), scaled(20, 3, 4), scaled(1, 3, 5)), (20, 10, 1));
        assert_eq!(scaled(u16::MAX.into(), 8, 0), 0x00ff_ff00);
    }
}
