//! Between machines and network: inputs go in, outputs come out and become events.

use std::{net::SocketAddr, time::Duration};

use nearmesh::proto as client;
use nearmesh_common::{
    NodeId, codec,
    frame::MAX_LINK_FRAME,
    pace::Pace,
    wire::{LinkMessage, NodeAddress},
};
use nearmesh_supernode::proto as supernode;

use super::{DIAL_TIMEOUT, Event, LinkId, PROBE_TIMEOUT, ProcessId, Role, Sim, links::End, oracle};

impl Sim {
    /// Hands an input to a process's node machine, and does what it wants.
    pub(super) fn tell_client(&mut self, process: ProcessId, input: client::Input) {
        let now = self.schedule.moment();
        let Some(running) = &mut self.processes[process].running else { return };
        running.client.handle(input, now);
        while let Some(output) =
            self.processes[process].running.as_mut().and_then(|running| running.client.poll_output())
        {
            self.obey_client(process, output);
        }
        self.plan_wake(process, Role::Client);
    }

    /// Hands an input to a process's supernode machine, and does what it wants.
    pub(super) fn tell_supernode(&mut self, process: ProcessId, input: supernode::Input) {
        let now = self.schedule.moment();
        if let Some(machine) = self.supernode(process) {
            machine.handle(input, now);
        }
        while let Some(output) = self.supernode(process).and_then(|machine| machine.poll_output()) {
            self.obey_supernode(process, output);
        }
        self.plan_wake(process, Role::Supernode);
    }

    pub(super) fn wake(&mut self, process: ProcessId, role: Role) {
        let now = self.now();
        let Some(running) = &mut self.processes[process].running else { return };
        let wake = &mut running.wakes[role as usize];
        if *wake != Some(now) {
            return;
        }
        *wake = None;
        match role {
            Role::Client => self.tell_client(process, client::Input::Timeout),
            Role::Supernode => self.tell_supernode(process, supernode::Input::Timeout),
        }
    }

    pub(super) fn establish(&mut self, link: LinkId, opener: End) {
        let Some([a, b]) = self.links.establish(link) else {
            // The other end let go, or died, while the handshake was under way.
            if let Some(to) = self.links.other(link, opener) {
                let node = self.processes[to.0].node;
                let at = self.now() + DIAL_TIMEOUT;
                self.schedule.at(at, Event::DialFailed { link, opener, to: node });
            }
            return;
        };
        for (older, end) in self.links.replaced_by(link) {
            self.break_link(older, end);
        }
        for (end, peer) in [(a, b), (b, a)] {
            self.tell_link_up(end, peer);
        }
    }

    /// `end` learns that a link is gone.
    pub(super) fn break_link(&mut self, link: LinkId, end: End) {
        let Some(peer) = self.links.other(link, end) else { return };
        if !self.links.let_go(link, end) {
            return;
        }
        let node = self.processes[peer.0].node;
        self.forget_pace(end, node);
        match end.1 {
            Role::Client => self.tell_client(end.0, client::Input::LinkDown { node }),
            Role::Supernode => self.tell_supernode(end.0, supernode::Input::LinkDown { node }),
        }
    }

    pub(super) fn tell_dial_failed(&mut self, end: End, node: NodeId) {
        match end.1 {
            Role::Client => self.tell_client(end.0, client::Input::DialFailed { node }),
            Role::Supernode => self.tell_supernode(end.0, supernode::Input::DialFailed { node }),
        }
    }

    /// A packet arrives: decoded and held against its bounds, as on a socket.
    pub(super) fn deliver(&mut self, link: LinkId, from: End, to: End, bytes: &[u8]) {
        if !self.links.hears(link, to) {
            return;
        }
        let message: LinkMessage = match codec::decode(bytes) {
            Ok(message) => message,
            Err(error) => panic!("{from:?} sent what does not decode: {error}"),
        };
        assert!(message.within_bounds(), "{from:?} sent beyond the bounds: {message:?}");
        self.traffic.note(self.schedule.now(), from, to, &message, bytes);
        let node = self.processes[from.0].node;
        match (message, to.1) {
            (LinkMessage::ToHome(message), Role::Supernode) => {
                self.tell_supernode(to.0, supernode::Input::FromChild { from: node, message });
            }
            (LinkMessage::Mesh(message), Role::Supernode) => {
                self.tell_supernode(to.0, supernode::Input::FromMesh { from: node, message });
            }
            (LinkMessage::ToChild(message), Role::Client) => {
                self.tell_client(to.0, client::Input::Received { from: node, message });
            }
            (message, _) => panic!("{from:?} sent to the wrong machine: {message:?}"),
        }
    }

