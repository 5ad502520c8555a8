//! What every part of Nearmesh shares: names and ids, identity and signed records, and the wire format.
//!
//! Nothing here opens a socket or reads a clock, except [`frame`], which moves frames over a stream that
//! somebody else opened.

pub mod codec;
pub mod dialable;
pub mod frame;
pub mod id;
pub mod identity;
pub mod name;
pub mod nat;
pub mod pace;
pub mod presence;
pub mod rate;
pub mod scope;
pub mod signed;
pub mod supernode_record;
pub mod text;
pub mod time;
pub mod wire;

pub use id::{ContentHash, NodeId};
pub use name::{NetName, UserAddress, UserName};
pub use time::{Now, UnixMillis};
