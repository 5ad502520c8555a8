//! `nearmesh demo`.

use clap::Args;

use super::{Context, Quit};

/// See it at work: nine nodes on this machine, in a minute.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: nearmesh demo --keep\n\nIt works in a temporary directory and on loopback only, \
                        and leaves nothing behind. It copies a few hundred documents that it finds on this machine."
)]
pub(super) struct Demo {
    /// Leave the directory with all profiles and logs
    #[arg(long)]
    keep: bool,
}

impl Demo {
    pub(super) async fn run(self, context: &Context) -> Result<(), Quit> {
        crate::demo::run(self.keep, &|line| context.out.text(line).is_ok()).await.map_err(Quit::from)
    }
}
