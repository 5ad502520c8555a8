//! Who is in the net: making it, inviting, admitting, revoking.

use std::{path::Path, sync::Arc, time::Duration};

use nearmesh_common::{
    NetName, UserAddress, UserName,
    frame::{MAX_OPEN_FRAME, read_frame, write_frame},
    identity::{LoadKeyError, NodeKey, Ticket, enrol_client_config},
    wire::{NodeAddress, Open, stream::InviteReply},
};
use nearmesh_relay::io::newcomer;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::{
    clock::{now, wall},
    connect::Target,
    connections::CloseCode,
    host_cache,
    node::Node,
    overlay::Command,
};
use crate::{
    authority::{Authority, InviteError, Policy, RevokeError, TICKET_LIFETIME, Welcome},
    control::api::{ApiError, Invitation, Membership, Revocation},
    enrol::{
        self, Applicant, Caller, EnrolError, Joined, Member,
        saved::{self, LoadError},
    },
    profile::Profile,
    proto::Candidate,
};

/// How long the authority may take to make a ticket for a peer.
const INVITE_TIMEOUT: Duration = Duration::from_secs(10);
/// The key of a node that has asked to join and has no certificate yet, in its profile.
const PENDING_KEY: &str = "joining.key";

/// Makes a net and this profile its authority and first member.
///
/// # Errors
/// If the profile is in a net already, or cannot be written. The caller has made the profile and holds its lock.
pub async fn create_net(
    profile: &Profile,
    net: NetName,
    user: UserName,
    open: bool,
) -> Result<Membership, ApiError> {
    let profile = profile.clone();
    blocking(move || {
        refuse_second_net(&profile)?;
        remove_unfinished_authority(&profile)?;
        let key = NodeKey::generate();
        let policy = if open { Policy::Open } else { Policy::Invite };
        let (_, membership) = Authority::create(&profile.authority(), net, policy, user.clone(), key, wall())
            .map_err(|error| ApiError::failed(format!("the net was not made: {error}")))?;
        let authority = NodeAddress { node: membership.node(), addresses: Vec::new() };
        keep(&profile, &Member { membership, authority, authority_user: user })
    })
    .await
}

/// Makes this profile a member of the ticket's net. `user` is for tickets that leave the name open.
///
/// # Errors
/// If the ticket makes no sense, the authority refuses or cannot be reached, or the profile is in a net already.
pub async fn join_net(
    profile: &Profile,
    ticket: &str,
    user: Option<UserName>,
) -> Result<Membership, ApiError> {
    let ticket: Ticket = ticket.trim().parse().map_err(|error| ApiError::usage(format!("{error}")))?;
    let user = name_to_take(&ticket, user)?;
    refuse_second_net(profile)?;
    let pending = profile.directory().join(PENDING_KEY);
    let key = pending_key(&pending)
        .map_err(|error| ApiError::failed(format!("the profile cannot be written: {error}")))?;
    let Joined { member, supernodes } = enrol_at_authority(Applicant { ticket, key, user }).await?;
    let profile = profile.clone();
    blocking(move || {
        let known = supernodes.into_iter().map(Candidate::new).collect();
        if let Err(error) = host_cache::save(&profile.host_cache(), known) {
            warn!(%error, "the supernodes of the net were not written down");
        }
        let kept = keep(&profile, &member)?;
        let _ = std::fs::remove_file(pending);
        Ok(kept)
    })
    .await
}

/// The key to join with. One that a lost answer left behind is used again: the authority then knows the node, and gives
/// the same answer although the ticket is used.
fn pending_key(path: &Path) -> Result<NodeKey, LoadKeyError> {
    if path.exists() {
        return NodeKey::load(path);
    }
    let key = NodeKey::generate();
    key.save(path)?;
    Ok(key)
}

fn name_to_take(ticket: &Ticket, wished: Option<UserName>) -> Result<UserName, ApiError> {
    match (&ticket.user, wished) {
        (Some(invited), Some(wished)) if *invited != wished => {
            Err(ApiError::refused(format!("the ticket is for {invited}, not for {wished}"))
                .hint("leave --user away, or ask for another ticket"))
        }
        (Some(invited), _) => Ok(invited.clone()),
        (None, Some(wished)) => Ok(wished),
        (None, None) => Err(ApiError::usage(format!("the ticket leaves your name in {} open", ticket.net))
            .hint("choose one with --user NAME")),
    }
}

