//! Carrying what two nodes say to each other before they are connected.
//!
//! A child hands in a signal and names the home of the node that it is for; that home hands it to its child, and says
//! by which home it came, which is the way back. A signal that cannot be delivered comes back as
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
        mesh::Mesh,
        signal::{End, Signal, SignalBody},
    },
};

use super::{CloseReason, budget::Charge, world::World};

/// Where the node is that a child's signal is for, by the child's word and ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whither {
    /// It is a child of ours.
    Here,
    /// It should be a child of this member.
    Member(NodeId),
    /// It is neither.
    Nowhere,
}

/// A child says something to another node.
pub(super) fn on_child(from: NodeId, whither: Whither, signal: Box<Signal>, world: &mut World) {
    if signal.from != from {
        return world.close(from, CloseReason::Misbehaved);
    }
    if !world.charge(&from, Charge::Signal, 1) {
        return;
    }
    match whither {
        Whither::Here => deliver(world.own(), signal, world),
        Whither::Member(home) => world.tell_mesh(home, Mesh::Signal(signal)),
        Whither::Nowhere => {
            if let Some(answer) = not_here(&signal) {
                deliver(world.own(), answer, world);
            }
        }
    }
}

/// A child of another supernode says something; `here` says whether it is for a child of ours.
pub(super) fn on_member(from: NodeId, here: bool, signal: Box<Signal>, world: &mut World) {
    if !world.charge(&from, Charge::Carry, 1) {
        return;
    }
    if here {
        return deliver(from, signal, world);
    }
    if let Some(answer) = not_here(&signal) {
        world.tell_mesh(from, Mesh::Signal(answer));
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
