//! Paths between two nodes of which neither can simply be dialled.

pub mod route;
pub mod tag;
pub mod virtual_addr;
