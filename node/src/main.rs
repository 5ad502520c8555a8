//! The `nearmesh` program.
fn main() {}
