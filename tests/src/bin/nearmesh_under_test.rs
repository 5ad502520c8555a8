//! The `nearmesh` program under a name that cargo builds for this package's tests.

fn main() -> std::process::ExitCode {
    nearmesh::cli::run(std::env::args_os())
}
