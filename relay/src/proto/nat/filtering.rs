//! Whose packets come in: dial-backs, counted.
//!
//! A supernode is asked to send us a packet from a port that we have not sent to, or to have another node send one. What arrives
//! proves that the NAT let it in; what does not arrive, although somebody says that it was sent, was filtered or
//! lost, so it is asked for again before anything is concluded.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use nearmesh_common::nat::Filtering;

use super::Token;

/// Packets of each kind that must be missing before they count as filtered: at a loss of 3 % this errs once in 30,000 times.
pub const TRIES: u8 = 3;
/// Between two of a kind (guess: longer than most round trips, so that an answer spares the next).
pub const TRY_EVERY: Duration = Duration::from_secs(1);
/// How long after the last try a packet may still come (guess: the slowest access networks, and the way to another node).
pub const LAST_WAIT: Duration = Duration::from_millis(1500);

/// What is known of packets of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Passage {
    /// Nobody could be asked, or nobody sent one.
    #[default]
    Unknown,
    /// One came, but from an address that we had sent to lately.
    FromContact,
    /// One came.
    Open,
    /// None came.
    Shut,
}

/// One kind of dial-back, as far as it has got.
#[derive(Debug)]
struct Series {
    by: Sender,
    tries: u8,
    sent: u8,
    passage: Passage,
    next: Instant,
}

/// Who sends a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    /// The asked node, from another port.
    OtherPort,
    /// Another node.
    OtherNode,
}

/// Both kinds.
#[derive(Debug)]
pub(super) struct DialBacks {
    series: [Series; 2],
    pending: BTreeMap<Token, Sender>,
}

impl DialBacks {
    pub(super) fn new(now: Instant) -> Self {
        let series = |by| Series { by, tries: 0, sent: 0, passage: Passage::Unknown, next: now };
        Self { series: [series(Sender::OtherPort), series(Sender::OtherNode)], pending: BTreeMap::new() }
    }

    /// What is to be asked for now, if anything; to be followed by [`Self::asked`].
    pub(super) fn wanted(&self, now: Instant) -> Option<Sender> {
        Some(self.series.iter().find(|series| series.wants_more() && series.next <= now)?.by)
    }

    /// It was asked for.
    pub(super) fn asked(&mut self, by: Sender, token: Token, now: Instant) {
        self.pending.insert(token, by);
        let series = self.of(by);
        series.tries += 1;
        series.next = now + if series.tries < TRIES { TRY_EVERY } else { LAST_WAIT };
    }

    /// Somebody says whether the packet was sent; whether that was asked for.
    pub(super) fn on_answer(&mut self, token: Token, sent: bool) -> Option<Sender> {
        let by = *self.pending.get(&token)?;
        self.of(by).sent += u8::from(sent);
        Some(by)
    }

    /// A packet with this token came; whether it was asked for.
    pub(super) fn on_packet(&mut self, token: Token, from_contact: bool) -> bool {
        let Some(by) = self.pending.get(&token).copied() else { return false };
        let series = self.of(by);
        let came = match (by, from_contact) {
            // The asked node itself is a contact, its other port is not.
            (Sender::OtherPort, _) | (Sender::OtherNode, false) => Passage::Open,
            (Sender::OtherNode, true) => Passage::FromContact,
        };
        if series.passage != Passage::Open {
            series.passage = came;
        }
        true
    }

    /// Whether nothing more is expected.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.series.iter().all(|series| !series.wants_more() && (series.is_open() || series.next <= now))
    }

    /// When to look again, after `now`.
    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let open = self.series.iter().filter(|series| !series.is_open());
        open.map(|series| series.next).filter(|at| *at > now).min()
    }

    /// What was found: packets from another port of the asked node, and from another node.
    pub(super) fn found(&self) -> (Passage, Passage) {
        let [port, node] = &self.series;
        (port.found(), node.found())
    }

    fn of(&mut self, by: Sender) -> &mut Series {
        match by {
            Sender::OtherPort => &mut self.series[0],
            Sender::OtherNode => &mut self.series[1],
        }
    }
}

impl Series {
    fn is_open(&self) -> bool {
        self.passage == Passage::Open
    }

    fn wants_more(&self) -> bool {
        !self.is_open() && self.tries < TRIES
    }

    fn found(&self) -> Passage {
        match self.passage {
            // Once may be a loss, and once too few to tell.
            Passage::Unknown if self.sent > 1 => Passage::Shut,
            passage => passage,
        }
    }
}

