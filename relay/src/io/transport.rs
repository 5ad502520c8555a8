//! What QUIC connections are allowed to use. Figures are from measurements of quinn 0.11.12 on loopback and over simulated
//! distance, unless it says otherwise.

use std::{sync::Arc, time::Duration};

use nearmesh_common::{pace::Pace, wire::relay::ChannelId};
use quinn::{Connection, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};

use super::congestion::{FreshOnChange, PathEpoch};

/// A member that is silent for so long is gone, on a connection that serves whoever waits for something. The first keep-alive into the
/// silence starts this anew (RFC 9000, section 10.1), so a dead peer is noticed after [`KEEP_ALIVE`] more at worst. Links
/// are dialled at [`Pace::Slow`], and are as quick as they must be by pulses of their own: QUIC settles its timeouts once and for all.
pub const IDLE_TIMEOUT: Duration = Pace::Quick.silence();
/// Who dialled a connection that has nothing to say says so this often. The other side only acknowledges, which tells both that the other
/// lives.
pub const KEEP_ALIVE: Duration = Pace::Quick.keep_alive();
/// Bytes that a peer may send on one stream before they are read. The default of 1.25 MB caps a stream at 250 Mbit/s at
/// 40 ms; one of 16 MB and loss can end the connection ("too many gaps").
pub const STREAM_WINDOW: u32 = 4 << 20;
/// The same for all streams of a connection: eight streams of a transfer.
pub const RECEIVE_WINDOW: u32 = 32 << 20;
/// Bytes that are sent and not yet acknowledged.
pub const SEND_WINDOW: u64 = 32 << 20;
/// Streams that a peer may have open once it does more than to keep a link, as [`allow_more_streams`] says: a link, the ranges of several
/// transfers, and room (guess).
pub const MAX_STREAMS: u32 = 64;
/// Streams that a peer may have open at first: a link, the ranges of a usual transfer, and a ping. QUIC keeps room for each of them from the
/// start, and a supernode has thousands of connections that never see a second one: 0.4 kB for 7, 5.4 kB for 64. (Tables grow
/// beyond 7, 14, 28.)
pub const FEW_STREAMS: u32 = 7;
/// Bytes of UDP payload that every path must carry (RFC 9000, section 14).
pub const INITIAL_MTU: u16 = 1200;
/// Bytes of UDP payload that are tried: an Ethernet frame's 1500 less IPv6 and UDP.
pub const MAX_MTU: u16 = 1452;

/// A peer whose path changes is gone after so long a silence: long enough to find another path, and for a peer that has none for a
/// while. That a path is dead is noticed much earlier, by whoever looks after paths.
pub const PATH_IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// A connection over changing paths that has nothing to say says so this often: two of three may be lost.
pub const PATH_KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Bytes of UDP payload that are tried on changing paths: with a channel's id before it, a packet is not larger than others.
pub const PATH_MAX_MTU: u16 = MAX_MTU - ChannelId::LENGTH as u16;
/// The round trip that such a connection begins with: QUIC's own 333 ms (RFC 9002, section 6.2.2) would let a handshake whose first
/// packet is lost wait for a second; a path that was probed before answers sooner (guess).
pub const PATH_INITIAL_RTT: Duration = Duration::from_millis(100);

/// Silence after which an enrolment is over (guess: the authority may have to write to a slow disk).
pub const ENROL_IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Streams of an enrolment: one question, one answer.
pub const ENROL_STREAMS: u32 = 1;
/// Bytes that somebody without a certificate may make us hold.
pub const ENROL_WINDOW: u32 = 64 << 10;

/// For dialling members.
pub(crate) fn member(pace: Pace) -> Arc<TransportConfig> {
    let mut config = common(pace.silence(), FEW_STREAMS, MAX_MTU);
    config.keep_alive_interval(Some(pace.keep_alive()));
    for_transfers(&mut config);
    Arc::new(config)
}

/// For members who dial us. Of the two ends' idle timeouts the shorter one holds on both (RFC 9000, section 10.1); the end that dialled
/// keeps the connection alive, and we answer.
pub(crate) fn member_accepted() -> Arc<TransportConfig> {
    let mut config = common(Pace::Slow.silence(), FEW_STREAMS, MAX_MTU);
    for_transfers(&mut config);
    Arc::new(config)
}

/// For a connection between members whose path changes beneath it, as `epoch` tells.
pub(crate) fn changing_path(epoch: Arc<PathEpoch>) -> Arc<TransportConfig> {
    let mut config = common(PATH_IDLE_TIMEOUT, FEW_STREAMS, PATH_MAX_MTU);
    config
        .keep_alive_interval(Some(PATH_KEEP_ALIVE))
        .initial_rtt(PATH_INITIAL_RTT)
        .congestion_controller_factory(Arc::new(FreshOnChange::new(epoch)));
    for_transfers(&mut config);
    Arc::new(config)
}

/// The peer of a connection between members transfers something, or keeps streams open for long: it may have [`MAX_STREAMS`] from now on, a
/// round trip later.
pub fn allow_more_streams(connection: &Connection) {
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(MAX_STREAMS));
}

fn for_transfers(config: &mut TransportConfig) {
    config
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .send_window(SEND_WINDOW);
}

/// For connections of newcomers, on both sides.
pub(crate) fn enrol() -> Arc<TransportConfig> {
    let mut config = common(ENROL_IDLE_TIMEOUT, ENROL_STREAMS, MAX_MTU);
    config
        .stream_receive_window(VarInt::from_u32(ENROL_WINDOW))
        .receive_window(VarInt::from_u32(ENROL_WINDOW))
        .send_window(u64::from(ENROL_WINDOW));
    Arc::new(config)
}

fn common(idle: Duration, streams: u32, max_mtu: u16) -> TransportConfig {
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(max_mtu);
    let idle = IdleTimeout::try_from(idle).expect("seconds fit into 62 bits of milliseconds");
    let mut config = TransportConfig::default();
    config
        .max_idle_timeout(Some(idle))
        .max_concurrent_bidi_streams(VarInt::from_u32(streams))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .initial_mtu(INITIAL_MTU)
        .mtu_discovery_config(Some(discovery));
    config
}
