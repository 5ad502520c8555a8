//! Carrying what two nodes say to each other before they are connected.
//!
//! A child hands in a signal and names the home of the node that it is for; that home hands it to its child, and says
//! by which home it came, which is the way back. To a home in another group it goes through a contact there. A signal that cannot be delivered comes back as
//! [`End::NotHere`], in the name of the node that was not found; an end that cannot be delivered is dropped, so that nothing
//! goes to and fro.
//!
//! # Invariants
//! - A child speaks in its own name only: whoever hands in a signal of another loses the link.
//! - Nothing is kept here: a signal is passed on at once, or it comes back, or it is lost, and its sender repeats it.
//! - What one member costs is bounded by its budget, and what all of them together send to one child by that child's.

use nearmesh_common::{
    NodeId,
    wire::{
        home::ToChild,
        mesh::{MAX_HOPS, Mesh},
        signal::{End, Signal, SignalBody},
    },
};

use super::{CloseReason, budget::Charge, world::World};

/// Where a signal goes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whither {
    /// It is for a child of ours.
    Here,
    /// This member is the home, or nearer to it.
    Member(NodeId),
    /// Nobody knows that home, or the node is not there.
    Nowhere,
}

/// A signal on its way between two homes.
#[derive(Debug)]
pub(super) struct Carried {
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    pub(super) hops: u8,
    pub(super) signal: Box<Signal>,
}

/// A child says something to a child of `home`.
pub(super) fn on_child(from: NodeId, home: NodeId, whither: Whither, signal: Box<Signal>, world: &mut World) {
    if signal.from != from {
        return world.close(from, CloseReason::Misbehaved);
    }
    if !world.charge(&from, Charge::Signal, 1) {
        return;
    }
    let own = world.own();
    match whither {
        Whither::Here => deliver(own, signal, world),
        Whither::Member(next) => {
            world.tell_mesh(next, Mesh::Signal { from: own, to: home, hops: MAX_HOPS, signal });
        }
        Whither::Nowhere => {
            if let Some(answer) = not_here(&signal) {
                deliver(own, answer, world);
            }
        }
    }
}

/// A child of another supernode says something, and `peer` brings it.
pub(super) fn on_member(peer: NodeId, carried: Carried, whither: Whither, world: &mut World) {
    if !world.charge(&peer, Charge::Carry, 1) {
        return;
    }
    let Carried { from, to, hops, signal } = carried;
    match whither {
        Whither::Here => deliver(from, signal, world),
        Whither::Member(next) if hops > 0 && next != peer => {
            world.tell_mesh(next, Mesh::Signal { from, to, hops: hops - 1, signal });
        }
        _ => {
            if let Some(signal) = not_here(&signal) {
                // Back the way it came: who brought it knows how to reach the other home.
                world.tell_mesh(peer, Mesh::Signal { from: to, to: from, hops: MAX_HOPS, signal });
            }
        }
    }
}

/// To a child of ours, by way of `home`. One that is told too much misses the rest: that is better than to lose its link.
fn deliver(home: NodeId, signal: Box<Signal>, world: &mut World) {
    let to = signal.to;
    if world.charge(&to, Charge::Delivery, 1) {
        world.tell_child(to, ToChild::Signal { home, signal });
    }
}

/// What its sender hears of a signal that nobody here can take.
fn not_here(signal: &Signal) -> Option<Box<Signal>> {
    let Signal { from, to, session, ref body } = *signal;
    let end = matches!(body, SignalBody::End(_));
    (!end).then(|| Box::new(Signal { from: to, to: from, session, body: SignalBody::End(End::NotHere) }))
}
