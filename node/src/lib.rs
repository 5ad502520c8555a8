//! The node: everything that one machine of a net runs, and the program by which people use it.

pub mod content;
pub mod proto;
pub mod safe_name;
pub mod shares;
pub mod transfer;