async fn enrol_at_authority(applicant: Applicant) -> Result<Joined, ApiError> {
    let ticket = &applicant.ticket;
    let tls = enrol_client_config(&ticket.trust()).map_err(|error| ApiError::failed(error.to_string()))?;
    let authority = ticket.authority.node;
    let mut failure = "the ticket names no address".to_owned();
    for address in &ticket.authority.addresses {
        match newcomer::dial(authority, *address, Arc::clone(&tls)).await {
            Ok((endpoint, connection)) => {
                let joined = enrol_over(&connection, applicant.clone()).await;
                connection.close(CloseCode::Done.into(), b"done");
                endpoint.wait_idle().await;
                return joined;
            }
            Err(error) => failure = format!("{address}: {error}"),
        }
    }
    Err(ApiError::failed(format!("the authority of {} was not reached: {failure}", ticket.net))
        .hint("its node must be up while somebody joins; the ticket stays good"))
}

async fn enrol_over(connection: &quinn::Connection, applicant: Applicant) -> Result<Joined, ApiError> {
    let broken = |error| ApiError::failed(format!("the connection to the authority broke: {error}"));
    let (mut send, mut receive) = connection.open_bi().await.map_err(broken)?;
    enrol::request(&mut send, &mut receive, applicant, wall()).await.map_err(|error| match error {
        EnrolError::Refused(_) | EnrolError::Expired | EnrolError::OtherName(_) => {
            ApiError::refused(error.to_string())
        }
        _ => ApiError::failed(error.to_string()),
    })
}

impl Node {
    /// Makes a ticket: the authority for anybody, another node for one more node of its own user.
    ///
    /// # Errors
    /// If this node may not invite that user, or the authority cannot be reached.
    pub async fn invite(self: &Arc<Self>, user: Option<UserName>) -> Result<Invitation, ApiError> {
        let ticket = if self.authority.is_some() {
            let for_anybody =
                self.authority.as_ref().is_some_and(|authority| authority.policy() == Policy::Open);
            let user = user.or_else(|| (!for_anybody).then(|| self.address.user.clone()));
            self.make_ticket(user).await?
        } else if user.is_none() || user.as_ref() == Some(&self.address.user) {
            self.ask_for_ticket().await?
        } else {
            return Err(ApiError::refused(format!(
                "only the authority of {} invites others, and that is a node of {}",
                self.address.net, self.authority_user
            ))
            .hint("without a name, `nearmesh net invite` makes a ticket for another node of your own"));
        };
        let user = ticket.user.clone().map(|user| UserAddress { user, net: ticket.net.clone() });
        Ok(Invitation { expires: Some(ticket.expires), ticket: ticket.to_string(), user })
    }

    /// A ticket for one more node of the user who asks, if this node is the authority.
    pub async fn invite_for_peer(self: &Arc<Self>, user: &UserName) -> Option<Box<str>> {
        self.authority.as_ref()?;
        let ticket = self.make_ticket(Some(user.clone())).await;
        ticket
            .inspect_err(|error| debug!(%user, %error, "no ticket for a peer"))
            .ok()
            .map(|ticket| ticket.to_string().into())
    }

    async fn make_ticket(self: &Arc<Self>, user: Option<UserName>) -> Result<Ticket, ApiError> {
        let node = Arc::clone(self);
        blocking(move || {
            let authority =
                node.authority.as_ref().ok_or_else(|| ApiError::refused("this node is not the authority"))?;
            authority.invite(user, TICKET_LIFETIME, &node.addresses(), wall()).map_err(|error| match error {
                InviteError::TooManyNodes(_) => ApiError::refused(error.to_string()),
                InviteError::Books(_) => ApiError::failed(error.to_string()),
            })
        })
        .await
    }

    async fn ask_for_ticket(self: &Arc<Self>) -> Result<Ticket, ApiError> {
        let away = |why: String| {
            ApiError::failed(format!("the authority of {} was not reached: {why}", self.address.net))
                .hint(format!("a node of {} must be up to make tickets", self.authority_user))
        };
        let lease =
            self.connect(&self.find_authority().await).await.map_err(|error| away(error.to_string()))?;
        let asked = timeout(INVITE_TIMEOUT, async {
            let (mut send, mut receive) =
                lease.connection().open_bi().await.map_err(|error| error.to_string())?;
            write_frame(&mut send, &Open::Invite).await.map_err(|error| error.to_string())?;
            read_frame::<InviteReply>(&mut receive, MAX_OPEN_FRAME).await.map_err(|error| error.to_string())
        });
        match asked.await {
            Ok(Ok(InviteReply::Ticket(text))) => text.parse().map_err(|error| away(format!("{error}"))),
            Ok(Ok(InviteReply::NotTheAuthority)) => Err(away("that node is not the authority".to_owned())),
            Ok(Err(error)) => Err(away(error)),
            Err(_) => Err(away("it did not answer".to_owned())),
        }
    }

