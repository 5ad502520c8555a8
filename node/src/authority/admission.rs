//! Who is admitted: a pure function of what the books say and of what is asked.
//!
//! Two ways lead in. A ticket with a secret admits one node, once, under the name that the authority wrote on it (or
//! a free one, if it wrote none). In an open net whoever asks for a free name gets it. A name that was ever given, or
//! that stands on a ticket that is still good, is free to nobody else.
//!
//! Invariant: the same node that asks again with the same wish is given the same certificate again, so that a lost
//! answer costs nothing.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use nearmesh_common::{NodeId, UnixMillis, UserName, identity::Serial, wire::enrol::EnrolRefusal};
use serde::{Deserialize, Serialize};

/// How a net admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// With a one-time ticket.
    Invite,
    /// First come, first served on names.
    Open,
}

/// A ticket in the books.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketEntry {
    /// Whom it names.
    pub user: Option<UserName>,
    /// Its end.
    pub expires: UnixMillis,
    /// Whom it admitted.
    pub used_by: Option<NodeId>,
}

/// A member in the books; a revoked one is no longer there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberEntry {
    /// Whose node it is.
    pub user: UserName,
    /// Its certificate's.
    pub serial: Serial,
    /// Its certificate, DER.
    pub certificate: Box<[u8]>,
    /// Since when.
    pub since: UnixMillis,
}

/// What somebody wants, who has proved to hold the node's key.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// For which node.
    pub node: NodeId,
    /// Under which name.
    pub user: &'a UserName,
    /// On which grounds.
    pub grounds: &'a Grounds,
}

/// Why somebody thinks to be admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grounds {
    /// No ticket: the net is open.
    OpenNet,
    /// A ticket that this authority made.
    Ticket(TicketEntry),
    /// A ticket that it did not make.
    UnknownTicket,
}

/// What the books say about a wish.
#[derive(Clone, Debug)]
pub struct Facts {
    /// How the net admits.
    pub policy: Policy,
    /// The node, if it is a member.
    pub member: Option<MemberEntry>,
    /// Whether the name was given to somebody, or promised by a ticket that is still good.
    pub name_taken: bool,
}

/// What is to be done about a wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Issue a certificate.
    Admit,
    /// Give the certificate that was issued before.
    Repeat(MemberEntry),
    /// Say no.
    Refuse(EnrolRefusal),
}

/// Decides on a wish at the time `wall`.
pub fn decide(wish: Wish<'_>, facts: Facts, wall: UnixMillis) -> Decision {
    match wish.grounds {
        Grounds::OpenNet if facts.policy == Policy::Open => without_ticket(wish.user, facts),
        Grounds::OpenNet | Grounds::UnknownTicket => Decision::Refuse(EnrolRefusal::UnknownTicket),
        Grounds::Ticket(ticket) => with_ticket(ticket, wish, facts, wall),
    }
}

fn without_ticket(user: &UserName, facts: Facts) -> Decision {
    match facts.member {
        Some(member) if member.user == *user => Decision::Repeat(member),
        Some(_) => Decision::Refuse(EnrolRefusal::AlreadyMember),
        None if facts.name_taken => Decision::Refuse(EnrolRefusal::NameTaken),
        None => Decision::Admit,
    }
}

fn with_ticket(ticket: &TicketEntry, wish: Wish<'_>, facts: Facts, wall: UnixMillis) -> Decision {
    let expired = ticket.expires <= wall;
    if let Some(holder) = ticket.used_by {
        return match facts.member {
            Some(member) if holder == wish.node && !expired => repeat(member, wish.user),
            _ => Decision::Refuse(EnrolRefusal::UsedTicket),
        };
    }
    let refusal = match &ticket.user {
        _ if expired => EnrolRefusal::ExpiredTicket,
        Some(user) if user != wish.user => EnrolRefusal::OtherName,
        _ if facts.member.is_some() => EnrolRefusal::AlreadyMember,
        None if facts.name_taken => EnrolRefusal::NameTaken,
        _ => return Decision::Admit,
    };
    Decision::Refuse(refusal)
}

