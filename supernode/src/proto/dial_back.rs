//! Sending somebody a packet that it has not asked its NAT for.
//!
//! A node with a link to us asks for one, from another port of ours or by another supernode. It goes to the address from which
//! that link comes as QUIC sees it; where a member forges its source, that is somebody else's until QUIC has found out, and
//! costs that one a packet of 17 bytes for each that was forged. Another supernode is
//! told that address by the one that was asked; it takes its word within a budget, and never sends further into its own
//! network than the asking supernode itself could.

use std::net::SocketAddr;

use nearmesh_common::{
    NodeId,
    scope::Scope,
    wire::{
        home::{DialBack, DialBackAnswer, DialBackBy, DialBackOutcome, ToChild},
        mesh::Mesh,
    },
};
use rand::RngExt;

use super::{budget::Charge, world::World};

/// A node asks.
pub(super) fn on_asked(from: NodeId, request: DialBack, members: Vec<NodeId>, world: &mut World) {
    let DialBack { token, by } = request;
    let own = from == world.own();
    let Some(to) = world.links.observed(&from).filter(|_| !own && world.charge(&from, Charge::DialBack, 1))
    else {
        return answer(from, token, DialBackOutcome::Nobody, world);
    };
    match by {
        DialBackBy::OtherPort => world.send_dial_back(to, token, Some(from)),
        DialBackBy::OtherNode { not } => {
            let fit =
                |member: &NodeId| *member != from && Some(*member) != not && is_elsewhere(member, to, world);
            let fit: Vec<NodeId> = members.into_iter().filter(fit).collect();
            let outcome = match fit.len() {
                0 => DialBackOutcome::Nobody,
                count => {
                    let chosen = fit[world.rng.random_range(0..count)];
                    world.tell_mesh(chosen, Mesh::DialBack { to, token });
                    DialBackOutcome::PassedOn
                }
            };
            answer(from, token, outcome, world);
        }
    }
}

/// Another supernode asks for one of its own peers.
pub(super) fn on_passed(from: NodeId, to: SocketAddr, token: [u8; 16], world: &mut World) {
    let as_far = |asker: SocketAddr| Scope::of(to.ip()) >= Scope::of(asker.ip());
    let sane = to.port() != 0 && !to.ip().is_multicast() && !to.ip().is_unspecified();
    if !sane || !world.links.observed(&from).is_some_and(as_far) {
        return world.strange(&from, "a dial-back to where it has nothing to do");
    }
    if world.charge(&from, Charge::PassedDialBack, 1) {
        world.send_dial_back(to, token, None);
    }
}

/// The packet has left, or not.
pub(super) fn on_sent(asker: NodeId, token: [u8; 16], port: Option<u16>, world: &mut World) {
    answer(asker, token, port.map_or(DialBackOutcome::Nobody, DialBackOutcome::SentFrom), world);
}

/// Whether `member` is on another machine than `to`, and can reach it: an address of a local network means another machine elsewhere.
fn is_elsewhere(member: &NodeId, to: SocketAddr, world: &World) -> bool {
    let observed = world.links.observed(member);
    observed.is_some_and(|at| at.ip() != to.ip() && Scope::of(at.ip()) == Scope::of(to.ip()))
}

fn answer(to: NodeId, token: [u8; 16], outcome: DialBackOutcome, world: &mut World) {
    world.tell_child(to, ToChild::DialBack(DialBackAnswer { token, outcome }));
}
