//! Files given unasked: `send FILE bob@lab`, and what arrives in the inbox.

use std::{path::PathBuf, sync::Arc};

use nearmesh_common::{
    NodeId,
    nat::Reach,
    signed::Signer,
    wire::{
        query::Source,
        stream::{Offer, RangesRequest},
    },
};
use quinn::{Connection, SendStream};
use tokio::sync::watch;
use tracing::{debug, info};

use super::{events::events, node::Node};
use crate::{
    content::ContentStore,
    control::api::{ApiError, Events, SendEvent, SendProgress, SendRequest, Sent},
    transfer::{
        Progress,
        offer::{Inbox, Offers, offer_file, receive_offer},
        serve::serve_ranges,
    },
};

/// What is being given, and where gifts go.
pub struct Gifts {
    offers: Offers,
    inbox: Inbox,
}

impl Gifts {
    /// Gifts arrive in `inbox`.
    pub fn new(inbox: PathBuf) -> Self {
        Self { offers: Offers::default(), inbox: Inbox::new(inbox) }
    }
}

impl Node {
    /// Gives a file to a user.
    ///
    /// # Errors
    /// If the user cannot be reached.
    pub async fn send_to(self: Arc<Self>, request: SendRequest) -> Result<Events<SendEvent>, ApiError> {
        let size = match tokio::fs::metadata(&request.path).await {
            Ok(metadata) if metadata.is_file() => metadata.len(),
            Ok(_) => {
                return Err(ApiError::usage(format!("{} is not a file", request.path.display()))
                    .hint("pack a folder first, or share it with `nearmesh share add`"));
            }
            Err(error) => return Err(ApiError::usage(format!("{}: {error}", request.path.display()))),
        };
        let (to, lease) = self.reach(&request.user).await?;
        let peer = to.presence.node;
        Ok(events(move |sink| async move {
            let progress = watch::Sender::new(Progress::default());
            let mut seen = progress.subscribe();
            let giving = offer_file(lease.connection(), peer, &request.path, &self.gifts.offers, progress);
            tokio::pin!(giving);
            let given = loop {
                tokio::select! {
                    given = &mut giving => break given,
                    Ok(()) = seen.changed() => {
                        let received = seen.borrow_and_update().verified;
                        if sink.put(SendEvent::Progress(SendProgress { size, received })).await.is_err() {
                            return Ok(());
                        }
                    }
                }
            };
            let given = given.map_err(|error| {
                ApiError::failed(format!(
                    "{} was not sent to {}: failed to {error}",
                    request.path.display(),
                    request.user
                ))
            })?;
            let sent = Sent {
                user: request.user,
                node_id: peer.into(),
                name: given.name.into(),
                size: given.size,
                hash: given.hash.into(),
            };
            let _ = sink.put(SendEvent::Done(sent)).await;
            Ok(())
        }))
    }

    /// Takes a gift into the inbox.
    pub async fn receive_offer(
        &self,
        from: Signer,
        connection: &Connection,
        offer: Offer,
        replies: SendStream,
    ) {
        let sender = Source {
            user: from.user.clone(),
            node: from.node,
            addresses: [connection.remote_address()].into(),
            home: from.node,
            reach: Reach::Unknown,
        };
        let size = offer.size;
        match receive_offer(connection, replies, offer, sender, &self.gifts.inbox).await {
            Ok(Some(finished)) => {
                info!(from = %from.user, path = %finished.path.display(), size, "a file came in");
            }
            Ok(None) => debug!(from = %from.user, "an offer was declined"),
            Err(error) => debug!(from = %from.user, %error, "an offered file was not received"),
        }
    }

    /// Serves ranges of what is shared, and of what is being given to this very peer.
    pub async fn serve_ranges(&self, peer: NodeId, request: RangesRequest, send: SendStream) {
        let shares: Arc<dyn ContentStore> = Arc::clone(&self.shares) as _;
        let view = self.gifts.offers.view_of(peer, shares);
        if let Err(error) = serve_ranges(send, request, peer, &view, &self.uploads).await {
            debug!(peer = %peer.short(), %error, "an upload ended early");
        }
    }
}
