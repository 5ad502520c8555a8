//! In a sentence: why this node is, or is not, a supernode.

use std::{fmt, time::Duration};

use nearmesh_common::Now;

use super::{Promotion, Stage, Unfit, fitness, need, serving::IN_USE};
use crate::config::Promote;

/// Why this node is, or is not, a supernode.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Why {
    /// Its user wants it to serve.
    Always,
    /// Its user wants it not to.
    Never,
    /// It serves, for so many percent of all places are taken and these should not be more.
    Serves {
        /// How full supernodes are, in percent; none while nothing is known.
        full: Option<u32>,
    },
    /// It serves and there are too many: it steps down unless that changes.
    TooMany {
        /// How full supernodes are, in percent.
        full: u32,
    },
    /// It serves, will no longer, and waits for the right moment.
    NoLongerFit(Unfit),
    /// It has no home, and so far no reason to be one itself.
    NoHome,
    /// Nobody has said that there are too few.
    NotAsked,
    /// There are enough.
    Enough {
        /// How full they are, in percent.
        full: u32,
    },
    /// There are too few, but it cannot help.
    Unfit(Unfit),
    /// There are too few, and it changed its role a while ago.
    Waits(Duration),
    /// There are too few: its lot decides, with others.
    Candidate {
        /// How full they are, in percent.
        full: u32,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("it is a supernode because its user says so (--promote always)"),
            Self::Never => f.write_str("it is no supernode because its user says so (--promote never)"),
            Self::Serves { full: None } => f.write_str("it is a supernode because the net needs one"),
            Self::Serves { full: Some(full) } => {
                write!(f, "it is a supernode because the net needs it: its supernodes are {full} % full")
            }
            Self::TooMany { full } => {
                write!(f, "it is a supernode, but not for long: the net's supernodes are only {full} % full")
            }
            Self::NoLongerFit(unfit) => write!(f, "it is a supernode, but will step down because {unfit}"),
            Self::NoHome => f.write_str("it is no supernode: it is looking for a home"),
            Self::NotAsked => f.write_str("it is no supernode because its home asks for no more of them"),
            Self::Enough { full } => {
                write!(f, "it is no supernode because there are enough: they are {full} % full")
            }
            Self::Unfit(unfit) => {
                write!(f, "it is no supernode, although the net could use more, because {unfit}")
            }
            Self::Waits(left) => write!(
                f,
                "it is no supernode because it was one a while ago: it waits another {} minutes at least",
                left.as_secs().div_ceil(60)
            ),
            Self::Candidate { full } => write!(
                f,
                "it is no supernode yet: the net's supernodes are {full} % full, and one of those that can help will \
                 promote itself within moments"
            ),
        }
    }
}

impl Promotion {
    /// Why this node is, or is not, a supernode, at this moment.
    pub fn why(&self, now: Now) -> Why {
        let full = self.around.map(|around| percent(need::fullness(&around)));
        match (self.promote, self.stage) {
            (Promote::Always, _) => Why::Always,
            (_, Stage::Serving { unfit_since: Some(_), .. }) => {
                let unfit = fitness::lasting_objection(&self.facts, IN_USE);
                unfit.map_or(Why::Serves { full }, Why::NoLongerFit)
            }
            (_, Stage::Serving { spare: Some(_), .. }) => Why::TooMany { full: full.unwrap_or(0) },
            (_, Stage::Serving { .. }) => Why::Serves { full },
            (Promote::Never, _) => Why::Never,
            _ => self.why_not(full, now),
        }
    }

    fn why_not(&self, full: Option<u32>, now: Now) -> Why {
        if self.orphan_since.is_some() {
            return Why::NoHome;
        }
        let Some(full) = full else {
            return fitness::lasting_objection(&self.facts, 1).map_or(Why::NotAsked, Why::Unfit);
        };
        let Some(need) = self.need() else { return Why::Enough { full } };
        let left = self.waits.left(now.wall);
        match self.objection(Some(need), now) {
            Some(unfit) => Why::Unfit(unfit),
            None if !need.is_rush() && !left.is_zero() => Why::Waits(left),
            None => Why::Candidate { full },
        }
    }
}

fn percent(part: f64) -> u32 {
    (part * 100.0).round().clamp(0.0, 10_000.0) as u32
}
