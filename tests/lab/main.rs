//! Rung 5: the lab. First that it is what it says, then real processes in it.
#![cfg(target_os = "linux")]

mod kinds;
mod observer;

tests::lab_before_main!();
