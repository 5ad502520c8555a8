//! Who reaches whom, how, and how soon: `nearmesh ping` between every two people of a town.

mod expectation;

use std::{
    collections::VecDeque,
    fmt,
    io::{BufRead, BufReader, Read},
    process::Stdio,
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    nat::{Expected, Nat},
    town::{NET, Resident},
};
use crate::process::Node;

pub use expectation::{Runs, complaints, first_of_the_open, late};

/// How a connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reached {
    /// Not at all.
    None,
    /// Through a relay.
    Relayed,
    /// Over the internet, or through one NAT and back.
    Direct,
    /// Within a LAN.
    Lan,
}

/// What became of a call.
#[derive(Clone, Debug)]
pub struct Call {
    /// The way it took in the end.
    pub reached: Reached,
    /// The node that relayed it last, if one did.
    pub relay: Option<String>,
    /// Since it began, until the first answer.
    pub first: Option<Duration>,
    /// The round trip of that answer.
    pub first_rtt: Option<Duration>,
    /// Since it began, until the first answer that came directly.
    pub direct: Option<Duration>,
    /// The last round trip.
    pub rtt: Option<Duration>,
    /// What the command said when it failed.
    pub error: Option<String>,
}

/// One cell.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Who called.
    pub caller: String,
    /// Whom.
    pub callee: String,
    /// Behind what they are.
    pub nats: [Nat; 2],
    /// What physics allows.
    pub expected: Expected,
    /// What happened.
    pub call: Call,
}

impl Cell {
    /// Whether it came out as well as it should. A guess may fail.
    pub fn is_as_expected(&self) -> bool {
        let least = match self.expected {
            Expected::Direct => Reached::Direct,
            Expected::Guessed | Expected::Relayed => Reached::Relayed,
            Expected::Nothing => Reached::None,
        };
        self.call.reached >= least
    }
}

/// How long to wait for the best path, once a call has begun.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Where ports may be guessed.
    pub guessing: Duration,
    /// Elsewhere.
    pub otherwise: Duration,
}

/// Lets each caller of these pairs call its callee, so many at a time. `done` hears of each as it ends.
pub fn measure(
    pairs: &[(&Resident, &Resident)],
    at_a_time: usize,
    patience: Patience,
    done: impl Fn(&Cell) + Sync,
) -> Vec<Cell> {
    let waiting = Mutex::new(pairs.iter().enumerate().collect::<VecDeque<_>>());
    let cells = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..at_a_time {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some((index, (caller, callee))) = next else { return };
                    let cell = measure_one(caller, callee, patience);
                    done(&cell);
                    cells.lock().unwrap_or_else(PoisonError::into_inner).push((index, cell));
                }
            });
        }
    });
    let mut cells = cells.into_inner().unwrap_or_else(PoisonError::into_inner);
    cells.sort_by_key(|(index, _)| *index);
    cells.into_iter().map(|(_, cell)| cell).collect()
}

fn measure_one(caller: &Resident, callee: &Resident, patience: Patience) -> Cell {
    let expected = caller.nat.kind.towards(callee.nat.kind);
    let outside = [caller, callee].into_iter().find_map(|resident| {
        let reason = resident.outside.as_ref()?;
        Some(format!("{} is not in the net: {reason}", resident.name))
    });
    let wait = if expected == Expected::Guessed { patience.guessing } else { patience.otherwise };
    let call = match outside {
        Some(reason) => Call { error: Some(reason), ..Call::failed() },
        None => call(&caller.node, &callee.name, wait),
    };
    let nats = [caller.nat, callee.nat];
    Cell { caller: caller.name.clone(), callee: callee.name.clone(), nats, expected, call }
}