    /// Where the authority is: as its user's presence says now, or else where it was when this node joined.
    async fn find_authority(&self) -> Target {
        let user = UserAddress { user: self.authority_user.clone(), net: self.address.net.clone() };
        let located = self.locate(&user).await.unwrap_or_default();
        let now = located
            .into_iter()
            .map(|node| node.presence)
            .find(|presence| presence.node == self.authority_address.node);
        let then = self.authority_address.clone();
        match now {
            Some(presence) => {
                let mut target = Target::from(&presence);
                target.addresses.extend(then.addresses);
                target
            }
            None => then.into(),
        }
    }

    /// Expels every node of a user.
    ///
    /// # Errors
    /// If this node is not the authority, or there is no such user.
    pub async fn revoke(self: &Arc<Self>, user: UserName) -> Result<Revocation, ApiError> {
        let node = Arc::clone(self);
        let expelled = user.clone();
        let revocation = blocking(move || {
            let authority = node.authority.as_ref().ok_or_else(|| {
                ApiError::refused(format!("only the authority of {} revokes", node.address.net))
                    .hint(format!("that is a node of {}", node.authority_user))
            })?;
            authority.revoke(&expelled, wall()).map_err(|error| match error {
                RevokeError::Unknown(_) => ApiError::not_found(error.to_string()),
                RevokeError::Authority(_) => ApiError::refused(error.to_string()),
                RevokeError::Issue(_) | RevokeError::Books(_) => ApiError::failed(error.to_string()),
            })
        })
        .await?;
        info!(%user, nodes = revocation.nodes.len(), "revoked");
        let _ = self.commands.send(Command::Crl(revocation.crl)).await;
        Ok(Revocation {
            user: UserAddress { user, net: self.address.net.clone() },
            nodes: revocation.nodes.into_iter().map(Into::into).collect(),
        })
    }

    /// Serves one newcomer.
    pub async fn serve_enrolment(self: Arc<Self>, connection: quinn::Connection) {
        let Ok((mut send, mut receive)) = connection.accept_bi().await else { return };
        let Some(authority) = self.authority.clone() else { return };
        let source = connection.remote_address().ip();
        let caller = Caller { source, now: now() };
        let outcome = enrol::serve(&mut send, &mut receive, authority, caller, self.welcome()).await;
        match outcome {
            // The newcomer closes once it has the answer; the port ends the wait for one that does not.
            Ok(_) => drop(connection.closed().await),
            Err(error) => {
                debug!(%source, %error, "an enrolment came to nothing");
                // Places for newcomers are few: this one is for somebody else.
                connection.close(CloseCode::Misbehaved.into(), b"no request");
            }
        }
    }

    fn welcome(&self) -> Welcome {
        let supernodes = self.overlay.borrow().supernodes.iter().map(|known| known.address.clone()).collect();
        Welcome { addresses: self.addresses(), supernodes }
    }
}

fn refuse_second_net(profile: &Profile) -> Result<(), ApiError> {
    match saved::load(&profile.membership(), wall()) {
        Err(LoadError::Absent(_)) => Ok(()),
        Ok(member) => {
            Err(ApiError::refused(format!("this profile is {} already", member.membership.address()))
                .hint("a profile is in one net; use another with --profile DIR"))
        }
        Err(error) => Err(ApiError::failed(format!("the profile {error}"))),
    }
}

/// A crash between the two steps of founding a net leaves an authority without its founder. It has admitted nobody, since
/// only a member's node serves: it can go.
fn remove_unfinished_authority(profile: &Profile) -> Result<(), ApiError> {
    match std::fs::remove_dir_all(profile.authority()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(ApiError::failed(format!("{}: {error}", profile.authority().display())))
        }
        _ => Ok(()),
    }
}

fn keep(profile: &Profile, member: &Member) -> Result<Membership, ApiError> {
    saved::save(&profile.membership(), member).map_err(|error| ApiError::failed(error.to_string()))?;
    let membership = &member.membership;
    Ok(Membership {
        user: membership.address(),
        net: membership.net().clone(),
        node_id: membership.node().into(),
    })
}

/// Work that waits for the disk, off the threads that serve peers.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(ApiError::failed("the work broke off")))
}
