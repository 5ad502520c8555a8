//! Shares.

pub mod journal;
pub mod kind;
pub mod row;
pub mod store;
pub mod tags;
