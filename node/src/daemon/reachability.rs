//! Finding out how this node is reached: the machine of `nearmesh_relay::proto::nat`, driven over the node's port, sockets beside it, and
//! the links to supernodes.
//!
//! This task alone writes [`Whereabouts`]. It also notices that the machine's addresses changed, by reading them once a second: that
//! costs 50 microseconds and works everywhere, also where a notification would come before the new address can be used.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use nearmesh_common::{
    NodeId,
    scope::Scope,
    wire::{NodeAddress, home::DialBack},
};
use nearmesh_relay::{
    io::aside::Aside,
    proto::nat::{Discovery, Input, Observer, Output, ProbeId, Report, Socket, Token, keep_alive},
};
use rand::{SeedableRng, rngs::StdRng};
use tokio::{
    sync::mpsc,
    time::{interval, sleep_until},
};
use tracing::{debug, info};

use super::{
    addresses,
    clock::now,
    node::Node,
    overlay::Command,
    whereabouts::{DEFAULT_KEEP_ALIVE, Whereabouts},
};
use crate::proto::Reached;

/// How often the machine's addresses and the links are looked at: a change is noticed within a second.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Inputs that wait for this task; more are dropped: each is a packet or a message that may get lost anyway.
pub const QUEUE: usize = 64;
/// Observers that the machine is offered (it asks four).
const MAX_OBSERVERS: usize = 16;
/// Addresses of each supernode to which there is no link.
const ADDRESSES_EACH: usize = 2;

/// The task's own state.
pub struct Reachability {
    node: Arc<Node>,
    machine: Discovery,
    /// Sockets beside the port, by number.
    beside: BTreeMap<u8, Aside>,
    feedback: mpsc::Sender<Input>,
    /// What the overlay was told last.
    told: Reached,
}

impl Reachability {
    /// The task. What comes out of `inputs` is what others send to `node.discovery`.
    pub fn spawn(node: Arc<Node>, inputs: mpsc::Receiver<Input>) {
        let host = node.whereabouts.borrow().host.clone();
        let machine = Discovery::new(host, StdRng::from_rng(&mut rand::rng()), now());
        let feedback = node.discovery.clone();
        let told = node.reached();
        let task = Self { node, machine, beside: BTreeMap::new(), feedback, told };
        tokio::spawn(task.run(inputs));
    }

