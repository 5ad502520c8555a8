//! Which session a path probe belongs to.

use nearmesh_common::wire::signal::SessionId;

/// The first bytes of a [`SessionId`]: what a path probe carries after its first byte, in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionTag(pub [u8; Self::LENGTH]);

impl SessionTag {
    /// Bytes of a tag.
    pub const LENGTH: usize = 8;

    /// The tag in `probe`; `None` if it is too short for one.
    pub fn of_probe(probe: &[u8]) -> Option<Self> {
        probe.get(1..)?.first_chunk().copied().map(Self)
    }
}

impl From<SessionId> for SessionTag {
    fn from(session: SessionId) -> Self {
        let mut tag = [0; Self::LENGTH];
        tag.copy_from_slice(&session.0[..Self::LENGTH]);
        Self(tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_carries_the_first_bytes_of_its_session() {
        let session = SessionId([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
        let probe = [0x90, 1, 2, 3, 4, 5, 6, 7, 8, 0xff];
        assert_eq!(SessionTag::of_probe(&probe), Some(session.into()));
        assert_eq!(SessionTag::of_probe(&probe[..8]), None);
        assert_eq!(SessionTag::of_probe(&[]), None);
    }
}
