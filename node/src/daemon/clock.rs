//! The real clocks, read where the world meets the machines.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use nearmesh_common::{Now, UnixMillis};

/// Both clocks, now.
pub fn now() -> Now {
    Now { instant: Instant::now(), wall: wall() }
}

/// The wall clock, now. A clock set before 1970 reads as 1970.
pub fn wall() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
