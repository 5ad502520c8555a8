//! The command line: parse, ask the running node, print.
//!
//! Answers go to stdout, everything else to stderr. A reader of stdout that goes away (`search | head`) ends the
//! command without a word. With `--json` an answer is one object, or one a line where results stream, and a failure
//! is one object on stderr. The exit code is [`Code::exit_code`]'s.
#![allow(clippy::disallowed_methods, reason = "io: it shows people how time passes")]

mod completions;
mod demo;
mod down;
mod downloads;
mod get;
mod harmless;
mod log;
mod lookup;
mod net;
mod output;
mod person;
mod ping;
mod progress;
mod search;
mod send;
mod share;
mod status;
mod supernodes;
mod table;
mod units;
mod up;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand, error::ErrorKind};

use self::output::{Output, Quit};
use crate::{
    control::{
        api::{ApiError, Code},
        client::Client,
    },
    profile::Profile,
};

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "nearmesh",
    version,
    about = "Find your people's names and files, and reach them directly, without anybody's server",
    after_help = "Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 no node is running, 5 refused.\n\
                  See it at work: nearmesh demo",
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What holds for every command.
#[derive(Debug, Args)]
struct Global {
    /// The directory of the node that is meant [default: the platform's data directory]
    #[arg(long, global = true, env = "NEARMESH_PROFILE", value_name = "DIR", display_order = 900)]
    profile: Option<PathBuf>,
    /// Print JSON: one object, or one a line where results stream
    #[arg(long, global = true, display_order = 901)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// See it at work: nine nodes on this machine, in a minute
    Demo(demo::Demo),
    /// Make a net, invite to it, join it, or revoke a member
    Net(net::Net),
    /// Run this profile's node until it is stopped
    Up(up::Up),
    /// End this profile's running node
    Down(down::Down),
    /// How the node is: its home, its role, what it shares, what is wrong
    Status(status::StatusCommand),
    /// Share files and folders, and list what is shared
    Share(share::ShareCommand),
    /// Search the net for files
    Search(search::Search),
    /// Fetch a file, by its hash or its number in the last search
    Get(get::Get),
    /// Where a person is
    Lookup(lookup::LookupCommand),
    /// Measure the way to a person's nodes
    Ping(ping::Ping),
    /// Give a file to a person
    Send(send::Send),
    /// How downloads go
    Downloads(downloads::Downloads),
    /// The supernodes that the node knows
    Supernodes(supernodes::Supernodes),
    /// Print the completion script for a shell
    Completions(completions::Completions),
}

/// What every command is given.
struct Context {
    profile: Profile,
    out: Output,
}

impl Context {
    fn client(&self) -> Client {
        Client::new(&self.profile)
    }
}

/// Runs the program.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let json = arguments.iter().any(|argument| argument == "--json");
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error, json),
    };
    let out = Output::new(cli.global.json);
    match execute(cli, out) {
        Ok(()) | Err(Quit::NobodyReads) => ExitCode::SUCCESS,
        Err(Quit::Failed(error)) => {
            out.error(&error);
            ExitCode::from(error.code.exit_code())
        }
    }
}

fn execute(cli: Cli, out: Output) -> Result<(), Quit> {
    let profile = Profile::locate(cli.global.profile.as_deref())?;
    let context = Context { profile, out };
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| ApiError::failed(format!("the system gives no threads: {error}")))?;
    let ended = runtime.block_on(cli.command.run(&context));
    // A thread that still reads a folder must not keep the program.
    runtime.shutdown_background();
    ended
}

impl Command {
    async fn run(self, context: &Context) -> Result<(), Quit> {
        if !matches!(self, Self::Up(_)) {
            log::to_stderr("warn");
        }
        match self {
            Self::Demo(command) => command.run(context).await,
            Self::Net(command) => command.run(context).await,
            Self::Up(command) => command.run(context).await,
            Self::Down(command) => command.run(context).await,
            Self::Status(command) => command.run(context).await,
            Self::Share(command) => command.run(context).await,
            Self::Search(command) => command.run(context).await,
            Self::Get(command) => command.run(context).await,
            Self::Lookup(command) => command.run(context).await,
            Self::Ping(command) => command.run(context).await,
            Self::Send(command) => command.run(context).await,
            Self::Downloads(command) => command.run(context).await,
            Self::Supernodes(command) => command.run(context).await,
            Self::Completions(command) => command.run(context),
        }
    }
}

/// Help and version are answers; the rest is a usage error.
fn refuse(error: &clap::Error, json: bool) -> ExitCode {
    let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if json && !asked_for {
        let text = error.render().to_string();
        let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        Output::new(true).error(&ApiError::usage(message).hint("see `nearmesh help`"));
    } else {
        // Nobody may be reading; then there is nobody to tell.
        let _ = error.print();
    }
    if asked_for { ExitCode::SUCCESS } else { ExitCode::from(Code::Usage.exit_code()) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn accepts(line: &str) -> bool {
        Cli::try_parse_from(line.split_whitespace()).is_ok()
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_that_people_are_told_of_is_understood() {
        let hash = "a7".repeat(32);
        for line in [
            "nearmesh demo",
            "nearmesh --profile A net create lab --user alice --open",
            "nearmesh --profile A up --listen 127.0.0.1:0 --promote always --config FILE",
            "nearmesh --profile A net invite bob",
            "nearmesh --profile B net join TICKET --user bob",
            "nearmesh --profile B share add Music",
            "nearmesh share ls --json",
            "nearmesh share rm Music",
            "nearmesh search julia fractal --limit 20 --min-size 10MiB --max-size 1.5GB --kind audio",
            "nearmesh get 3 --output DIR",
            &format!("nearmesh get {hash} --output DIR"),
            "nearmesh lookup bob@lab",
            "nearmesh ping bob --count 3",
            "nearmesh send FILE bob@lab",
            "nearmesh net revoke bob",
            "nearmesh downloads --json",
            "nearmesh supernodes",
            "nearmesh status",
            "nearmesh completions bash",
        ] {
            assert!(accepts(line), "{line}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_before_a_node_is_asked() {
        for line in [
            "nearmesh get 0",
            "nearmesh get julia",
            "nearmesh search",
            "nearmesh search julia --limit 0",
            "nearmesh search julia --min-size big",
            "nearmesh lookup Bob@lab",
            "nearmesh ping bob --count 0",
            "nearmesh net create Lab --user alice",
            "nearmesh up --promote sometimes",
        ] {
            assert!(!accepts(line), "{line}");
        }
    }
}
