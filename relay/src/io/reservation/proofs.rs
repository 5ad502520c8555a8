//! Cookies that relays send to this port, on their way to the reservations that they are for.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use nearmesh_common::wire::relay::{ChannelId, Cookie};
use tokio::sync::mpsc;

/// Cookies of one channel that wait. More would be the same one again.
const WAITING: usize = 2;

/// The channels on which this port is a client. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Proofs(Arc<Mutex<BTreeMap<ChannelId, mpsc::Sender<Cookie>>>>);

/// One channel's place among them, until it is dropped.
pub(super) struct Expected {
    proofs: Proofs,
    channel: ChannelId,
}

impl Proofs {
    /// Hands over a cookie that came on a channel; says whether somebody is there who knows that channel.
    pub fn deliver(&self, channel: ChannelId, cookie: Cookie) -> bool {
        let table = self.lock();
        let Some(waiting) = table.get(&channel) else { return false };
        // The relay asks again.
        let _ = waiting.try_send(cookie);
        true
    }

    pub(super) fn expect(&self, channel: ChannelId) -> (Expected, mpsc::Receiver<Cookie>) {
        let (sender, cookies) = mpsc::channel(WAITING);
        self.lock().insert(channel, sender);
        (Expected { proofs: self.clone(), channel }, cookies)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ChannelId, mpsc::Sender<Cookie>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.proofs.lock().remove(&self.channel);
    }
}
