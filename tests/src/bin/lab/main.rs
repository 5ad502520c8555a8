//! The lab by hand: the matrix of all NATs, and a small one to play with.

#[cfg(target_os = "linux")]
mod matrix;
#[cfg(target_os = "linux")]
mod program;
#[cfg(target_os = "linux")]
mod shell;
#[cfg(target_os = "linux")]
mod table;

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    if let Some(code) = program::run_as_nearmesh() {
        return code;
    }
    // While there is one thread.
    tests::lab::before_main();
    program::run()
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("the lab needs Linux's network namespaces");
    ExitCode::FAILURE
}
