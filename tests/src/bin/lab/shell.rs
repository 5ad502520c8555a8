//! `lab shell`.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use clap::Args;
use tests::lab::{Gateway, Nat, NatKind, Path, Resident, Town};

use crate::program;

const NAMES: [&str; 10] =
    ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy"];
const HELP: &str = "\
HOST nearmesh ARGUMENTS...      the node's command line: bob nearmesh status
HOST COMMAND...                 any command on that machine: bob ip route (words end at spaces; no quotes)
node HOST kill|stop|up          its process
nat HOST flush|rebind|address   forget all mappings; with other ports; with another address
link HOST down|up               its cable
address HOST                    another address in its LAN
move HOST OTHER                 into the LAN of the other
delay A B MS                    round trip between two sites
jitter A B MS                   most that a packet is late beyond that
loss A B PERCENT                each way
rate A B MBIT|none              bits per second, each way
cut A B, mend A B               lets nothing through; or all again
carried A B                     packets that went from A's site to B's, so far
hosts                           who is where
help, quit";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Shell {
    /// The NATs behind which alice, bob, and so on live
    #[arg(long, value_delimiter = ',', default_values_t = [Nat::from(NatKind::PortRestricted), NatKind::Symmetric.into()])]
    kinds: Vec<Nat>,
}

impl Shell {
    pub(super) fn run(self) -> Result<ExitCode, String> {
        if self.kinds.len() > NAMES.len() {
            return Err(format!("at most {} people", NAMES.len()));
        }
        let (mut town, _directory) = program::found().map_err(|error| error.to_string())?;
        town.settle(NAMES.iter().zip(&self.kinds).map(|(name, nat)| ((*name).to_owned(), *nat)));
        hosts(&town);
        println!("help, or quit");
        let prompt = io::stdin().is_terminal();
        loop {
            if prompt {
                print!("lab> ");
                let _ = io::stdout().flush();
            }
            let mut line = String::new();
            if io::stdin().lock().read_line(&mut line).map_err(|error| error.to_string())? == 0 {
                return Ok(ExitCode::SUCCESS);
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                [] => {}
                ["quit" | "exit"] => return Ok(ExitCode::SUCCESS),
                ["help"] => println!("{HELP}"),
                words => {
                    if let Err(error) = obey(&mut town, words) {
                        println!("error: {error}");
                    }
                }
            }
        }
    }
}

fn obey(town: &mut Town, words: &[&str]) -> Result<(), String> {
    match words {
        ["hosts"] => hosts(town),
        ["node", name, what] => node(town, name, what)?,
        ["nat", name, what] => nat(&find(town, name)?.host.gateway(), what)?,
        ["link", name, "down"] => find(town, name)?.host.link_down(),
        ["link", name, "up"] => find(town, name)?.host.link_up(),
        ["address", name] => find(town, name)?.host.change_address(),
        ["move", name, other] => find(town, name)?.host.move_to(&find(town, other)?.host.gateway()),
        ["delay" | "jitter" | "loss" | "rate", a, b, value] => {
            let change = change(words[0], value)?;
            town.internet.change(&site(town, a)?, &site(town, b)?, change);
        }
        ["cut", a, b] => town.internet.cut(&site(town, a)?, &site(town, b)?),
        ["mend", a, b] => town.internet.mend(&site(town, a)?, &site(town, b)?),
        ["carried", a, b] => println!("{:?}", town.internet.carried(&site(town, a)?, &site(town, b)?)),
        [name, "nearmesh", arguments @ ..] => wait_for(find(town, name)?.node.command(arguments))?,
        [name, program, arguments @ ..] => {
            let mut command = find(town, name)?.host.command(program);
            command.args(arguments);
            wait_for(command)?;
        }
        _ => return Err("what? (help)".to_owned()),
    }
    Ok(())
}

fn hosts(town: &Town) {
    for resident in town.everybody() {
        let outside = resident.outside.as_ref().map(|reason| format!("; not in the net: {reason}"));
        println!("{}{}", resident.host, outside.unwrap_or_default());
    }
}

fn node(town: &mut Town, name: &str, what: &str) -> Result<(), String> {
    let role = if town.supernodes.iter().any(|node| node.name == name) { "always" } else { "never" };
    let mut everybody = town.supernodes.iter_mut().chain(&mut town.people);
    let resident = everybody.find(|resident| resident.name == name).ok_or_else(|| nobody(name))?;
    match (what, resident.node.is_up()) {
        ("kill", true) => resident.node.kill(),
        ("stop", true) => println!("exit code {}", resident.node.stop()),
        ("up", false) => resident.node.up(&["--promote", role]),
        ("kill" | "stop" | "up", _) => return Err("it is so already".to_owned()),
        _ => return Err("kill, stop or up".to_owned()),
    }
    Ok(())
}

/// Of a home and its carrier.
fn nat(gateway: &Gateway, what: &str) -> Result<(), String> {
    if gateway.nat().kind.is_public() {
        return Err(format!("{} has no NAT", gateway.name()));
    }
    match what {
        "flush" => {
            gateway.flush();
            gateway.behind().map(Gateway::flush);
        }
        "rebind" => gateway.rebind(),
        "address" => gateway.behind().unwrap_or(gateway).change_address(),
        _ => return Err("flush, rebind or address".to_owned()),
    }
    Ok(())
}

type Change = Box<dyn FnOnce(&mut Path)>;

fn change(what: &str, value: &str) -> Result<Change, String> {
    if (what, value) == ("rate", "none") {
        return Ok(Box::new(|path| path.rate = None));
    }
    let value: f64 = value.parse().map_err(|_| format!("{value:?} is no number"))?;
    let time = Duration::try_from_secs_f64(value / 1000.0).map_err(|error| error.to_string())?;
    Ok(match what {
        "delay" => Box::new(move |path| path.rtt = time),
        "jitter" => Box::new(move |path| path.jitter = time),
        "loss" => Box::new(move |path| path.loss = value / 100.0),
        _ => Box::new(move |path| path.rate = Some((value * 1e6) as u64)),
    })
}

fn wait_for(mut command: Command) -> Result<(), String> {
    // What is piped into the shell is the shell's.
    if !io::stdin().is_terminal() {
        command.stdin(Stdio::null());
    }
    let status = command.status().map_err(|error| error.to_string())?;
    if status.success() { Ok(()) } else { Err(status.to_string()) }
}

fn find<'a>(town: &'a Town, name: &str) -> Result<&'a Resident, String> {
    town.find(name).ok_or_else(|| nobody(name))
}

/// Where somebody is now.
fn site(town: &Town, name: &str) -> Result<Gateway, String> {
    Ok(find(town, name)?.host.gateway())
}

fn nobody(name: &str) -> String {
    format!("there is no {name:?} here (hosts, help)")
}
