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
        let out = context.out;
        // A reader who leaves does not end the demo: it has to clean up.
        let say = |line: &str| {
            if !out.is_json() {
                let _ = out.text(line);
            }
        };
        let report = crate::demo::run(self.keep, &say).await?;
        if out.is_json() { out.object(&report) } else { Ok(()) }
    }
}
