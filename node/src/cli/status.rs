//! `nearmesh status`.

use std::time::Duration;

use clap::Args;

use super::{
    Context, Quit,
    harmless::harmless,
    units::{duration, files, rtt, size},
};
use crate::control::api::{
    Attachment, Bootstrap, BootstrapWay, PortMapping, Reach, Reachability, Relaying, Role, Status,
};

/// How the node is: its home, its role, what it shares, what is wrong.
#[derive(Debug, Args)]
#[command(after_help = "Example: nearmesh status --json")]
pub(super) struct StatusCommand {}

impl StatusCommand {
    pub(super) async fn run(self, context: &Context) -> Result<(), Quit> {
        let status = context.client().status().await?;
        context.out.answer(&status, text)
    }
}

fn text(status: &Status) -> String {
    let role = match status.role {
        Role::Ordinary => status.role.as_str().to_owned(),
        Role::Supernode => format!("{} with {} children", status.role.as_str(), status.children),
    };
    let mut text = format!(
        "{user} is up, as {role}\n\n  \
         role        {reason}\n  \
         node        {node}\n  \
         listens on  {listen}\n  \
         home        {home}\n  \
         standby     {standby}\n  \
         supernodes  {supernodes} known\n  \
         found by    {ways}\n  \
         {reachability}\
         shared      {files}, {bytes}\n  \
         {relays}\
         up for      {uptime}\n  \
         version     {version}\n",
        user = status.user,
        reason = harmless(&status.role_reason),
        node = status.node_id,
        listen = status.listen,
        home = attachment(status.home.as_ref(), status),
        standby = attachment(status.standby.as_ref(), status),
        supernodes = status.supernodes,
        ways = status.bootstrap.iter().map(way).collect::<Vec<_>>().join("; "),
        reachability = reachability(&status.reachability),
        files = files(status.shared.files),
        bytes = size(status.shared.bytes),
        relays = relays(&status.relaying),
        uptime = duration(Duration::from_millis(status.uptime_ms)),
        version = status.version,
    );
    if !status.paths.is_empty() {
        text.push_str("\n  paths\n");
    }
    for path in &status.paths {
        let node = path.node_id.0.short();
        text.push_str(&format!("    {} on {node}: {}, {}\n", path.user, path.way, rtt(path.rtt_ms)));
    }
    for problem in &status.problems {
        text.push_str(&format!("\n  ! {}", harmless(problem)));
    }
    text
}

/// The verdict, what is known of the NAT if there is one, and what the router does for the node, if anything.
fn reachability(known: &Reachability) -> String {
    let mut lines = format!("reach       {}\n  ", harmless(&known.verdict));
    if known.reach != Reach::Unknown && known.mapping.as_deref().is_some_and(|mapping| mapping != "none") {
        lines.push_str(&format!("NAT         {}\n  ", facts(known)));
    }
    if let PortMapping::Mapped { protocol, address, public } = &known.port_mapping {
        let but = if *public { "" } else { ", where the internet does not see it: another NAT is before it" };
        let protocol = harmless(protocol);
        lines.push_str(&format!("router      lets everybody in at {address} ({protocol}){but}\n  "));
    }
    lines
}

fn facts(known: &Reachability) -> String {
    let told = |fact: &Option<String>| {
        fact.as_deref().map_or("unknown".to_owned(), |fact| harmless(fact).to_string())
    };
    let mut facts = format!("{} mapping, {} filtering", told(&known.mapping), told(&known.filtering));
    if let Some(step) = known.port_step {
        facts.push_str(&format!(", ports {step} apart"));
    }
    if known.hairpinning == Some(true) {
        facts.push_str(", hairpinning");
    }
    if let Some(lifetime) = known.mapping_lifetime_ms {
        facts.push_str(&format!(", remembers for {} at least", duration(Duration::from_millis(lifetime))));
    }
    facts
}

/// A way to find supernodes, and how it did.
fn way(way: &Bootstrap) -> String {
    let place = harmless(way.place.as_deref().unwrap_or_default()).to_string();
    let name = match way.way {
        BootstrapWay::Remembered => "what was remembered".to_owned(),
        BootstrapWay::List => format!("the list {place}"),
        BootstrapWay::Name => format!("the name {place}"),
        BootstrapWay::Local => "the local network".to_owned(),
    };
    let found = way.found.map_or("not asked".to_owned(), |found| found.to_string());
    let problem = way.problem.as_deref().map(|problem| format!(" ({})", harmless(problem)));
    format!("{name}: {found}{}", problem.unwrap_or_default())
}

/// A line, if there is anything to say.
fn relays(relaying: &Relaying) -> String {
    match relaying {
        Relaying { sessions: 0, bytes: 0, .. } => String::new(),
        Relaying { sessions, bytes, .. } => {
            let pairs = if *sessions == 1 { "pair" } else { "pairs" };
            format!("relays      for {sessions} {pairs} of nodes, {} so far\n  ", size(*bytes))
        }
    }
}

fn attachment(attachment: Option<&Attachment>, status: &Status) -> String {
    match attachment {
        None => "none".to_owned(),
        Some(own) if own.node_id == status.node_id => "itself".to_owned(),
        Some(Attachment { node_id, address: Some(address), rtt_ms }) => {
            format!("{} at {address}, {}", node_id.0.short(), rtt(*rtt_ms))
        }
        Some(other) => other.node_id.0.short(),
    }
}