    fn forget_pace(&mut self, end: End, node: NodeId) {
        if let Some(running) = self.processes[end.0].running.as_mut().filter(|_| end.1 == Role::Client) {
            running.paces.remove(&node);
        }
    }

    /// How soon both ends of a link notice the other's end: as the quicker of them needs it.
    pub(super) fn pace(&self, a: End, b: End) -> Pace {
        let wants = |own: End, other: End| {
            let running = self.processes[own.0].running.as_ref();
            running.map_or(Pace::Slow, |running| running.pace(own.1, &self.processes[other.0].node))
        };
        wants(a, b).min(wants(b, a))
    }

    fn supernode(&mut self, process: ProcessId) -> Option<&mut supernode::Supernode> {
        self.processes[process].running.as_mut()?.supernode.as_mut()
    }

    fn obey_client(&mut self, process: ProcessId, output: client::Output) {
        let end = (process, Role::Client);
        match output {
            client::Output::Dial(address) => self.dial(end, &address),
            client::Output::Close(node) => {
                self.forget_pace(end, node);
                self.close(end, node);
            }
            client::Output::Send { to, message } => {
                if let Some(number) = self.numbers.get(&to) {
                    self.send(end, (*number, Role::Supernode), &LinkMessage::ToHome(message));
                }
            }
            client::Output::Probe { to, .. } => self.probe(process, &to, |node, answer| {
                client::Input::Probed { node, rtt: answer.map(|(_, rtt)| rtt) }
            }),
            client::Output::Pace { node, pace } => {
                if let Some(running) = &mut self.processes[process].running {
                    running.paces.insert(node, pace);
                }
            }
            client::Output::ProbeRelay(address) => {
                self.probe(process, &address, |node, answer| client::Input::RelayProbed { node, answer })
            }
            client::Output::ReadJournal { after, limit } => {
                let (upto, changes) = self.processes[process].library.changes(after, limit);
                self.tell_client(process, client::Input::Changes { after, upto, changes });
            }
            client::Output::Event(event) => self.on_event(process, event),
            client::Output::OfferedCrl(_) => {}
        }
    }

    fn obey_supernode(&mut self, process: ProcessId, output: supernode::Output) {
        let end = (process, Role::Supernode);
        match output {
            supernode::Output::Send { to, message } => {
                let Some(number) = self.numbers.get(&to).copied() else { return };
                let role = match message {
                    LinkMessage::ToChild(_) => Role::Client,
                    LinkMessage::Mesh(_) | LinkMessage::ToHome(_) | LinkMessage::Pulse(_) => Role::Supernode,
                };
                self.send(end, (number, role), &message);
            }
            supernode::Output::Dial(address) => self.dial(end, &address),
            supernode::Output::Release(node) => {
                self.close(end, node);
                self.tell_supernode(process, supernode::Input::LinkDown { node });
            }
            supernode::Output::Close { node, .. } => self.close(end, node),
            // Nobody asks for one here: all nodes reach each other.
            supernode::Output::SendDialBack { .. } | supernode::Output::OfferedCrl(_) => {}
        }
    }

    fn on_event(&mut self, process: ProcessId, event: client::Event) {
        let view = oracle::View {
            now: self.schedule.now(),
            wall: self.schedule.moment().wall,
            processes: &self.processes,
            numbers: &self.numbers,
        };
        self.oracle.on_event(process, &event, &view);
        if let client::Event::HostCache(known) = event {
            self.processes[process].known = known;
        }
    }

