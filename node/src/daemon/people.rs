//! Finding a person and reaching their nodes.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures_util::future::join_all;
use nearmesh_common::{UserAddress, presence::Presence};
use nearmesh_relay::io::probe::PROBE_ROUNDS;

use super::{clock::wall, connections::Lease, node::Node};
use crate::{
    control::api::{ApiError, Lookup, UserNode},
    proto::{Event, Question},
};

/// A node of a user, as its verified presence says.
pub struct Located {
    /// What the node itself said last.
    pub presence: Presence,
    /// Whether it is there now, as far as the net knows.
    pub online: bool,
}

impl Node {
    /// The nodes of a user, those that are online first, the most recent first.
    ///
    /// # Errors
    /// If the net does not answer, or knows nobody of that name.
    pub async fn locate(&self, user: &UserAddress) -> Result<Vec<Located>, ApiError> {
        if user.net != self.address.net {
            let error = ApiError::not_found(format!(
                "{user} is in another net: this node is in {}",
                self.address.net
            ));
            return Err(error.hint(format!("a node joined to {} can look there", user.net)));
        }
        let mut asked = self.asker.ask(Question::Lookup(user.user.clone())).await?;
        let mut nodes = Vec::new();
        while let Some(event) = asked.next().await? {
            if let Event::Found { nodes: found, .. } = event {
                nodes = found;
                break;
            }
        }
        let now = wall();
        let mut located: Vec<Located> = nodes
            .into_iter()
            .filter_map(|entry| {
                let verified = self.verify_presence(entry.presence, &user.user)?;
                let online = entry.online && verified.online && verified.expires > now;
                Some(Located { presence: verified, online })
            })
            .collect();
        if located.is_empty() {
            return Err(ApiError::not_found(format!("nobody called {user} was seen in the last 72 hours"))
                .hint("names are exact; a user is known from the first time their node is up"));
        }
        located.sort_by_key(|node| std::cmp::Reverse((node.online, node.presence.sequence)));
        Ok(located)
    }

    /// Who and where.
    ///
    /// # Errors
    /// As [`Node::locate`].
    pub async fn look_up(&self, user: UserAddress) -> Result<Lookup, ApiError> {
        let located = self.locate(&user).await?;
        let nodes = join_all(located.into_iter().map(|node| async move {
            let rtt = match node.online {
                true if node.presence.node == self.id => Some(Duration::ZERO),
                true => self.rtt_to(&node.presence).await,
                false => None,
            };
            UserNode {
                node_id: node.presence.node.into(),
                home: node.presence.home.into(),
                seen: node.presence.sequence,
                way: self.path_to(node.presence.node).map(|path| path.way),
                since: node.presence.since,
                online: node.online,
                rtt_ms: rtt.map(millis),
                addresses: node.presence.addresses,
            }
        }))
        .await;
        Ok(Lookup { online: nodes.iter().any(|node| node.online), user, nodes })
    }

    /// Connects to a user's node that is online, trying one after the other.
    ///
    /// # Errors
    /// If none is online or none can be reached.
    pub async fn reach(self: &Arc<Self>, user: &UserAddress) -> Result<(Located, Lease), ApiError> {
        let mut failure = None;
        for node in self.locate(user).await? {
            if !node.online {
                continue;
            }
            if node.presence.node == self.id {
                failure.get_or_insert(format!("{user} is this very node"));
                continue;
            }
            match self.connect(&(&node.presence).into()).await {
                Ok(lease) => return Ok((node, lease)),
                Err(error) => failure = Some(error.to_string()),
            }
        }
        let error = failure.map_or_else(
            || ApiError::failed(format!("{user} is not online")),
            |why| ApiError::failed(format!("{user} was not reached: {why}")),
        );
        Err(error.hint(format!("`nearmesh lookup {user}` shows what the net knows")))
    }

    /// The round trip to a node: of the path in use, or by STUN.
    async fn rtt_to(&self, presence: &Presence) -> Option<Duration> {
        match self.path_to(presence.node).and_then(|path| path.rtt_ms) {
            Some(ms) => Duration::try_from_secs_f64(ms / 1000.0).ok(),
            None => self.nearest(&presence.addresses, PROBE_ROUNDS).await.map(|(_, rtt)| rtt),
        }
    }

    /// The address with the smallest round trip, by STUN from beside the port, each asked for so many answers: who is only measured must
    /// remain a stranger to this node's NAT, or nobody is left who can tell whether strangers are let in.
    pub async fn nearest(&self, addresses: &[SocketAddr], rounds: u32) -> Option<(SocketAddr, Duration)> {
        let probes = addresses.iter().map(|address| async move {
            let probe = self.endpoint.probe_aside(*address, rounds).await?;
            Some((*address, probe.rtt))
        });
        join_all(probes).await.into_iter().flatten().min_by_key(|(_, rtt)| *rtt)
    }
}

/// Milliseconds, as the control API gives round trips.
pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
