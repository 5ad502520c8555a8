//! One round of tests, a few seconds long.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use nearmesh_common::{
    NodeId,
    nat::{Mapping, Nat},
    wire::home::{DialBackBy, DialBackOutcome},
};

use super::{
    Observer, Socket, Token,
    filtering::{DialBacks, Passage, Sender, filtering},
    fresh::{self, Fresh},
    hairpin::Hairpin,
    mapping::Observations,
};

/// After so long a round is over, whatever is still missing: three silent observers, one second each, and the rest meanwhile.
const DEADLINE: Duration = Duration::from_secs(8);
/// Linked observers that are asked from the node's own port: two tell the mapping.
const MAX_LINKED: usize = 3;

/// Something that a round wants to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask an observer from the node's own port.
    Main(SocketAddr),
    /// Ask an observer from a fresh socket.
    Fresh(Socket, SocketAddr),
    /// Ask for a dial-back.
    Ask {
        /// Whom.
        of: NodeId,
        /// For which.
        by: DialBackBy,
    },
    /// Send both tokens of the hairpin test.
    Hairpin { own: SocketAddr, fresh: SocketAddr, token: Token },
}

/// Another port of an observer. It is asked from the fresh socket: it has sent to the node's own port, and what came in, or tried to,
/// may decide by which mapping our answer goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SecondPort {
    Due(SocketAddr),
    Asked(SocketAddr),
    Answered,
}

/// The round.
#[derive(Debug)]
pub(super) struct Run {
    began: Instant,
    host: Vec<SocketAddr>,
    /// Those that can be asked for dial-backs, in turn.
    linked: Vec<Observer>,
    unasked: Vec<SocketAddr>,
    waiting: usize,
    main: Observations,
    fresh: Fresh,
    dial_backs: Option<DialBacks>,
    /// Who was asked for the packet with this token.
    given: BTreeMap<Token, NodeId>,
    /// Whose packets came, and whether from an address that we had not sent to.
    came: BTreeMap<NodeId, bool>,
    asked: usize,
    second_port: Option<SecondPort>,
    hairpin: Option<Hairpin>,
    /// For the hairpin test.
    token: Token,
}

impl Run {
    /// A round that asks these, nearest first.
    pub(super) fn new(observers: &[Observer], host: &[SocketAddr], token: Token, now: Instant) -> Self {
        let mut linked: Vec<Observer> = Vec::new();
        for observer in observers.iter().filter(|observer| observer.linked) {
            if linked.iter().all(|other| other.address.ip() != observer.address.ip()) {
                linked.push(*observer);
            }
        }
        linked.truncate(MAX_LINKED);
        // Those that certainly live first.
        let all: Vec<SocketAddr> = linked.iter().chain(observers).map(|observer| observer.address).collect();
        Self {
            began: now,
            host: host.to_vec(),
            unasked: linked.iter().map(|observer| observer.address).collect(),
            waiting: 0,
            main: Observations::default(),
            fresh: Fresh::new(&all),
            dial_backs: (!linked.is_empty()).then(|| DialBacks::new(now)),
            linked,
            given: BTreeMap::new(),
            came: BTreeMap::new(),
            asked: 0,
            second_port: None,
            hairpin: None,
            token,
        }
    }