/// Puts together what came from where. `open_otherwise`: there is no NAT, or a mapping that was made on request; then packets of a
/// stranger's port that come in were not let in by what was sent.
pub(super) fn filtering((port, node): (Passage, Passage), open_otherwise: bool) -> Filtering {
    let other_port = port == Passage::Open || node == Passage::FromContact;
    match (other_port, port, node) {
        (_, _, Passage::Open) => Filtering::EndpointIndependent,
        (true, _, Passage::Unknown | Passage::FromContact) if open_otherwise => {
            Filtering::EndpointIndependent
        }
        (true, ..) => Filtering::AddressDependent,
        (false, Passage::Shut, _) => Filtering::AddressAndPortDependent,
        (false, ..) => Filtering::Unknown,
    }
}

/// Who was sent to lately: its packets may pass where a stranger's do not.
#[derive(Debug, Default)]
pub struct Contacts {
    known: BTreeMap<std::net::IpAddr, Instant>,
}

/// How long a NAT may let in a contact after we sent to it last (RFC 4787, REQ-5: mappings live 5 minutes or more).
pub const CONTACT_MEMORY: Duration = Duration::from_secs(300);
/// Contacts that are remembered; beyond it the oldest goes (guess: a supernode's children, links and probes in five minutes).
pub const MAX_CONTACTS: usize = 8192;

impl Contacts {
    /// We have just sent to `to`.
    pub fn note(&mut self, to: SocketAddr, now: Instant) {
        self.known.insert(to.ip().to_canonical(), now);
        if self.known.len() > MAX_CONTACTS {
            self.known.retain(|_, at| now.saturating_duration_since(*at) < CONTACT_MEMORY);
        }
        if self.known.len() > MAX_CONTACTS {
            let oldest = self.known.iter().min_by_key(|(_, at)| **at).map(|(ip, _)| *ip);
            oldest.map(|ip| self.known.remove(&ip));
        }
    }

    /// Whether we have sent to that address within [`CONTACT_MEMORY`].
    pub fn contains(&self, from: SocketAddr, now: Instant) -> bool {
        let at = self.known.get(&from.ip().to_canonical());
        at.is_some_and(|at| now.saturating_duration_since(*at) < CONTACT_MEMORY)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::start, *};

    const OTHER_PORT: Sender = Sender::OtherPort;
    const OTHER_NODE: Sender = Sender::OtherNode;

    fn token(number: u8) -> Token {
        Token([number; 16])
    }

    #[test]
    fn what_is_missing_counts_as_filtered_only_when_it_was_sent_more_than_once() {
        let now = start().instant;
        for (sent, found) in [(0, Passage::Unknown), (1, Passage::Unknown), (2, Passage::Shut)] {
            let mut dial_backs = DialBacks::new(now);
            for number in 0..TRIES {
                dial_backs.asked(OTHER_PORT, token(number), now);
                assert_eq!(dial_backs.on_answer(token(number), number < sent), Some(OTHER_PORT));
            }
            assert_eq!(dial_backs.found().0, found, "{sent} were sent");
        }
    }

    #[test]
    fn a_token_that_was_not_given_out_proves_nothing() {
        let mut dial_backs = DialBacks::new(start().instant);
        assert!(!dial_backs.on_packet(token(1), false));
        assert_eq!(dial_backs.found(), (Passage::Unknown, Passage::Unknown));
    }

    #[test]
    fn another_node_proves_an_open_nat_only_if_we_have_not_sent_to_it() {
        let now = start().instant;
        let mut dial_backs = DialBacks::new(now);
        dial_backs.asked(OTHER_NODE, token(1), now);
        dial_backs.on_packet(token(1), true);
        assert_eq!(filtering(dial_backs.found(), false), Filtering::AddressDependent);
        dial_backs.asked(OTHER_NODE, token(2), now);
        dial_backs.on_packet(token(2), false);
        assert_eq!(filtering(dial_backs.found(), false), Filtering::EndpointIndependent);
    }

    #[test]
    fn contacts_are_forgotten_and_never_too_many() {
        let now = start().instant;
        let mut contacts = Contacts::default();
        let at = |number: u32| SocketAddr::from((std::net::Ipv4Addr::from(number), 1));
        for number in 0..MAX_CONTACTS as u32 + 10 {
            contacts.note(at(number), now + Duration::from_millis(u64::from(number)));
        }
        let later = now + Duration::from_secs(60);
        assert!(!contacts.contains(at(0), later) && contacts.contains(at(MAX_CONTACTS as u32), later));
        assert!(!contacts.contains(at(MAX_CONTACTS as u32), now + CONTACT_MEMORY + Duration::from_secs(60)));
    }
}
