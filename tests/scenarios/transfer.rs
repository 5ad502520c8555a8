//! Rung 2: files move between named peers over QUIC on loopback, also when a source lies, falls silent or loses its file.
#![allow(clippy::unwrap_used)] // All of this is test.

mod transfer {
    pub mod peers;

    mod bad_sources;
    mod disk;
    mod offers;
    mod plain;
    mod resume;
}
