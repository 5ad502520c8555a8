//! The command line; and nearmesh itself, which this program is too, by that name.

use std::{env, io, os::unix::fs::symlink, path::Path, process::ExitCode};

use clap::{Parser, Subcommand};
use tempfile::TempDir;
use tests::lab::{self, Internet, Nat, NatKind, Town};

use crate::{matrix, shell};

/// The name under which this program is nearmesh.
const NEARMESH: &str = "nearmesh";

#[derive(Debug, Parser)]
#[command(
    name = "lab",
    about = "Homes behind real NATs, an internet between them, and real nearmesh processes"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Let everybody call everybody, and print who reached whom, how, and how soon
    Matrix(matrix::Matrix),
    /// Build a small lab and do in it what is typed
    Shell(shell::Shell),
}

/// Is nearmesh, if it was started by that name: so no other program has to be built.
pub(super) fn run_as_nearmesh() -> Option<ExitCode> {
    let mut arguments = env::args_os();
    let name = arguments.next()?;
    (Path::new(&name).file_name()? == NEARMESH).then(|| nearmesh::cli::run(env::args_os()))
}

pub(super) fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let ran =
        lab::available().map_err(|reason| format!("there can be no lab here: {reason}")).and_then(|()| {
            match arguments.command {
                Command::Matrix(matrix) => matrix.run(),
                Command::Shell(shell) => shell.run(),
            }
        });
    ran.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

/// Supernodes, and the directory in which nearmesh is a name of this program.
pub(super) fn found() -> io::Result<(Town, TempDir)> {
    let directory = tempfile::Builder::new().prefix("nearmesh-lab-").tempdir()?;
    let program = directory.path().join(NEARMESH);
    symlink(env::current_exe()?, &program)?;
    Ok((Town::found(Internet::new()?, &program), directory))
}

/// The kinds that were asked for, or all.
pub(super) fn kinds(asked: &[Nat]) -> Vec<Nat> {
    if asked.is_empty() { NatKind::ALL.map(Nat::from).to_vec() } else { asked.to_vec() }
}
