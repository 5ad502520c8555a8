//! What a node must be able to give before it serves.

use std::{fmt, time::Duration};

/// Memory that must be available, in bytes, to begin to serve: gtk-gnutella asks 256 KiB for each leaf; for 300 children, and as much
/// again for an index of their files.
const MEMORY: u64 = 160 * 1024 * 1024;
/// Descriptors that a process must be allowed (guess: one UDP port serves all links; the rest is files, and sockets of relayed pairs).
const DESCRIPTORS: u64 = 512;
/// Bytes a second towards the home (LimeWire asked 10 KB/s of an ultrapeer's uplink; here five times Skype's cap on a supernode's
/// signalling, because search results travel too).
const BANDWIDTH: u64 = 25_000;

/// What this machine can give, as far as the system tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Whether strangers reach it.
    pub reached: Reached,
    /// Bytes of memory that are available.
    pub memory: Option<u64>,
    /// Descriptors that the process may have open.
    pub descriptors: Option<u64>,
    /// Whether bytes on its line cost money.
    pub metered: Option<bool>,
    /// Whether it runs on a battery now.
    pub on_battery: Option<bool>,
}

/// Whether strangers reach a node, by dial-backs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reached {
    /// It is not known (yet).
    #[default]
    Unknown,
    /// They do not.
    No,
    /// One supernode's dial-back came in.
    ByOne,
    /// Those of two, independently of one another.
    ByTwo,
}

/// Why a node cannot serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Strangers do not reach it.
    Unreachable,
    /// It is not known whether they do.
    ReachUnknown,
    /// Only one supernode says so, and there are others to ask.
    OneWitness,
    /// Bytes on its line cost money.
    Metered,
    /// It runs on a battery.
    OnBattery,
    /// So many bytes of memory are available.
    Memory(u64),
    /// So many descriptors are allowed.
    Descriptors(u64),
    /// So many bytes a second go to the home.
    Bandwidth(u64),
    /// It must have been up for so long.
    TooYoung(Duration),
}

/// What is demanded at this moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demand {
    /// How long the node must have been up.
    pub(super) uptime: Duration,
    /// Whether two supernodes must have reached it: there are so many.
    pub(super) two_witnesses: bool,
}

/// Why a node that was up for `uptime` cannot begin to serve; what is not known does not stand against it, except its reach.
pub(super) fn objection(
    facts: &Facts,
    bandwidth: Option<u64>,
    uptime: Duration,
    demand: Demand,
) -> Option<Unfit> {
    if let Some(unfit) = lasting_objection(facts, 1) {
        return Some(unfit);
    }
    match facts.reached {
        Reached::Unknown => return Some(Unfit::ReachUnknown),
        Reached::ByOne if demand.two_witnesses => return Some(Unfit::OneWitness),
        _ => {}
    }
    if let Some(slow) = bandwidth.filter(|rate| *rate < BANDWIDTH) {
        return Some(Unfit::Bandwidth(slow));
    }
    (uptime < demand.uptime).then_some(Unfit::TooYoung(demand.uptime))
}

/// Why a node cannot go on serving. It may use up to `divisor` times more of the machine than it had to find free at first.
pub(super) fn lasting_objection(facts: &Facts, divisor: u64) -> Option<Unfit> {
    if facts.reached == Reached::No {
        return Some(Unfit::Unreachable);
    }
    if facts.metered == Some(true) {
        return Some(Unfit::Metered);
    }
    if facts.on_battery == Some(true) {
        return Some(Unfit::OnBattery);
    }
    if let Some(memory) = facts.memory.filter(|memory| *memory < MEMORY / divisor) {
        return Some(Unfit::Memory(memory));
    }
    facts.descriptors.filter(|count| *count < DESCRIPTORS).map(Unfit::Descriptors)
}

impl fmt::Display for Unfit {
    /// A clause that reads well after "because".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => f.write_str("strangers cannot reach it"),
            Self::ReachUnknown => f.write_str("it is not known whether strangers can reach it"),
            Self::OneWitness => {
                f.write_str("only one supernode has confirmed so far that strangers can reach it")
            }
            Self::Metered => f.write_str("its line is metered"),
            Self::OnBattery => f.write_str("it runs on a battery"),
            Self::Memory(free) => {
                write!(f, "only {} MiB of memory are free ({} are needed)", free >> 20, MEMORY >> 20)
            }
            Self::Descriptors(count) => {
                write!(f, "it may open only {count} descriptors ({DESCRIPTORS} are needed)")
            }
            Self::Bandwidth(rate) => {
                write!(f, "only {} kB/s go to its home ({} are needed)", rate / 1000, BANDWIDTH / 1000)
            }
            Self::TooYoung(needed) => write!(f, "it has not been up for {} s yet", needed.as_secs()),
        }
    }
}