    /// What is to be done now; to be called until there is nothing more.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Step> {
        if let Some(observer) = self.unasked.pop() {
            self.waiting += 1;
            return Some(Step::Main(observer));
        }
        if let Some((socket, observer)) = self.fresh.poll() {
            return Some(Step::Fresh(socket, observer));
        }
        if let Some(wanted) = self.dial_backs.as_ref().and_then(|dial_backs| dial_backs.wanted(now)) {
            let of = self.linked[self.asked % self.linked.len()].node;
            return Some(Step::Ask { of, by: self.by(wanted, of) });
        }
        if let Some(SecondPort::Due(port)) = self.second_port.filter(|_| self.fresh.is_over()) {
            self.second_port = Some(SecondPort::Asked(port));
            return Some(Step::Fresh(fresh::FIRST, port));
        }
        self.begin_hairpin(now);
        let hairpin = self.hairpin.as_mut()?;
        let token = hairpin.poll(now)?;
        Some(Step::Hairpin { own: hairpin.own, fresh: hairpin.fresh, token })
    }

    /// A dial-back was asked for.
    pub(super) fn asked(&mut self, of: NodeId, by: DialBackBy, token: Token, now: Instant) {
        self.given.insert(token, of);
        // Each pair of kinds goes to the same node, the next pair to the next.
        self.asked += usize::from(by != DialBackBy::OtherPort);
        if let Some(dial_backs) = &mut self.dial_backs {
            let sender = match by {
                DialBackBy::OtherPort => Sender::OtherPort,
                DialBackBy::OtherNode { .. } => Sender::OtherNode,
            };
            dial_backs.asked(sender, token, now);
        }
    }

    /// An observer that was asked from the node's own port answered, or not.
    pub(super) fn on_main(&mut self, observer: SocketAddr, observed: Option<SocketAddr>) {
        self.waiting = self.waiting.saturating_sub(1);
        if let Some(observed) = observed {
            self.main.add(observer, observed);
        }
    }

    /// An observer that was asked from a fresh socket, at its own port or another, answered, or not.
    pub(super) fn on_fresh(&mut self, observer: SocketAddr, observed: Option<SocketAddr>) {
        if self.second_port == Some(SecondPort::Asked(observer)) {
            self.second_port = observed.map(|_| SecondPort::Answered);
            observed.inspect(|observed| self.fresh.on_second_port(observer, *observed));
        } else {
            self.fresh.on_answer(observer, observed);
        }
    }

    /// The asked node says what became of a dial-back.
    pub(super) fn on_answer(&mut self, of: NodeId, token: Token, outcome: DialBackOutcome) {
        let Some(dial_backs) = &mut self.dial_backs else { return };
        let sent = outcome != DialBackOutcome::Nobody;
        let asked_for = dial_backs.on_answer(token, sent).is_some();
        let DialBackOutcome::SentFrom(port) = outcome else { return };
        let observer = self.linked.iter().find(|observer| observer.node == of);
        if let Some(observer) = observer.filter(|_| asked_for && port != 0 && self.second_port.is_none()) {
            self.second_port = Some(SecondPort::Due(SocketAddr::new(observer.address.ip(), port)));
        }
    }

    /// A token came at the node's own port; whether this round had given it out.
    pub(super) fn on_packet(&mut self, token: Token, contact: bool) -> bool {
        let hairpin = self.hairpin.as_mut().is_some_and(|hairpin| hairpin.on_packet(token));
        if let Some(of) = self.given.get(&token) {
            *self.came.entry(*of).or_default() |= !contact;
        }
        hairpin || self.dial_backs.as_mut().is_some_and(|dial_backs| dial_backs.on_packet(token, contact))
    }

    /// Whether everything is known that can be.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        let dialled_back = self.dial_backs.as_ref().is_none_or(|dial_backs| dial_backs.is_over(now));
        let hairpinned = self.hairpin.as_ref().is_none_or(|hairpin| hairpin.is_over(now));
        let observed = self.unasked.is_empty() && self.waiting == 0 && !self.awaits_second_port();
        self.began + DEADLINE <= now || dialled_back && hairpinned && observed && self.fresh.is_over()
    }

    /// When to look again, after `now`.
    pub(super) fn poll_timeout(&self, now: Instant) -> Instant {
        let dial_backs = self.dial_backs.as_ref().and_then(|dial_backs| dial_backs.poll_timeout(now));
        let hairpin = self.hairpin.as_ref().and_then(|hairpin| hairpin.poll_timeout(now));
        let soonest = [dial_backs, hairpin].into_iter().flatten().min();
        soonest.map_or(self.began + DEADLINE, |at| at.min(self.began + DEADLINE))
    }

    /// Whether nobody answered anything.
    pub(super) fn is_silent(&self) -> bool {
        self.main.is_empty() && self.fresh.is_empty()
    }

    /// What was seen of the node's own port.
    pub(super) fn main(&self) -> &Observations {
        &self.main
    }

    /// What stands before the node, as far as this round saw. `mapped`: an address that a router gave on request.
    pub(super) fn nat(&self, mapped: Option<SocketAddr>) -> Nat {
        let mapping = self.mapping();
        let open_otherwise = self.is_open_otherwise(mapped);
        let translated = !matches!(mapping, Mapping::Unknown | Mapping::NoTranslation);
        Nat {
            mapping,
            filtering: filtering(self.passages(), open_otherwise),
            port_step: self.fresh.port_step().filter(|_| translated && !mapping.is_stable()),
            hairpinning: self.hairpin.as_ref().filter(|_| translated).map(Hairpin::found),
        }
    }

    /// There is no NAT, or a mapping that was made on request.
    pub(super) fn is_open_otherwise(&self, mapped: Option<SocketAddr>) -> bool {
        let on_request = mapped.is_some_and(|mapped| self.main.addresses().contains(&mapped));
        self.mapping() == Mapping::NoTranslation || on_request
    }

    /// By whose dial-backs it is proven that strangers come in, if they do.
    pub(super) fn witnesses(&self, open_otherwise: bool) -> BTreeSet<NodeId> {
        let proves = |(_, stranger): &(&NodeId, &bool)| **stranger || open_otherwise;
        self.came.iter().filter(proves).map(|(of, _)| *of).collect()
    }

    fn mapping(&self) -> Mapping {
        match (self.main.mapping(&self.host), self.fresh.mapping(&self.host)) {
            (Mapping::AddressAndPortDependent, Mapping::AddressDependent) => Mapping::AddressDependent,
            (Mapping::Unknown, fresh) => fresh,
            (own, _) => own,
        }
    }

    fn awaits_second_port(&self) -> bool {
        matches!(self.second_port, Some(SecondPort::Due(_) | SecondPort::Asked(_)))
    }

    /// Whether packets of strangers are certainly kept out.
    pub(super) fn is_shut(&self) -> bool {
        self.passages().0 == Passage::Shut
    }

    fn passages(&self) -> (Passage, Passage) {
        self.dial_backs.as_ref().map(DialBacks::found).unwrap_or_default()
    }

    /// Not by the other one to which we are linked: it is a contact.
    fn by(&self, wanted: Sender, of: NodeId) -> DialBackBy {
        match wanted {
            Sender::OtherPort => DialBackBy::OtherPort,
            Sender::OtherNode => {
                let other = self.linked.iter().find(|other| other.node != of);
                DialBackBy::OtherNode { not: other.map(|other| other.node) }
            }
        }
    }

    /// Begins the hairpin test as soon as both addresses outside are known, and are outside.
    fn begin_hairpin(&mut self, now: Instant) {
        if self.hairpin.is_some() || self.waiting > 0 || !self.fresh.is_over() {
            return;
        }
        let own = self.main.translated(&self.host).addresses().first().copied();
        if let (Some(own), Some(fresh)) = (own, self.fresh.outside()) {
            self.hairpin = Some(Hairpin::new(own, fresh, self.token, now));
        }
    }
}
