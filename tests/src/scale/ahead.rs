//! Machines at work side by side.
//!
//! Between two peers every packet takes longer than a day of the calendar. So whatever happens today reaches no other peer before tomorrow, and what
//! a supernode makes of the first thing that befalls its peer today depends on nothing else that happens today: it is worked out in advance, on all
//! cores. What comes out is kept, and obeyed when its turn comes, in the one order of all events. This is conservative synchronisation with a
//! lookahead (Fujimoto, Parallel Discrete Event Simulation, CACM 33(10), 1990), of the machines alone; a run is the same on any number of cores.
//! Only what idle links cost (`keeping`) is reckoned with paces that may be four milliseconds younger than without.

use std::sync::Arc;

use nearmesh_common::{Now, wire::LinkMessage};
use nearmesh_supernode::proto as supernode;
use rayon::{ThreadPool, ThreadPoolBuilder, prelude::*};
use rustc_hash::FxHashSet;

use super::{
    Event, Net,
    calendar::{DAY, Moment},
    machines::{Super, input_of},
    names::{self, Peer},
};
use crate::{
    sim::{message_kind, schedule::Due as Planned},
    workload::places::LEAST_RTT,
};

/// From so many peers on there is enough to do at the same time (measured: nothing is gained with 25,000).
const LARGE: u32 = 50_000;
/// With fewer events in a day other cores are not worth waking (guess).
const WORTH_IT: usize = 32;
/// A core takes no fewer at a time.
const AT_A_TIME: usize = 8;

const _: () = assert!(DAY <= LEAST_RTT.as_nanos() as Moment / 2, "a packet arrives tomorrow at the earliest");

/// The threads that share the work.
pub(super) struct Cores {
    pub(super) threads: ThreadPool,
    /// Events in a day from which on they are used.
    worth_it: usize,
}

impl Cores {
    /// So many threads; 0 for one on each core.
    fn new(threads: usize, worth_it: usize) -> Arc<Self> {
        let threads = ThreadPoolBuilder::new().num_threads(threads).build();
        let threads = threads.expect("threads can be started");
        Arc::new(Self { threads, worth_it })
    }

    /// For a net of so many peers.
    pub(super) fn of(peers: u32) -> Option<Arc<Self>> {
        (peers >= LARGE).then(|| Self::new(0, WORTH_IT))
    }
}

/// A supernode at work on the first thing that befalls it today.
struct Task {
    peer: Peer,
    running: Box<Super>,
    now: Now,
    /// Taken by who works.
    input: Option<Given>,
}

/// An input, and the kind of message in which it comes.
type Given = (supernode::Input, &'static str);

impl Event {
    /// The peers at which it changes anything today; nothing is known of what comes after an event of which this is not known.
    fn befalls(&self) -> Option<(Peer, Peer)> {
        match *self {
            Self::Established { from, to, .. } => Some((from, to)),
            Self::Deliver { to: peer, .. }
            | Self::Reused { from: peer, .. }
            | Self::DialFailed { from: peer, .. }
            | Self::Down { at: peer, .. }
            | Self::WakeChild(peer)
            | Self::WakeSuper(peer)
            | Self::WakeRole(peer)
            | Self::Look(peer)
            | Self::Start(peer)
            | Self::Tell(peer, _) => Some((peer, peer)),
            Self::Kill(_) | Self::Impatient(_) | Self::AskAgain(_) | Self::Flood(_) => None,
        }
    }
}

impl Net {
    /// Works out what can be known by now of what happens today, by `end`.
    pub(super) fn look_ahead(&mut self, end: Moment) {
        let Some(worth_it) = self.cores.as_ref().map(|cores| cores.worth_it) else { return };
        // Who lies changes messages on their way.
        if !self.lies.is_empty() {
            return;
        }
        let mut today = self.calendar.take_today();
        let later = today.partition_point(|planned| planned.at > end);
        let mut tasks = Vec::new();
        if today.len() - later >= worth_it {
            self.hand_out(&mut today[later..], &mut tasks);
        }
        self.calendar.give_back(today);
        tasks.par_iter_mut().with_min_len(AT_A_TIME.min(worth_it)).for_each(Task::run);
        self.in_advance += tasks.len() as u64;
        for task in tasks {
            self.supers[task.peer as usize] = Some(task.running);
        }
    }

    /// Each machine with the first of these events that befalls its peer, if that is for the machine; they are in order, the last first.
    fn hand_out(&mut self, planned: &mut [Planned<Moment, Event>], tasks: &mut Vec<Task>) {
        let mut befallen = FxHashSet::default();
        for planned in planned.iter_mut().rev() {
            let Some((peer, other)) = planned.event.befalls() else { break };
            let first = befallen.insert(peer);
            if peer != other {
                befallen.insert(other);
            } else if first && let Some(input) = self.input_in(&mut planned.event, planned.at) {
                let running = self.supers[peer as usize].take();
                let now = self.calendar.moment_of(planned.at);
                tasks.extend(running.map(|running| Task { peer, running, now, input: Some(input) }));
            }
        }
    }

    /// What an event gives a machine to do, taken out of it.
    fn input_in(&self, event: &mut Event, at: Moment) -> Option<Given> {
        match event {
            Event::WakeSuper(peer) => {
                let running = self.supers[*peer as usize].as_ref()?;
                running.wakes_at(at).then_some((supernode::Input::Timeout, ""))
            }
            Event::Deliver { link, from, to, message, .. } => {
                let is_for_machine =
                    |message: &LinkMessage| matches!(message, LinkMessage::ToHome(_) | LinkMessage::Mesh(_));
                let taken = self.is_alive(*to) && self.is_open(*link, (*from, *to));
                let message = message.take_if(|message| taken && is_for_machine(message))?;
                let kind = message_kind(&message);
                Some((input_of(names::node(self.seed, *from), *message)?, kind))
            }
            _ => None,
        }
    }
}

impl Task {
    fn run(&mut self) {
        if let Some((input, kind)) = self.input.take() {
            self.running.work(input, kind, self.now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::scale::Setup;

    /// What identifies the run, and how much was worked out in advance.
    fn run(cores: Option<Arc<Cores>>) -> (u64, u64, u64) {
        let setup = Setup {
            supernodes: 24,
            nodes: 480,
            loss: 0.01,
            reachable: 0.5,
            promote: true,
            ..Setup::default()
        };
        let mut net = Net::new(setup);
        net.cores = cores;
        for peer in 0..setup.supernodes + setup.nodes {
            net.start_within(peer, Duration::from_secs(30));
        }
        net.run_for(Duration::from_secs(90));
        net.kill(3);
        net.leave(5);
        net.kill_at(7, net.now() + Duration::from_millis(12_345));
        net.split(|peer| peer % 3 == 0);
        net.run_for(Duration::from_secs(60));
        net.heal();
        net.run_for(Duration::from_secs(60));
        (net.digest.value(), net.events(), net.in_advance)
    }

    #[test]
    fn a_run_is_the_same_on_any_number_of_cores() {
        let (digest, events, none) = run(None);
        assert_eq!(none, 0);
        for threads in [1, 3] {
            let (side_by_side, as_many, in_advance) = run(Some(Cores::new(threads, 1)));
            assert_eq!((side_by_side, as_many), (digest, events), "{threads}");
            assert!(in_advance > events / 4, "{in_advance} of {events}");
        }
    }
}
