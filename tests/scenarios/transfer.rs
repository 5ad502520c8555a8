//! Rung 2: files move between named peers over QUIC on loopback, also when a source lies, falls silent or loses its file.

mod transfer {
    pub mod peers;

    mod bad_sources;
    mod disk;
    mod offers;
    mod plain;
    mod resume;
}
