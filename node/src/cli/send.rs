//! `nearmesh send`.

use std::path::PathBuf;

use clap::Args;

use super::{
    Context, Quit, harmless::harmless, person::Person, progress::Progress, share::existing, units::size,
};
use crate::control::api::{ApiError, SendEvent, SendRequest, Sent};

/// Give a file to a person.
#[derive(Debug, Args)]
#[command(after_help = "Example: nearmesh send holiday.zip bob@lab\n\n\
                        It arrives in the inbox folder of a node of theirs that is online, under a safe name.")]
pub(super) struct Send {
    /// The file
    file: PathBuf,
    /// For whom: bob@lab, or bob for somebody of this node's own net
    user: Person,
}

impl Send {
    pub(super) async fn run(self, context: &Context) -> Result<(), Quit> {
        let path = existing(&self.file)?;
        if !path.is_file() {
            return Err(ApiError::usage(format!("{:?} is not a file", self.file))
                .hint("pack a folder first")
                .into());
        }
        let client = context.client();
        let user = self.user.address(&client).await?;
        let what = format!("to {user}");
        let mut events = client.send_file(&SendRequest { path, user }).await?;
        let mut progress = Progress::new(context.out);
        let sent = loop {
            match events.next().await {
                Ok(SendEvent::Progress(so_far)) => {
                    progress.update(so_far.received, Some(so_far.size), &what, None)
                }
                Ok(SendEvent::Done(sent)) => break Ok(sent),
                Err(error) => break Err(error),
            }
        };
        progress.finish();
        context.out.answer(&sent?, text)
    }
}

fn text(sent: &Sent) -> String {
    format!(
        "{} of {} are in {}'s inbox as {}",
        size(sent.size),
        sent.hash.0.short(),
        sent.user,
        harmless(&sent.name)
    )
}
