//! Shares.

pub mod journal;
pub mod kind;
pub mod tags;
