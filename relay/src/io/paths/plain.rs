//! Addresses at which plain connections are: no guess about a path may take their packets.

use std::{
    fmt,
    net::SocketAddr,
    sync::{OnceLock, atomic::Ordering::SeqCst},
};

use super::{Paths, host};
use crate::proto::path::SocketIndex;

/// Who knows them.
#[derive(Default)]
pub(crate) struct Plain(OnceLock<IsPlain>);

type IsPlain = Box<dyn Fn(SocketAddr) -> bool + Send + Sync>;

impl Plain {
    /// Asks this from now on; what was said first stays.
    pub(crate) fn ask(&self, is_plain: IsPlain) {
        let _ = self.0.set(is_plain);
    }

    /// Whether a plain connection is there, as far as anybody knows.
    pub(crate) fn has(&self, at: SocketAddr) -> bool {
        self.0.get().is_some_and(|is_plain| is_plain(at))
    }
}

impl Paths {
    /// A plain connection is made to `to`: who only seemed to send from there gets nothing of it.
    pub(crate) fn make_way(&self, to: SocketAddr) {
        let key = (SocketIndex::MAIN, host(to));
        if self.in_use.load(SeqCst) && self.read().direct.get(&key).is_some_and(|accepted| !accepted.proven) {
            self.write().direct.remove(&key);
        }
    }
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Plain").field(&self.0.get().is_some()).finish()
    }
}
