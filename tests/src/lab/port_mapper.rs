//! A real `miniupnpd` on a gateway, which lets hosts ask for ports.

use std::{fs, io, net::SocketAddr, process::Child, process::Stdio};

use tempfile::TempDir;

use super::{gateway::Gateway, nursery, tools};

const PROGRAM: &str = "miniupnpd";
/// The table that it writes its rules into.
const TABLE: &str = "mapper";

/// How hosts may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// By UPnP IGD.
    ByUpnp,
    /// By NAT-PMP and PCP.
    ByRequest,
}

/// It runs until this is dropped. The gateway must not change its own address or mappings meanwhile: that takes all rules away.
#[derive(Debug)]
pub struct PortMapper {
    gateway: Gateway,
    process: Child,
    directory: TempDir,
}

/// Whether the program is there; otherwise says that the test is skipped.
pub fn port_mapper_or_skip() -> bool {
    let found = tools::find(PROGRAM).is_some();
    if !found {
        eprintln!("skipped: {PROGRAM} is not installed");
    }
    found
}

impl PortMapper {
    /// Starts it on a gateway.
    pub fn start(gateway: &Gateway, asked: Asked) -> Self {
        tools::nft(gateway.namespace(), &tables()).expect("a table for the port mapper");
        let directory = TempDir::new().expect("a temporary directory");
        let file = |name| directory.path().join(name);
        fs::write(file("conf"), configuration(asked)).expect("a configuration is written");
        let log = fs::File::create(file("log")).expect("a log is made");
        let program = tools::find(PROGRAM).expect("miniupnpd is installed");
        let mut command = std::process::Command::new(program);
        command.arg("-d").arg("-f").arg(file("conf")).arg("-P").arg(file("pid"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        gateway.namespace().enter(&mut command);
        let process = nursery::spawn(command).expect("miniupnpd starts");
        Self { gateway: gateway.clone(), process, directory }
    }

    /// To where it sends what comes to which port outside, for UDP.
    pub fn mappings(&self) -> Vec<(u16, SocketAddr)> {
        let arguments = ["list", "chain", "inet", TABLE, "prerouting"];
        let rules = tools::ask(self.gateway.namespace(), "nft", &arguments).expect("rules are listed");
        let mapping = |rule: &str| {
            let word_after = |word: &str| rule.split_once(word)?.1.split_whitespace().next();
            Some((word_after("dport ")?.parse().ok()?, word_after("dnat ip to ")?.parse().ok()?))
        };
        rules.lines().filter_map(mapping).collect()
    }

    /// What it said, for a failure message.
    pub fn log(&self) -> io::Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(self.directory.path().join("log"))?).into_owned())
    }
}

impl Drop for PortMapper {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn tables() -> String {
    format!(
        "table inet {TABLE} {{\n\
         chain forward {{\ntype filter hook forward priority -10;\n}}\n\
         chain prerouting {{\ntype nat hook prerouting priority -101;\n}}\n\
         chain postrouting {{\ntype nat hook postrouting priority 99;\n}}\n}}\n"
    )
}

fn configuration(asked: Asked) -> String {
    let [upnp, request] =
        [Asked::ByUpnp, Asked::ByRequest].map(|way| if way == asked { "yes" } else { "no" });
    format!(
        "ext_ifname=wan\nlistening_ip=lan\nport=0\nenable_upnp={upnp}\nenable_natpmp={request}\nsecure_mode=no\n\
         upnp_table_name={TABLE}\nupnp_nat_table_name={TABLE}\nupnp_forward_chain=forward\n\
         upnp_nat_chain=prerouting\nupnp_nat_postrouting_chain=postrouting\n\
         uuid=11111111-2222-3333-4444-555555555555\n\
         allow 1024-65535 192.168.1.0/24 1024-65535\ndeny 0-65535 0.0.0.0/0 0-65535\n"
    )
}
