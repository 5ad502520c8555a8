//! How many supernodes there are.
//!
//! Each counts its own group exactly, and says how many it sees there. The net is the sum over the groups; of what the contacts to one group
//! claim the smaller of two counts, or the middle one of more, and nothing counts for much more than a group of middle size. So one liar moves nothing
//! much.

use nearmesh_common::NodeId;

use super::{
    super::placement::{Group, Groups},
    known::Known,
    table::Table,
};

/// Most claims on one group that are looked at (guess).
const MAX_CLAIMS: usize = 9;
/// What one group may count for: twice the middle one, and a few (groups' sizes differ by their root).
const MOST: (u32, u32) = (2, 8);
/// Most members whose claims are looked at where most see the net divided otherwise than we do (guess).
const MAX_ASKED: usize = 101;

/// About how many supernodes there are, this one included.
pub(super) fn number(own: &NodeId, groups: Groups, table: &Table) -> u32 {
    let members = u32::try_from(table.members().len()).unwrap_or(u32::MAX).saturating_add(1);
    if table.majority().is_some_and(|bits| bits != groups.bits()) {
        return of_others(table).unwrap_or(members);
    }
    if groups == Groups::ONE {
        return members;
    }
    let own_group = groups.of(&own.0);
    let sizes: Vec<Option<u32>> = groups
        .all()
        .map(|group| match group == own_group {
            true => u32::try_from(table.members_in(groups.ids(group)).count() + 1).ok(),
            false => claimed(group, groups, table),
        })
        .collect();
    let known: Vec<u32> = sizes.iter().flatten().copied().collect();
    let middle = middle(known).unwrap_or(1);
    let most = middle.saturating_mul(MOST.0).saturating_add(MOST.1);
    sizes.into_iter().map(|size| size.unwrap_or(middle).min(most)).sum()
}

/// What the contacts to a group say of its size.
fn claimed(group: Group, groups: Groups, table: &Table) -> Option<u32> {
    let contacts = table.known_members(groups.ids(group));
    let claims = contacts.filter_map(Known::claim).map(|(bits, size)| scaled(size, bits, groups.bits()));
    middle(claims.take(MAX_CLAIMS).collect())
}

/// What the members say, each of the whole net.
fn of_others(table: &Table) -> Option<u32> {
    let members = table.all().map(|(_, known)| known).filter(|known| known.is_member());
    let claims = members.filter_map(Known::claim).map(|(bits, size)| scaled(size, bits, 0));
    middle(claims.take(MAX_ASKED).collect())
}

/// The size of a group where the net is divided by `from` bits, as if it were by `to`.
fn scaled(size: u16, from: u8, to: u8) -> u32 {
    let size = u32::from(size);
    if from >= to { size << (from - to) } else { (size >> (to - from)).max(1) }
}

/// The middle one; of an even number the smaller of the two in the middle.
fn middle(mut of: Vec<u32>) -> Option<u32> {
    of.sort_unstable();
    of.get(of.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_claims_the_smaller_counts_and_of_three_the_middle_one() {
        assert_eq!(middle(vec![65_535, 12]), Some(12));
        assert_eq!(middle(vec![65_535, 12, 11]), Some(12));
        assert_eq!(middle(Vec::new()), None);
    }

    #[test]
    fn a_claim_is_understood_by_whoever_divides_otherwise() {
        assert_eq!((scaled(10, 4, 3), scaled(20, 3, 4), scaled(1, 3, 5)), (20, 10, 1));
        assert_eq!(scaled(u16::MAX, 8, 0), 0x00ff_ff00);
    }
}
