//! `nearmesh ping`.

use std::time::Duration;

use clap::Args;

use super::{
    Context, Quit,
    person::Person,
    units::{duration, rtt},
};
use crate::control::{
    api::{ApiError, PathChange, PingEvent, PingReply, PingRequest},
    server::MAX_PINGS,
};

/// Measure the way to a person's nodes.
#[derive(Debug, Args)]
#[command(after_help = "Example: nearmesh ping bob@lab --count 3")]
pub(super) struct Ping {
    /// Who: bob@lab, or bob for somebody of this node's own net
    user: Person,
    /// How often
    #[arg(long, short, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_PINGS)))]
    count: u32,
}

impl Ping {
    pub(super) async fn run(self, context: &Context) -> Result<(), Quit> {
        let client = context.client();
        let user = self.user.address(&client).await?;
        let mut events = client.ping(&PingRequest { user: user.clone(), count: self.count }).await?;
        loop {
            match events.next().await? {
                PingEvent::Reply(reply) => {
                    context.out.answer(&reply, |reply| text(&user.to_string(), reply))?
                }
                PingEvent::Path(change) => context.out.answer(&change, changed)?,
                PingEvent::Done(summary) if summary.received > 0 => {
                    context.out.note(&format!("{} of {} came back", summary.received, summary.sent));
                    return Ok(());
                }
                PingEvent::Done(summary) => {
                    let message = format!("none of {} pings to {user} came back", summary.sent);
                    let hint = format!("see whether they are online: nearmesh lookup {user}");
                    return Err(ApiError::failed(message).hint(hint).into());
                }
            }
        }
    }
}

fn text(user: &str, reply: &PingReply) -> String {
    let at = reply.address.map_or_else(String::new, |address| format!(" at {address}"));
    format!("{user} on {}, {}{at}: {}", reply.node_id.0.short(), reply.way, rtt(Some(reply.rtt_ms)))
}

/// `path changed after 1.4 s: direct, 12 ms`.
fn changed(change: &PathChange) -> String {
    let after = duration(Duration::try_from_secs_f64(change.at_ms / 1000.0).unwrap_or_default());
    match (&change.way, change.rtt_ms) {
        (Some(way), Some(ms)) => format!("path changed after {after}: {way}, {}", rtt(Some(ms))),
        (Some(way), None) => format!("path changed after {after}: {way}"),
        (None, _) => format!("path changed after {after}: none; looking for another one"),
    }
}
