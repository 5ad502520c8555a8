//! `nearmesh supernodes`.

use clap::Args;

use super::{Context, Quit, table::table, units::rtt};
use crate::control::api::Supernode;

/// The supernodes that the node knows.
#[derive(Debug, Args)]
#[command(after_help = "Example: nearmesh supernodes")]
pub(super) struct Supernodes {}

impl Supernodes {
    pub(super) async fn run(self, context: &Context) -> Result<(), Quit> {
        let supernodes = context.client().supernodes().await?;
        context.out.answer(&supernodes, |supernodes| {
            if supernodes.is_empty() {
                return "no supernode is known: is another node of the net up?".to_owned();
            }
            let headings = ["Node", "Home", "RTT", "Children", "Room for", "Addresses"];
            table(headings, supernodes.iter().map(row).collect(), context.out.width())
        })
    }
}

fn row(supernode: &Supernode) -> [String; 6] {
    let addresses: Vec<String> = supernode.addresses.iter().map(ToString::to_string).collect();
    let number = |number: Option<u32>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
    [
        supernode.node_id.0.short(),
        if supernode.home { "yes" } else { "" }.to_owned(),
        rtt(supernode.rtt_ms),
        number(supernode.children),
        number(supernode.capacity),
        addresses.join(", "),
    ]
}