/// One call, until it has gone directly or for so long.
pub fn call(caller: &Node, callee: &str, patience: Duration) -> Call {
    let count = (patience.as_secs() + 1).to_string();
    let mut command = caller.command(&["--json", "ping", &format!("{callee}@{NET}"), "--count", &count]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let begun = Instant::now();
    let mut ping = command.spawn().expect("the program runs");
    let stdout = BufReader::new(ping.stdout.take().expect("stdout is piped"));
    let (heard, lines) = mpsc::sync_channel(1);
    let mut call = Call::failed();
    thread::scope(|scope| {
        scope.spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if heard.send((begun.elapsed(), line)).is_err() {
                    return;
                }
            }
        });
        let left = || patience.saturating_sub(begun.elapsed());
        while let Ok((at, line)) = lines.recv_timeout(left()) {
            call.hear(at, &line);
            if call.direct.is_some() {
                break;
            }
        }
        // Nobody listens any more.
        drop(lines);
        let _ = ping.kill();
    });
    let _ = ping.wait();
    if call.reached == Reached::None {
        let mut said = String::new();
        let _ = ping.stderr.take().expect("stderr is piped").read_to_string(&mut said);
        call.error = Some(said.lines().next().unwrap_or("no answer").to_owned());
    }
    call
}

impl Call {
    fn failed() -> Self {
        let (first, first_rtt, direct, rtt) = (None, None, None, None);
        Self { reached: Reached::None, relay: None, first, first_rtt, direct, rtt, error: None }
    }

    /// Takes in what a ping said at some time.
    fn hear(&mut self, at: Duration, line: &str) {
        let Ok(answer) = serde_json::from_str::<Value>(line) else { return };
        self.reached = match answer["path"].as_str() {
            Some("lan") => Reached::Lan,
            Some("direct") => Reached::Direct,
            Some("relayed") => Reached::Relayed,
            _ => return,
        };
        // The command's own clock does not count the time that it took to start.
        let at = answer["at_ms"].as_f64().map_or(at, milliseconds);
        self.first.get_or_insert(at);
        if self.reached > Reached::Relayed {
            self.direct.get_or_insert(at);
        }
        self.relay = answer["relay"].as_str().map(str::to_owned);
        self.rtt = answer["rtt_ms"].as_f64().map(milliseconds);
        self.first_rtt = self.first_rtt.or(self.rtt);
    }
}

fn milliseconds(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1000.0).unwrap_or_default()
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::Relayed => "relayed",
            Self::Direct => "direct",
            Self::Lan => "lan",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::nat::NatKind, *};

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_call_is_told_by_what_its_pings_say() {
        let mut call = Call::failed();
        call.hear(900 * MS, r#"{"path":"relayed","relay":"k7","rtt_ms":31.5,"at_ms":40}"#);
        assert_eq!((call.reached, call.relay.as_deref()), (Reached::Relayed, Some("k7")));
        call.hear(950 * MS, r#"{"path":"direct","relay":null,"rtt_ms":11,"at_ms":90.5}"#);
        call.hear(990 * MS, r#"{"path":"direct","relay":null,"rtt_ms":12,"at_ms":95}"#);
        assert_eq!((call.reached, call.relay.as_deref()), (Reached::Direct, None));
        assert_eq!((call.first, call.rtt), (Some(40 * MS), Some(12 * MS)));
        assert_eq!(call.direct, Some(Duration::from_micros(90_500)));
    }

    #[test]
    fn a_failed_guess_is_forgiven_and_a_lost_direct_path_is_not() {
        let cell = |expected, reached| Cell {
            caller: "alice".to_owned(),
            callee: "bob".to_owned(),
            nats: [NatKind::Open.into(); 2],
            expected,
            call: Call { reached, ..Call::failed() },
        };
        assert!(cell(Expected::Guessed, Reached::Relayed).is_as_expected());
        assert!(!cell(Expected::Direct, Reached::Relayed).is_as_expected());
        assert!(!cell(Expected::Relayed, Reached::None).is_as_expected());
        assert!(cell(Expected::Nothing, Reached::None).is_as_expected());
    }
}
