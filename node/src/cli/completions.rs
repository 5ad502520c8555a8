//! `nearmesh completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Context, Quit};

/// Print the completion script for a shell.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: nearmesh completions bash > ~/.local/share/bash-completion/completions/nearmesh"
)]
pub(super) struct Completions {
    /// For which shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self, context: &Context) -> Result<(), Quit> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "nearmesh", &mut script);
        context.out.text(&String::from_utf8_lossy(&script))
    }
}
