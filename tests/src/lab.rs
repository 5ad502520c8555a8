//! Homes, carriers and an internet between them, in Linux network namespaces (rung 5).
//!
//! ```no_run
//! # use tests::{lab::{Internet, NatKind}, process::Lab};
//! // In the binary's main.rs: tests::lab_before_main!();
//! let Some(internet) = Internet::or_skip() else { return };
//! let hub = internet.site("hub", NatKind::Open).host("alice");
//! let home = internet.site("home", NatKind::Symmetric);
//! let laptop = home.host("bob");
//! internet.change(&home, &hub.gateway(), |path| path.loss = 0.01);
//! let lab = Lab::new("nearmesh"); // env!("CARGO_BIN_EXE_nearmesh-under-test")
//! let alice = lab.node_in("alice", &hub).founds("lab", "alice", &[]);
//! let bob = lab.node_in("bob", &laptop).joins(&alice, "bob", &[]);
//! home.rebind(); // a new outside address for all that bob has open
//! assert!(alice.ok(&["ping", "bob"]).stdout.contains("direct"));
//! let socket = laptop.udp(0); // or sockets of the test's own
//! ```
//!
//! A *site* is a [`Gateway`] with a LAN. It has a real NAT, the kernel's, of some [`NatKind`]. Behind it are [`Host`]s, each in
//! a namespace of its own, in which processes run and sockets are opened. The [`Internet`] moves packets from site to site in
//! user space, with the [`Path`] of each pair: how far, how lossy, how fast.
//!
//! Nothing has a name that outlives the process: namespaces are descriptors, TUN devices are descriptors, processes die
//! with the process that started them. Labs do not see each other, so tests that use them run in parallel. Building a site
//! takes some 10 ms.
//!
//! Needed: `ip` and `nft`; and to be root, or a system that gives ordinary users namespaces (most do) and lets them open
//! `/dev/net/tun` (0666, as udev makes it). Where something is missing, [`Internet::or_skip`] says what.

mod addresses;
mod cable;
mod conntrack;
mod gateway;
mod host;
mod internet;
pub mod matrix;
mod namespace;
mod nat;
mod nursery;
mod packet;
mod paths;
mod port_mapper;
mod privilege;
mod router;
mod rules;
mod system;
mod tools;
mod town;

pub use addresses::MAX_SITES;
pub use gateway::Gateway;
pub use host::Host;
pub use internet::Internet;
pub use namespace::Namespace;
pub use nat::{Expected, Nat, NatKind};
pub use paths::{Carried, Path};
pub use port_mapper::{Asked, PortMapper, port_mapper_or_skip};
pub use privilege::{available, available_or_skip, before_main};
pub use rules::SHORT_TIMEOUT_S;
pub use town::{HOME_RTT_MS, NET, Resident, SUPERNODES, Town};
