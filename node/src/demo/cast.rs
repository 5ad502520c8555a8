//! Who plays: nine people, one node each.

/// The net.
pub(super) const NET: &str = "lab";
/// Who makes the net.
pub(super) const AUTHORITY: &str = "alice";
/// Whose nodes are supernodes, the authority's first.
pub(super) const SUPERNODES: [&str; 3] = [AUTHORITY, "bob", "carol"];
/// Whose nodes are not.
pub(super) const ORDINARY: [&str; 6] = ["dave", "erin", "frank", "grace", "heidi", "ivan"];
/// Who shares the large file.
pub(super) const GIVER: &str = "erin";

/// Everybody.
pub(super) fn all() -> impl Iterator<Item = &'static str> {
    SUPERNODES.into_iter().chain(ORDINARY)
}
