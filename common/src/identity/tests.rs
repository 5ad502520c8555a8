//! Alice and bob of the net lab, and those who would like to be taken for them.

mod certificates;
mod handshakes;
mod key_files;
mod records;
mod tickets;

use std::time::{Duration, SystemTime};

use super::{Membership, NetRoot, NodeKey, Serial};
use crate::UnixMillis;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A net's root, and what it issued last.
struct Net {
    root: NetRoot,
    wall: UnixMillis,
}

struct Member {
    membership: Membership,
    serial: Serial,
}

/// rustls verifies at the machine's own time.
#[allow(clippy::disallowed_methods, reason = "not a protocol machine")]
fn wall() -> UnixMillis {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    UnixMillis(u64::try_from(now.as_millis()).unwrap())
}

impl Net {
    fn new(name: &str) -> Self {
        let wall = wall();
        Self { root: NetRoot::create(name.parse().unwrap(), wall).unwrap(), wall }
    }

    fn join(&self, user: &str) -> Member {
        let key = NodeKey::generate();
        let issued = self.root.issue(&key.certificate_request(), &user.parse().unwrap(), self.wall).unwrap();
        assert_eq!(issued.node, key.node_id());
        let membership =
            Membership::assemble(self.root.certificate(), &issued.certificate, key, self.wall).unwrap();
        Member { membership, serial: issued.serial }
    }

    fn revoke(&self, members: &[&Member], number: u64) -> Box<[u8]> {
        let serials: Vec<_> = members.iter().map(|member| (member.serial, self.wall)).collect();
        self.root.revoke(&serials, number, self.wall).unwrap()
    }
}
