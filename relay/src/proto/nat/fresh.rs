//! A fresh socket's mappings, one after the other.
//!
//! Observers are asked in turn from a socket that nobody knows yet, each when the one before has answered, so that the order of the
//! mappings is known. As long as all agree two are enough. If they do not, more mappings are made, from further
//! sockets where observers are few, to see whether the ports follow a rule. The node's own port stays out of it: whom it has
//! sent to matters for filtering.

use std::net::SocketAddr;

use nearmesh_common::nat::Mapping;

use super::{
    Socket,
    mapping::{Observations, port_step},
};

/// Mappings that are made to see a rule: three would do, two may fall to a NAT's other users (guess).
const MAPPINGS: usize = 5;
/// Questions in all, answered or not.
const MAX_QUESTIONS: usize = 8;
/// Observers that are asked.
const MAX_OBSERVERS: usize = 4;

/// The first fresh socket.
pub(super) const FIRST: Socket = Socket::Extra(0);

/// The questions and what came of them.
#[derive(Debug)]
pub(super) struct Fresh {
    observers: Vec<SocketAddr>,
    questions: usize,
    waiting: bool,
    /// Of the first socket.
    observations: Observations,
    /// Of all, in the order in which they were made.
    order: Vec<SocketAddr>,
}

impl Fresh {
    /// Will ask these, at most one for each IP address.
    pub(super) fn new(observers: &[SocketAddr]) -> Self {
        let mut distinct: Vec<SocketAddr> = Vec::new();
        for observer in observers {
            if distinct.iter().all(|other| other.ip() != observer.ip()) {
                distinct.push(*observer);
            }
        }
        distinct.truncate(MAX_OBSERVERS);
        Self {
            observers: distinct,
            questions: 0,
            waiting: false,
            observations: Observations::default(),
            order: Vec::new(),
        }
    }

    /// Whom to ask now, and from which socket.
    pub(super) fn poll(&mut self) -> Option<(Socket, SocketAddr)> {
        if self.waiting || self.is_over() {
            return None;
        }
        let (round, turn) = (self.questions / self.observers.len(), self.questions % self.observers.len());
        self.questions += 1;
        self.waiting = true;
        Some((Socket::Extra(u8::try_from(round).unwrap_or(u8::MAX)), self.observers[turn]))
    }

    /// The observer answered, or not.
    pub(super) fn on_answer(&mut self, observer: SocketAddr, observed: Option<SocketAddr>) {
        self.waiting = false;
        let Some(observed) = observed else { return };
        if self.questions <= self.observers.len() {
            self.observations.add(observer, observed);
        }
        self.order.push(observed);
    }

    /// Another port of an observer was asked from the first socket, and answered.
    pub(super) fn on_second_port(&mut self, port: SocketAddr, observed: SocketAddr) {
        self.observations.add(port, observed);
    }

    /// Whether enough is known.
    pub(super) fn is_over(&self) -> bool {
        if self.waiting {
            return false;
        }
        let all_asked = self.questions >= self.observers.len();
        let dependent = self.observations.addresses().len() > 1;
        match self.order.len() {
            0 | 1 => all_asked,
            answers if dependent => answers >= MAPPINGS || self.questions >= MAX_QUESTIONS,
            _ => true,
        }
    }

    /// What the first socket looks like from outside.
    pub(super) fn outside(&self) -> Option<SocketAddr> {
        self.order.first().copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(super) fn mapping(&self, host: &[SocketAddr]) -> Mapping {
        self.observations.mapping(host)
    }

    pub(super) fn port_step(&self) -> Option<i8> {
        port_step(&self.order)
    }

    /// The sockets that may have been used.
    pub(super) fn sockets() -> impl Iterator<Item = Socket> {
        (0..MAX_QUESTIONS).map(|round| Socket::Extra(round as u8))
    }
}
