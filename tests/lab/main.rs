//! Rung 5: the lab. First that it is what it says, then real processes in it.
#![allow(clippy::unwrap_used)] // All of this is test.

#[cfg(target_os = "linux")]
mod changes;
#[cfg(target_os = "linux")]
mod flow;
#[cfg(target_os = "linux")]
mod homes;
#[cfg(target_os = "linux")]
mod internet;
#[cfg(target_os = "linux")]
mod kinds;
#[cfg(target_os = "linux")]
mod local;
#[cfg(target_os = "linux")]
mod matrix;
#[cfg(target_os = "linux")]
mod observer;
#[cfg(target_os = "linux")]
mod processes;
#[cfg(target_os = "linux")]
mod punching;
#[cfg(target_os = "linux")]
mod routers;
#[cfg(target_os = "linux")]
mod sessions;
#[cfg(target_os = "linux")]
mod transfers;
#[cfg(target_os = "linux")]
mod verdicts;

#[cfg(target_os = "linux")]
tests::lab_before_main!();

/// nearmesh.
#[cfg(target_os = "linux")]
const PROGRAM: &str = env!("CARGO_BIN_EXE_nearmesh-under-test");

#[cfg(not(target_os = "linux"))]
#[test]
fn the_lab() {
    eprintln!("skipped: the lab needs Linux's network namespaces");
}