    async fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        let mut look = interval(LOOK_EVERY);
        let mut stop = self.node.stop.subscribe();
        let mut mapped = self.node.port_mapping.subscribe();
        loop {
            self.carry_out().await;
            let wake = self.machine.poll_timeout().unwrap_or_else(|| now().instant + LOOK_EVERY);
            let input = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                Some(input) = inputs.recv() => input,
                Some(came) = self.node.endpoint.dialled_back() => {
                    Input::DialBack { token: came.token, contact: came.contact }
                }
                Ok(()) = mapped.changed() => {
                    let external = mapped.borrow_and_update().external();
                    self.node.whereabouts.send_modify(|known| known.mapped = external);
                    Input::Mapped(external)
                }
                _ = look.tick() => {
                    self.look();
                    continue;
                }
                () = sleep_until(wake.into()) => Input::Timeout,
            };
            self.machine.handle(input, now());
        }
    }

    /// Whether the addresses or the links changed.
    fn look(&mut self) {
        let host = addresses::of_socket(self.node.listen);
        if host != self.node.whereabouts.borrow().host {
            info!(?host, "the addresses of this machine changed");
            self.node.whereabouts.send_modify(|known| known.host.clone_from(&host));
            self.machine.handle(Input::Host(host), now());
        }
        let observers = observers(&self.node);
        self.machine.handle(Input::Observers(observers), now());
    }

    async fn carry_out(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Probe { id, socket, to, answer_at } => self.probe(id, socket, to, answer_at),
                Output::Ask { of, request } => self.ask(of, request).await,
                Output::Send { socket, to, token } => self.send(socket, to, token),
                Output::Close(sockets) => {
                    self.beside.retain(|number, _| !sockets.contains(&Socket::Extra(*number)));
                }
                Output::Report(report) => self.publish(report),
            }
        }
        let reached = self.node.reached();
        if reached != self.told {
            self.told.clone_from(&reached);
            let _ = self.node.commands.send(Command::Reached(reached)).await;
        }
    }

    fn probe(&mut self, id: ProbeId, socket: Socket, to: SocketAddr, answer_at: Option<(Socket, u16)>) {
        let (from, other) =
            (self.socket(socket), answer_at.map(|(socket, port)| (self.socket(socket), port)));
        let (endpoint, feedback) = (self.node.endpoint.clone(), self.feedback.clone());
        tokio::spawn(async move {
            let probe = match (from, other) {
                (Some(aside), Some((Some(other), port))) => aside.observe_at(&other, port, to).await,
                (Some(aside), None) => aside.observe(to).await,
                (None, None) if socket == Socket::Main => endpoint.observe(to).await,
                _ => None,
            };
            let observed = probe.map(|probe| probe.observed);
            let _ = feedback.send(Input::Probed { id, observed }).await;
        });
    }

    async fn ask(&self, of: NodeId, request: DialBack) {
        let _ = self.node.commands.send(Command::DialBack { of, request }).await;
    }

    fn send(&mut self, socket: Socket, to: SocketAddr, token: Token) {
        match (socket, self.socket(socket)) {
            (Socket::Main, _) => self.node.endpoint.send_token(to, token),
            (_, Some(aside)) => aside.send_token(to, token),
            (_, None) => {}
        }
    }

    /// One of the sockets beside the port, opened if need be; none for the port itself.
    fn socket(&mut self, socket: Socket) -> Option<Aside> {
        let Socket::Extra(number) = socket else { return None };
        if let Some(aside) = self.beside.get(&number) {
            return Some(aside.clone());
        }
        let opened = self.node.endpoint.open_aside();
        let aside = opened.inspect_err(|error| debug!(%error, "no socket beside the port")).ok()?;
        self.beside.insert(number, aside.clone());
        Some(aside)
    }

    fn publish(&self, report: Report) {
        let reach = report.verdict.reach();
        info!(verdict = %report.verdict, mapping = %report.nat.mapping, filtering = %report.nat.filtering, "reachability");
        let relays = reach.is_reachable() && self.node.settings.relay.on;
        self.node.whereabouts.send_modify(|known| {
            *known = Whereabouts {
                host: std::mem::take(&mut known.host),
                mapped: known.mapped,
                server_reflexive: report.server_reflexive,
                nat: report.nat,
                reach,
                verdict: report.verdict,
                witnesses: report.witnesses,
                mapping_lifetime: report.mapping_lifetime,
                keep_alive: keep_alive(report.mapping_lifetime, DEFAULT_KEEP_ALIVE),
                relays,
            };
        });
    }
}

/// Whom to ask: the home, the standby, others to which there is a link, and then the nearest.
fn observers(node: &Node) -> Vec<Observer> {
    let overlay = node.overlay.borrow();
    let home = overlay.home.as_ref().map(|home| home.address.node);
    // Not of all links: a supernode may have thousands of children.
    let linked = |peer| node.endpoint.direct_remote(&node.links.connection(peer)?);
    let others = overlay.supernodes.iter().map(|known| &known.address).filter(|known| known.node != node.id);
    let mut known: Vec<_> = others.map(|known| (known, linked(known.node))).collect();
    // Stable: within a rank the nearest stays first.
    known.sort_by_key(|(known, linked)| match linked {
        Some(_) if home == Some(known.node) => 0,
        Some(_) if overlay.standby == Some(known.node) => 1,
        Some(_) => 2,
        None => 3,
    });
    let mut observers: Vec<Observer> = Vec::new();
    for (NodeAddress { node: peer, addresses }, linked) in known {
        let observer = |address, linked| Observer { node: *peer, address, linked };
        match linked {
            Some(address) => observers.push(observer(address, true)),
            None => {
                let likely = likely(addresses, node.listen);
                observers.extend(likely.into_iter().map(|address| observer(address, false)));
            }
        }
    }
    observers.truncate(MAX_OBSERVERS);
    observers
}

/// The addresses at which somebody without a link is most likely heard: those of the widest scope.
fn likely(addresses: &[SocketAddr], listen: SocketAddr) -> Vec<SocketAddr> {
    let same_family = addresses.iter().filter(|address| address.is_ipv4() == listen.is_ipv4());
    let mut likely: Vec<SocketAddr> = same_family.copied().collect();
    likely.sort_by_key(|address| std::cmp::Reverse(Scope::of(address.ip())));
    likely.truncate(ADDRESSES_EACH);
    likely
}
