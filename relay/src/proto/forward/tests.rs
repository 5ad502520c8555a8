//! The relay under virtual time.

mod abuse;
mod moving;
mod properties;
mod rates;
mod reserving;

use nearmesh_common::wire::relay::{RelayClosed, read_proof_request};

use super::{super::start, *};

const WAIT: Duration = Duration::from_secs(10);
const LIFE: Duration = Duration::from_secs(600);
const IDLE: Duration = Duration::from_secs(60);

fn node(name: &str) -> NodeId {
    let mut id = [0; 32];
    id[..name.len()].copy_from_slice(name.as_bytes());
    NodeId(id)
}

fn session(number: u8) -> SessionId {
    SessionId([number; 16])
}

fn at(address: &str) -> EndAddress {
    EndAddress { remote: address.parse().expect("an address"), local: None }
}

/// Room for two pairs, and no limit on rates.
fn limits() -> Limits {
    Limits {
        sessions: 2,
        per_member: 3,
        waiting: 4,
        wait: WAIT,
        rate: None,
        pair_rate: None,
        pair_bytes: 1_000_000,
        life: LIFE,
        idle: IDLE,
    }
}

/// A relay, its clock, and what it said.
struct Relay {
    machine: Forwarder,
    now: Instant,
    next: u64,
    outputs: Vec<Output>,
}

/// One end of an open pair.
#[derive(Clone, Copy, Debug)]
struct Client {
    end: EndId,
    channel: ChannelId,
    address: EndAddress,
}

impl Relay {
    fn new(limits: Limits) -> Self {
        let now = start().instant;
        let mut relay = Self { machine: Forwarder::new([7; 32], now), now, next: 0, outputs: Vec::new() };
        relay.input(Input::Limits(Some(limits)));
        relay
    }

    fn input(&mut self, input: Input) {
        self.machine.handle(input, self.now);
        self.drain_outputs();
    }

    fn drain_outputs(&mut self) {
        self.outputs.extend(std::iter::from_fn(|| self.machine.poll_output()));
    }

    /// `member` asks for a reservation with `peer`.
    fn ask(&mut self, member: &str, peer: &str, number: u8, from: Standing) -> EndId {
        let end = EndId(self.next);
        self.next += 1;
        let request = RelayRequest { session: session(number), peer: node(peer) };
        self.input(Input::Asked { end, member: node(member), request, from });
        end
    }

    /// alice at 192.0.2.1:1 and bob at 192.0.2.2:2.
    fn open(&mut self) -> (Client, Client) {
        let (alice, bob) = (at("192.0.2.1:1"), at("192.0.2.2:2"));
        self.open_between(("alice", alice), ("bob", bob), 1)
    }

    fn open_between(
        &mut self,
        (one, one_at): (&str, EndAddress),
        (other, other_at): (&str, EndAddress),
        number: u8,
    ) -> (Client, Client) {
        let first = self.ask(one, other, number, Standing::Proved(one_at));
        let second = self.ask(other, one, number, Standing::Proved(other_at));
        let client = |end, address| Client { end, channel: self.channel_of(end), address };
        (client(first, one_at), client(second, other_at))
    }

    fn channel_of(&self, end: EndId) -> ChannelId {
        let opened = self.told(end).into_iter().find_map(|message| match message {
            FromRelay::Open { channel, .. } => Some(channel),
            _ => None,
        });
        opened.unwrap_or_else(|| panic!("{end:?} was not opened: {:?}", self.told(end)))
    }

    /// Everything that was said to one end.
    fn told(&self, to: EndId) -> Vec<FromRelay> {
        let said = self.outputs.iter().filter_map(|output| match output {
            Output::Tell(end, message) if *end == to => Some(*message),
            _ => None,
        });
        said.collect()
    }

    fn is_closed(&self, end: EndId, reason: RelayClosed) -> bool {
        self.told(end).last() == Some(&FromRelay::Closed(reason))
    }

    /// Time passes; everything that falls due is handled in its turn.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(due) = self.machine.poll_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.input(Input::Timeout);
        }
        self.now = until;
    }

    fn send(&mut self, channel: ChannelId, source: &EndAddress, bytes: u64) -> Decision {
        let arrival = Arrival { channel, source: source.remote, local: source.local, packets: 1, bytes };
        let decision = self.machine.decide(&arrival, self.now);
        self.drain_outputs();
        decision
    }

    /// What a packet of 1,000 bytes from `from` meets.
    fn packet(&mut self, from: &Client) -> Decision {
        self.send(from.channel, &from.address, 1_000)
    }

    /// The last proof that was asked for: where, and the cookie.
    fn asked(&self) -> Option<(EndAddress, ChannelId, Cookie)> {
        self.outputs.iter().rev().find_map(|output| match output {
            Output::Ask { to, packet } => {
                let (channel, cookie) = read_proof_request(packet).expect("well formed");
                Some((*to, channel, cookie))
            }
            Output::Tell(..) => None,
        })
    }

    /// No row in any table.
    fn holds_nothing(&self) -> bool {
        let machine = &self.machine;
        machine.ends.is_empty()
            && machine.asked.is_empty()
            && machine.members.is_empty()
            && machine.pairs.is_empty()
            && machine.channels.is_empty()
            && machine.timers.is_empty()
            && machine.waiting == 0
    }
}

fn forwarded_to(client: &Client) -> Decision {
    Decision::Forward { to: client.address, channel: client.channel }
}
