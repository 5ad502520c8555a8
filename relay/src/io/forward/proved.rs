//! Which address the handshake of a connection has proved.
//!
//! Who completes a handshake with us received what we sent to the address from which it began. Later changes of
//! address are not seen here; quinn tells them before they are validated.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use quinn::Connection;

/// Connections that are remembered, the latest ones (more than a node accepts at a time). The owner of a forgotten one proves its address
/// again when it reserves.
const REMEMBERED: usize = 16_384;

#[derive(Debug, Default)]
pub(crate) struct ProvedAddresses(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    /// By `stable_id`, which may be given again to a later connection; that one is then inserted in its turn.
    proved: HashMap<usize, SocketAddr>,
    order: VecDeque<usize>,
}

impl ProvedAddresses {
    pub(crate) fn insert(&self, connection: &Connection, address: SocketAddr) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(connection.stable_id(), address);
    }

    pub(crate) fn contains(&self, connection: &Connection, address: SocketAddr) -> bool {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.proved.get(&connection.stable_id()) == Some(&address)
    }
}

impl Table {
    fn insert(&mut self, id: usize, address: SocketAddr) {
        if self.proved.insert(id, address).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.proved.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_connections_are_remembered_and_no_more() {
        let mut table = Table::default();
        let address = |port: usize| SocketAddr::from(([192, 0, 2, 1], (port % 50_000) as u16));
        for id in 0..2 * REMEMBERED {
            table.insert(id, address(id));
            table.insert(id, address(id + 1));
        }
        assert_eq!((table.proved.len(), table.order.len()), (REMEMBERED, REMEMBERED));
        assert_eq!(table.proved.get(&(2 * REMEMBERED - 1)), Some(&address(2 * REMEMBERED)));
        assert_eq!(table.proved.get(&(REMEMBERED - 1)), None);
    }
}
