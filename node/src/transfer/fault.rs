//! What can be wrong with a source.

use nearmesh_common::{NodeId, wire::stream::Unavailable};
use thiserror::Error;

/// Why a source was given up.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// It sent bytes that are not of this content.
    #[error("it sent wrong bytes")]
    WrongBytes,
    /// It claims a size that the content cannot have.
    #[error("it claims a wrong size")]
    WrongSize,
    /// It does not keep to the protocol.
    #[error("it does not keep to the protocol")]
    Garbage,
    /// It ended a range before its end.
    #[error("it ended in the middle")]
    Truncated,
    /// Its file changed while it was sent.
    #[error("its file changed meanwhile")]
    Changed,
    /// It sent nothing of use for too long.
    #[error("it stopped sending")]
    Stalled,
    /// It declined.
    #[error("it {}", match .0 {
        Unavailable::NotShared => "does not share this file any more",
        Unavailable::Changed => "has another version of this file by now",
        Unavailable::Busy => "has no free upload slot",
        Unavailable::BadRange => "refused the range that was asked for",
    })]
    Unavailable(Unavailable),
    /// It has only parts of the content, which are fetched.
    #[error("it has only parts of this file")]
    Incomplete,
    /// No connection came about.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// The connection broke.
    #[error("the connection was lost: {0}")]
    Lost(String),
}

/// A source that was given up, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blamed {
    /// Which.
    pub node: NodeId,
    /// Why.
    pub fault: Fault,
}
