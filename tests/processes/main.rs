//! Rung 4: real processes on loopback, driven through the command line.

mod bootstrap;
mod everybody;
mod hostile;
mod journey;
mod promotion;
mod reaching;
mod recovery;
mod refusals;
mod relay;

const PROGRAM: &str = env!("CARGO_BIN_EXE_nearmesh-under-test");
