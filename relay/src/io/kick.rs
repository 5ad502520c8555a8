//! Making a connection send something now.

use quinn::{Connection, VarInt};

use super::transport::RECEIVE_WINDOW;

/// Makes `connection`, one between members, send a packet now that has to be acknowledged.
///
/// A connection whose packets all went into the void would otherwise wait for its own timeout, which doubles each time; the
/// acknowledgement tells it what was lost. And a NAT or a relay between learns where its packets come from now. A larger receive window
/// is announced at once; taken back, it costs nothing but that frame.
pub fn kick(connection: &Connection) {
    connection.set_receive_window(VarInt::from_u32(RECEIVE_WINDOW + 1));
    connection.set_receive_window(VarInt::from_u32(RECEIVE_WINDOW));
}
