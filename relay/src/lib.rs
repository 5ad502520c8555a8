//! What a reachable node does with packets, of its own and for others: one UDP port for everything.
//!
//! QUIC and STUN share one socket and are told apart by their first byte ([`proto::demux`]). Whoever can reach the
//! port can ask it for its own address with any STUN client ([`proto::stun`]), and whoever has a certificate of the
//! net can open a connection ([`Endpoint`]). Nobody else gets further than the enrolment protocol. Members that cannot reach each
//! other may have their packets forwarded ([`proto::forward`], [`io::reservation`]).
//!
//! Invariants: no answer to a stranger is longer than three times what the stranger sent; no module under `proto`
//! reads a clock or owns a socket; a connection without a certificate never comes out as [`Accepted::Member`].

pub mod io;
pub mod proto;

pub use proto::path::virtual_addr::VirtualAddr;

pub use io::{
    counters::Counters,
    endpoint::{Accepted, BindError, DialError, Endpoint},
    forward::Forwarding,
    kick::kick,
    path_driver::{DriverOutput, PathHandle, PathStatus},
    peer_path::{PathNews, PeerPath, PeerPathError},
    probe::Probe,
    tls::{TlsConfigs, TlsError},
};
