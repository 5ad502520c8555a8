//! The `nearmesh` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    nearmesh::cli::run(std::env::args_os())
}
