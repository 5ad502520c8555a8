//! `nearmesh down`.

use clap::Args;

use super::{Context, Quit};

/// End this profile's running node.
#[derive(Debug, Args)]
#[command(after_help = "Example: nearmesh --profile A down")]
pub(super) struct Down {}

impl Down {
    pub(super) async fn run(self, context: &Context) -> Result<(), Quit> {
        context.client().stop().await?;
        context.out.note("the node is ending");
        Ok(())
    }
}
