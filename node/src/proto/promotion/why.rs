//! In a sentence: why this node is, or is not, a supernode.

use std::{fmt, time::Duration};

use super::Unfit;

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