fn repeat(member: MemberEntry, user: &UserName) -> Decision {
    if member.user == *user { Decision::Repeat(member) } else { Decision::Refuse(EnrolRefusal::OtherName) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000_000);
    const LATER: UnixMillis = UnixMillis(1_000_001);
    const BOBS: NodeId = NodeId([2; 32]);
    const EVES: NodeId = NodeId([5; 32]);

    fn bob() -> UserName {
        "bob".parse().unwrap()
    }

    fn ticket(user: Option<UserName>) -> TicketEntry {
        TicketEntry { user, expires: LATER, used_by: None }
    }

    fn member(user: &str) -> MemberEntry {
        MemberEntry {
            user: user.parse().unwrap(),
            serial: Serial([1; 16]),
            certificate: [1].into(),
            since: NOW,
        }
    }

    fn facts(policy: Policy) -> Facts {
        Facts { policy, member: None, name_taken: false }
    }

    fn ask(node: NodeId, user: &str, grounds: Grounds, facts: Facts) -> Decision {
        decide(Wish { node, user: &user.parse().unwrap(), grounds: &grounds }, facts, NOW)
    }

    #[test]
    fn a_ticket_admits_whom_it_names_and_nobody_else() {
        for policy in [Policy::Invite, Policy::Open] {
            let bobs = || Grounds::Ticket(ticket(Some(bob())));
            assert_eq!(ask(BOBS, "bob", bobs(), facts(policy)), Decision::Admit);
            let outcome = ask(BOBS, "carol", bobs(), facts(policy));
            assert_eq!(outcome, Decision::Refuse(EnrolRefusal::OtherName));
        }
    }

    #[test]
    fn a_ticket_for_a_user_who_is_there_adds_a_node() {
        let known = Facts { name_taken: true, ..facts(Policy::Invite) };
        assert_eq!(ask(BOBS, "bob", Grounds::Ticket(ticket(Some(bob()))), known), Decision::Admit);
    }

    #[test]
    fn a_ticket_without_a_name_gives_no_name_that_is_taken() {
        let taken = Facts { name_taken: true, ..facts(Policy::Invite) };
        let outcome = ask(BOBS, "bob", Grounds::Ticket(ticket(None)), taken);
        assert_eq!(outcome, Decision::Refuse(EnrolRefusal::NameTaken));
        assert_eq!(ask(BOBS, "bob", Grounds::Ticket(ticket(None)), facts(Policy::Invite)), Decision::Admit);
    }

    #[test]
    fn a_ticket_works_until_its_end_and_not_at_it() {
        let at = |expires| Grounds::Ticket(TicketEntry { expires, ..ticket(None) });
        assert_eq!(ask(BOBS, "bob", at(LATER), facts(Policy::Invite)), Decision::Admit);
        let outcome = ask(BOBS, "bob", at(NOW), facts(Policy::Invite));
        assert_eq!(outcome, Decision::Refuse(EnrolRefusal::ExpiredTicket));
    }

    #[test]
    fn a_used_ticket_repeats_its_answer_to_the_same_node_only() {
        let used = || Grounds::Ticket(TicketEntry { used_by: Some(BOBS), ..ticket(Some(bob())) });
        let is_member = || Facts { member: Some(member("bob")), name_taken: true, policy: Policy::Invite };
        assert_eq!(ask(BOBS, "bob", used(), is_member()), Decision::Repeat(member("bob")));
        let outcome = ask(EVES, "bob", used(), facts(Policy::Invite));
        assert_eq!(outcome, Decision::Refuse(EnrolRefusal::UsedTicket));
    }

    #[test]
    fn a_used_ticket_is_worth_nothing_after_its_end_or_a_revocation() {
        let old = TicketEntry { used_by: Some(BOBS), expires: NOW, ..ticket(Some(bob())) };
        let is_member = Facts { member: Some(member("bob")), name_taken: true, policy: Policy::Invite };
        let outcome = ask(BOBS, "bob", Grounds::Ticket(old.clone()), is_member);
        assert_eq!(outcome, Decision::Refuse(EnrolRefusal::UsedTicket));
        let revoked = Facts { name_taken: true, ..facts(Policy::Invite) };
        let outcome = ask(BOBS, "bob", Grounds::Ticket(TicketEntry { expires: LATER, ..old }), revoked);
        assert_eq!(outcome, Decision::Refuse(EnrolRefusal::UsedTicket));
    }

    #[test]
    fn a_member_does_not_join_twice() {
        let is_member = |policy| Facts { member: Some(member("bob")), name_taken: true, policy };
        let outcome = ask(BOBS, "bob", Grounds::Ticket(ticket(Some(bob()))), is_member(Policy::Invite));
        assert_eq!(outcome, Decision::Refuse(EnrolRefusal::AlreadyMember));
        let outcome = ask(BOBS, "carol", Grounds::OpenNet, is_member(Policy::Open));
        assert_eq!(outcome, Decision::Refuse(EnrolRefusal::AlreadyMember));
    }

    #[test]
    fn an_open_net_gives_a_name_to_who_comes_first_and_repeats_itself() {
        assert_eq!(ask(BOBS, "bob", Grounds::OpenNet, facts(Policy::Open)), Decision::Admit);
        let taken = Facts { name_taken: true, ..facts(Policy::Open) };
        let outcome = ask(EVES, "bob", Grounds::OpenNet, taken);
        assert_eq!(outcome, Decision::Refuse(EnrolRefusal::NameTaken));
        let is_member = Facts { member: Some(member("bob")), name_taken: true, policy: Policy::Open };
        assert_eq!(ask(BOBS, "bob", Grounds::OpenNet, is_member), Decision::Repeat(member("bob")));
    }

    #[test]
    fn without_a_ticket_of_this_authority_nobody_enters_a_net_by_invitation() {
        for (grounds, policy) in [
            (Grounds::OpenNet, Policy::Invite),
            (Grounds::UnknownTicket, Policy::Invite),
            (Grounds::UnknownTicket, Policy::Open),
        ] {
            let outcome = ask(EVES, "eve", grounds, facts(policy));
            assert_eq!(outcome, Decision::Refuse(EnrolRefusal::UnknownTicket));
        }
    }
}
