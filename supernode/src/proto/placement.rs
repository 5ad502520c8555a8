//! Where a key has its place among the supernodes: a pure function of the key and the membership.
//!
//! While all supernodes form one group (up to 64 of them), the holders of a key are the `r` members with the highest random weight
//! for it (Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998): when a member comes or goes,
//! only keys that it holds move. Groups will choose the group first and then do the same inside it.

use nearmesh_common::{NodeId, UserName};

/// Holders of one user's records: all three are lost together about once in 1,000 when one in ten is dead.
pub const REPLICAS: usize = 3;

/// The holders of `user`, the heaviest first; all of the members, if they are fewer than [`REPLICAS`].
pub fn holders(user: &UserName, members: impl Iterator<Item = NodeId>) -> Vec<NodeId> {
    let key = blake3::derive_key("nearmesh placement of users 1", user.as_str().as_bytes());
    let mut weighed: Vec<([u8; 32], NodeId)> = members.map(|node| (weight(&key, node), node)).collect();
    weighed.sort_unstable_by(|a, b| b.cmp(a));
    weighed.into_iter().take(REPLICAS).map(|(_, node)| node).collect()
}

fn weight(key: &[u8; 32], node: NodeId) -> [u8; 32] {
    *blake3::keyed_hash(key, &node.0).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(count: u8) -> impl Iterator<Item = NodeId> + Clone {
        (0..count).map(|n| NodeId([n; 32]))
    }

    #[test]
    fn everybody_agrees_on_the_holders_whatever_the_order_of_the_members() {
        let alice: UserName = "alice".parse().unwrap();
        let forwards = holders(&alice, members(20));
        let backwards = holders(&alice, members(20).collect::<Vec<_>>().into_iter().rev());
        assert_eq!(forwards, backwards);
        assert_eq!(forwards.len(), REPLICAS);
    }

    #[test]
    fn when_a_member_goes_only_what_it_held_moves() {
        for n in 0..200 {
            let user: UserName = format!("user{n}").parse().unwrap();
            let before = holders(&user, members(20));
            let after = holders(&user, members(20).filter(|node| *node != NodeId([7; 32])));
            let kept = before.iter().filter(|node| after.contains(node)).count();
            let expected = if before.contains(&NodeId([7; 32])) { REPLICAS - 1 } else { REPLICAS };
            assert_eq!(kept, expected, "{user}");
        }
    }

    #[test]
    fn users_are_spread_over_all_members() {
        let mut held = [0; 10];
        for n in 0..1000 {
            for holder in holders(&format!("user{n}").parse().unwrap(), members(10)) {
                held[holder.0[0] as usize] += 1;
            }
        }
        assert!(held.iter().all(|count| (200..400).contains(count)), "3000 / 10 each, more or less: {held:?}");
    }
}
