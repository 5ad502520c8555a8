//! When the ways back into the net are asked for supernodes: the list, the name, the local network.
//!
//! Ticket and host cache come first, and mostly are enough; the local network is asked beside them, because it costs nobody else
//! anything. If there is no home after [`FALLBACK_AFTER`], or nothing is remembered at all, the list and the name follow. As long as
//! the need lasts each is asked again, with waits that grow. What they answer are candidates like any others.
//!
//! Invariant: a way is asked again only after its answer came, so that at most one question for each is open.

use std::time::{Duration, Instant};

use nearmesh_common::Now;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

use super::backoff::jitter;

/// How long what is remembered may take to lead to a home: two rounds of measurements that nobody answers (guess).
pub const FALLBACK_AFTER: Duration = Duration::from_secs(2);
/// The first wait before a way is asked again (guess: as long as a second look may take).
const FIRST_WAIT: Duration = Duration::from_secs(4);
/// The longest, without a home (guess: what a person will wait for after mending the list).
const LONGEST_WITHOUT_HOME: Duration = Duration::from_secs(60);
/// The longest of a supernode that knows no other: it may well be the only one there is (guess).
const LONGEST_ALONE: Duration = Duration::from_secs(600);

/// Where supernodes may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// A list in a file.
    List,
    /// A DNS name.
    Name,
    /// The local network.
    Local,
}

/// What the node lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Need {
    /// Nothing.
    #[default]
    Nothing,
    /// A home.
    Home,
    /// Another supernode: this one knows none.
    Company,
}

/// Something happened.
#[derive(Clone, Copy, Debug)]
pub enum Input {
    /// The node lacks this now.
    Need(Need),
    /// A way was asked, and has said all that it had to say.
    Answered(Way),
    /// The list is another one than it was.
    ListChanged,
    /// The time that `poll_timeout` gave has come.
    Timeout,
}

/// One way.
#[derive(Debug)]
struct Asking {
    way: Way,
    state: State,
    /// How often in a row it did not help.
    rounds: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It need not be asked.
    Idle,
    /// It is asked then.
    Due(Instant),
    /// It was asked.
    Asked,
}

/// The ways back into the net.
#[derive(Debug)]
pub struct Bootstrap {
    ways: Vec<Asking>,
    /// Whether ticket or host cache named anybody.
    remembers: bool,
    need: Need,
    rng: ChaCha8Rng,
    now_due: Vec<Way>,
}

impl Bootstrap {
    /// The ways that are configured. `remembers` tells whether there are other candidates to begin with.
    pub fn new(ways: impl IntoIterator<Item = Way>, remembers: bool, seed: u64) -> Self {
        let ways = ways.into_iter().map(|way| Asking { way, state: State::Idle, rounds: 0 }).collect();
        Self {
            ways,
            remembers,
            need: Need::Nothing,
            rng: ChaCha8Rng::seed_from_u64(seed),
            now_due: Vec::new(),
        }
    }

    /// The next way to ask; answer with [`Input::Answered`].
    pub fn poll_output(&mut self) -> Option<Way> {
        self.now_due.pop()
    }

    /// When to call `handle(Input::Timeout, now)`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = self.ways.iter().filter_map(|asking| match asking.state {
            State::Due(at) => Some(at),
            State::Idle | State::Asked => None,
        });
        due.min()
    }

    /// Something happened.
    pub fn handle(&mut self, input: Input, now: Now) {
        match input {
            Input::Need(need) => self.handle_need(need, now),
            Input::Answered(way) => self.handle_answered(way, now),
            Input::ListChanged => self.handle_list_changed(now),
            Input::Timeout => {}
        }
        for asking in &mut self.ways {
            if matches!(asking.state, State::Due(at) if at <= now.instant) {
                asking.state = State::Asked;
                self.now_due.push(asking.way);
            }
        }
    }

    fn handle_need(&mut self, need: Need, now: Now) {
        if need == std::mem::replace(&mut self.need, need) {
            return;
        }
        for asking in &mut self.ways {
            asking.rounds = 0;
            asking.state = match (asking.state, need) {
                (State::Asked, _) => State::Asked,
                (_, Need::Nothing) => State::Idle,
                _ if asking.way == Way::Local || !self.remembers => State::Due(now.instant),
                _ => State::Due(now.instant + FALLBACK_AFTER),
            };
        }
        // From the first home on there is something to remember.
        self.remembers |= need == Need::Nothing;
    }

    fn handle_answered(&mut self, way: Way, now: Now) {
        let longest = match self.need {
            Need::Nothing => None,
            Need::Home => Some(LONGEST_WITHOUT_HOME),
            Need::Company => Some(LONGEST_ALONE),
        };
        let Some(asking) = self.ways.iter_mut().find(|asking| asking.way == way) else { return };
        asking.state = match longest {
            None => State::Idle,
            Some(longest) => {
                let wait = FIRST_WAIT.saturating_mul(1 << asking.rounds.min(16)).min(longest);
                asking.rounds = asking.rounds.saturating_add(1);
                State::Due(now.instant + jitter(&mut self.rng, wait / 2, wait))
            }
        };
    }

    fn handle_list_changed(&mut self, now: Now) {
        for asking in self.ways.iter_mut().filter(|asking| asking.way == Way::List) {
            asking.rounds = 0;
            if matches!(asking.state, State::Due(_)) {
                asking.state = State::Due(now.instant);
            }
        }
    }
}

#[cfg(test)]
mod tests;