    fn dial(&mut self, from: End, address: &NodeAddress) {
        let Some(number) = self.numbers.get(&address.node).copied() else { return };
        let to = (number, Role::Supernode);
        let Some(link) = self.links.begin(from, to) else {
            // There is one: say so. One that is being opened says so itself.
            if self.links.speaking(from, to).is_some() {
                self.tell_link_up(from, to);
            }
            return;
        };
        *self.traffic.dials.entry(self.now().as_secs()).or_default() += 1;
        let target = &self.processes[number];
        let reached = !self.separated(from.0, number);
        let serves = reached && target.running.as_ref().is_some_and(|running| running.supernode.is_some());
        if !serves {
            self.links.let_go(link, to);
            let at = self.now() + DIAL_TIMEOUT;
            self.schedule.at(at, Event::DialFailed { link, opener: from, to: address.node });
            return;
        }
        let (a, b) = (self.processes[from.0].place, target.place);
        let handshake = self.network.way(a, b) + self.network.way(b, a) + self.network.way(a, b);
        self.schedule.at(self.now() + handshake, Event::Established { link, opener: from });
    }

    fn send(&mut self, from: End, to: End, message: &LinkMessage) {
        let Some(link) = self.links.speaking(from, to) else {
            self.traffic.unsent += 1;
            return;
        };
        let bytes = codec::encode(message);
        assert!(bytes.len() <= MAX_LINK_FRAME, "{from:?} sent a frame of {} bytes", bytes.len());
        let way = self.network.way(self.processes[from.0].place, self.processes[to.0].place);
        let at = self.links.in_order(link, to, self.schedule.now() + way);
        self.schedule.at(at, Event::Deliver { link, from, to, bytes });
    }

    /// The other end hears of it after everything that was sent before.
    fn close(&mut self, end: End, node: NodeId) {
        let Some(number) = self.numbers.get(&node).copied() else { return };
        let held = [Role::Client, Role::Supernode].into_iter().find_map(|role| {
            let other = (number, role);
            (other != end).then(|| self.links.held(end, other)).flatten().map(|link| (link, other))
        });
        let Some((link, other)) = held else { return };
        let way = self.network.way(self.processes[end.0].place, self.processes[number].place);
        let at = self.links.in_order(link, other, self.schedule.now() + way);
        self.links.let_go(link, end);
        self.schedule.at(at, Event::Down { link, end: other });
    }

    /// Measures the way to a node; `tell` says whom the answer is for.
    fn probe(
        &mut self,
        process: ProcessId,
        address: &NodeAddress,
        tell: impl FnOnce(NodeId, Option<(SocketAddr, Duration)>) -> client::Input,
    ) {
        let node = address.node;
        let number = self.numbers.get(&node).copied();
        let alive = number
            .filter(|number| self.processes[*number].running.is_some() && !self.separated(process, *number));
        let (answer, takes) = match alive {
            Some(number) => {
                let there = self.processes[number].place;
                let (rtt, takes) = self.network.measure(self.processes[process].place, there);
                (Some((there.address, rtt)), takes)
            }
            None => (None, PROBE_TIMEOUT),
        };
        let life = self.processes[process].lives;
        self.schedule.at(self.now() + takes, Event::Probed { process, life, measured: tell(node, answer) });
    }

    fn tell_link_up(&mut self, end: End, peer: End) {
        let (own, other) = (&self.processes[end.0], &self.processes[peer.0]);
        let node = other.node;
        if end.1 == Role::Client {
            return self.tell_client(end.0, client::Input::LinkUp { node });
        }
        let rtt = self.network.rtt(own.place, other.place);
        let peer = supernode::Peer { node, user: other.user.clone(), observed: other.place.address };
        self.tell_supernode(end.0, supernode::Input::LinkUp { peer });
        self.tell_supernode(end.0, supernode::Input::Rtt { node, rtt });
    }

    fn plan_wake(&mut self, process: ProcessId, role: Role) {
        let now = self.schedule.now();
        let Some(running) = &mut self.processes[process].running else { return };
        let Some(at) = running.wants(role).map(|instant| self.schedule.offset(instant).max(now)) else {
            return;
        };
        // A machine that asks for a moment that is over would otherwise stop time.
        let at = at.max(now + Duration::from_nanos(1));
        let wake = &mut running.wakes[role as usize];
        if wake.is_none_or(|planned| at < planned || planned <= now) {
            *wake = Some(at);
            self.schedule.at(at, Event::Wake { process, role });
        }
    }
}
