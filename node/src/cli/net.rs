//! `nearmesh net`: the net itself.

use clap::{Args, Subcommand};
use nearmesh_common::{NetName, UserName};

use super::{Context, Quit, person::Person};
use crate::{
    control::api::{ApiError, Membership},
    daemon,
};

/// Make a net, invite to it, join it, or revoke a member.
#[derive(Debug, Args)]
pub(super) struct Net {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Create(Create),
    Invite(Invite),
    Join(Join),
    Revoke(Revoke),
}

/// Make a net: this machine becomes its authority
#[derive(Debug, Args)]
#[command(after_help = "Example: nearmesh net create lab --user alice\n\n\
                        The authority is needed for new members to join, never for the net to work.")]
struct Create {
    /// Its name: lab, as in alice@lab
    net: NetName,
    /// Your name in it [default: the name of your account]
    #[arg(long, value_name = "NAME")]
    user: Option<UserName>,
    /// Let everybody in who has a ticket that anybody may pass on; names are first come, first served
    #[arg(long)]
    open: bool,
}

/// Print a ticket, by which one node can join
#[derive(Debug, Args)]
#[command(
    after_help = "Example: nearmesh net invite bob\n\nHand the ticket to bob by a way that only bob reads."
)]
struct Invite {
    /// The new member [default: anybody in an open net, otherwise another node of your own]
    user: Option<Person>,
}

/// Join a net with a ticket
#[derive(Debug, Args)]
#[command(
    after_help = "Example: nearmesh net join TICKET\n\nThe authority's node must be running. Then: nearmesh up"
)]
struct Join {
    /// What `nearmesh net invite` printed
    ticket: String,
    /// Your name, if the ticket leaves it open
    #[arg(long, value_name = "NAME")]
    user: Option<UserName>,
}

/// Revoke a member, with all nodes: only the authority can
#[derive(Debug, Args)]
#[command(
    after_help = "Example: nearmesh net revoke bob\n\nWorks on the machine that made the net, while its node is running."
)]
struct Revoke {
    /// Who
    user: Person,
}

impl Net {
    pub(super) async fn run(self, context: &Context) -> Result<(), Quit> {
        match self.command {
            Command::Create(command) => command.run(context).await,
            Command::Invite(command) => command.run(context).await,
            Command::Join(command) => command.run(context).await,
            Command::Revoke(command) => command.run(context).await,
        }
    }
}

impl Create {
    async fn run(self, context: &Context) -> Result<(), Quit> {
        let user = self.user.map_or_else(account_name, Ok)?;
        context.profile.create()?;
        let _lock = context.profile.lock()?;
        let membership = daemon::create_net(&context.profile, self.net, user, self.open).await?;
        context.out.answer(&membership, |membership| {
            format!("{}\nThis machine is the authority of {}.", welcome(membership), membership.net)
        })
    }
}

impl Invite {
    async fn run(self, context: &Context) -> Result<(), Quit> {
        let client = context.client();
        let user = match self.user {
            Some(person) => Some(person.of_this_net(&client).await?),
            None => None,
        };
        let invitation = client.invite(user).await?;
        context.out.answer(&invitation, |invitation| invitation.ticket.clone())?;
        let limit = invitation
            .expires
            .map_or_else(String::new, |expires| format!(", good for {}", super::units::until(expires)));
        let who = invitation.user.map_or_else(|| "whoever has it".to_owned(), |user| user.to_string());
        context.out.note(&format!("a ticket for {who}{limit}: nearmesh net join TICKET"));
        Ok(())
    }
}

impl Join {
    async fn run(self, context: &Context) -> Result<(), Quit> {
        context.profile.create()?;
        let _lock = context.profile.lock()?;
        let membership = daemon::join_net(&context.profile, &self.ticket, self.user).await?;
        context.out.answer(&membership, welcome)
    }
}

impl Revoke {
    async fn run(self, context: &Context) -> Result<(), Quit> {
        let client = context.client();
        let user = self.user.of_this_net(&client).await?;
        let revocation = client.revoke(user).await?;
        context.out.answer(&revocation, |revocation| {
            let nodes: Vec<String> = revocation.nodes.iter().map(|node| format!("\n  node {node}")).collect();
            format!("{} is no longer a member{}", revocation.user, nodes.concat())
        })
    }
}

fn welcome(membership: &Membership) -> String {
    format!("You are {}, on node {}. Next: nearmesh up", membership.user, membership.node_id)
}

fn account_name() -> Result<UserName, ApiError> {
    let account = std::env::var("USER").unwrap_or_default();
    account.to_lowercase().parse().map_err(|error| {
        ApiError::usage(format!("your account's name {account:?} cannot be your name in the net: {error}"))
            .hint("say which you want: --user NAME")
    })
}
