//! `nearmesh lookup`.

use clap::Args;

use super::{
    Context, Quit,
    person::Person,
    units::{ago, rtt},
};
use crate::control::api::{Lookup, UserNode};

/// Where a person is.
#[derive(Debug, Args)]
#[command(after_help = "Example: nearmesh lookup bob@lab")]
pub(super) struct LookupCommand {
    /// Who: bob@lab, or bob for somebody of this node's own net
    user: Person,
}

impl LookupCommand {
    pub(super) async fn run(self, context: &Context) -> Result<(), Quit> {
        let client = context.client();
        let user = self.user.address(&client).await?;
        let lookup = client.lookup(&user).await?;
        context.out.answer(&lookup, text)
    }
}

fn text(lookup: &Lookup) -> String {
    let mut text = format!("{} is {}\n", lookup.user, if lookup.online { "online" } else { "offline" });
    for node in &lookup.nodes {
        text.push_str(&node_text(node));
    }
    text
}

fn node_text(node: &UserNode) -> String {
    let addresses: Vec<String> = node.addresses.iter().map(ToString::to_string).collect();
    format!(
        "\n  node       {}\n  addresses  {}\n  home       {}\n  {}  {}\n  seen       {}\n  rtt        {}\n{}",
        node.node_id,
        addresses.join(", "),
        node.home,
        if node.online { "up since " } else { "was up   " },
        ago(node.since),
        ago(node.seen),
        rtt(node.rtt_ms),
        node.way.as_ref().map_or_else(String::new, |way| format!("  path       {way}\n")),
    )
}
