//! The running node: what its parts share, and small things that several of them do with it.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use nearmesh_common::{
    NodeId, UserAddress, UserName,
    identity::MemberKeyring,
    presence::Presence,
    signed::{Keyring, Signed},
    wire::{NodeAddress, signal::RelayOffer},
};
use nearmesh_relay::{io::endpoint::Endpoint, proto::nat};
use tokio::sync::{broadcast, mpsc, watch};
use tracing::{debug, warn};

use super::{
    accept::Incoming,
    asking::Asker,
    bandwidth::Desk,
    bootstrap::Report,
    clock::wall,
    connections::{CloseCode, Connections},
    downloads::Downloads,
    gifts::Gifts,
    links::Links,
    overlay::{Command, Overlay},
    port_mapping::PortMapping,
    search::LastResults,
    sessions::Sessions,
    signals::Signals,
    whereabouts::Whereabouts,
};
use crate::{
    authority::Authority,
    config::Settings,
    enrol::saved,
    profile::Profile,
    proto::Reached,
    shares::{ShareEvent, Shares},
    transfer::UploadSlots,
};

/// Everything a running node has.
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Its user and net.
    pub address: UserAddress,
    /// The UDP address it is bound to.
    pub listen: SocketAddr,
    /// When it started.
    pub started: Instant,
    /// Where it keeps things.
    pub profile: Profile,
    /// How it was told to run.
    pub settings: Settings,
    /// Signs and verifies.
    pub keyring: Arc<MemberKeyring>,
    /// The one UDP port.
    pub endpoint: Endpoint,
    /// Connections to members, whoever opened them.
    pub connections: Connections,
    /// What is said to and by other nodes through the homes.
    pub signals: Signals,
    /// Paths to peers that cannot be dialled.
    pub sessions: Sessions,
    /// How many connections peers have open.
    pub incoming: Incoming,
    /// The overlay's links.
    pub links: Arc<Links>,
    /// Questions to the overlay.
    pub asker: Asker,
    /// Other commands to the overlay.
    pub commands: mpsc::Sender<Command>,
    /// What a user may see of the overlay.
    pub overlay: watch::Receiver<Overlay>,
    /// Relays near to this node, nearest first.
    pub relays: watch::Sender<Vec<RelayOffer>>,
    /// How scans of shared folders go.
    pub share_events: broadcast::Sender<ShareEvent>,
    /// Shared files.
    pub shares: Arc<Shares>,
    /// Uploads under way.
    pub uploads: UploadSlots,
    /// Downloads.
    pub downloads: Downloads,
    /// Files given and received unasked.
    pub gifts: Gifts,
    /// Results of the search that began last.
    pub last_results: LastResults,
    /// The net's authority, if this node is it.
    pub authority: Option<Arc<Authority>>,
    /// Who admits to the net, and where they were last.
    pub authority_address: NodeAddress,
    /// Their user.
    pub authority_user: UserName,
    /// Where this node is, as far as it knows; published by one task, read with [`Node::whereabouts`].
    pub whereabouts: watch::Sender<Whereabouts>,
    /// What others have to say to the task that finds that out. Nobody waits for room.
    pub discovery: mpsc::Sender<nat::Input>,
    /// What the router gave on request.
    pub port_mapping: watch::Sender<PortMapping>,
    /// Others who measure how fast bytes come here.
    pub measuring: Desk,
    /// How the ways back into the net did.
    pub bootstrap: watch::Sender<Vec<Report>>,
    /// How many supernodes it remembered when it started.
    pub remembered: usize,
    /// Told when the node should end.
    pub stop: watch::Sender<bool>,
}

impl Node {
    /// A presence of one of this user's nodes, if it is what it claims. An expired one still says where the node was.
    pub fn verify_presence(&self, signed: Signed<Presence>, user: &UserName) -> Option<Presence> {
        let keyring: &dyn Keyring = &*self.keyring;
        let verified = keyring.verify(signed, wall()).ok()?;
        let own = verified.signer.node == verified.content.node && verified.signer.user == *user;
        own.then_some(verified.content)
    }

    /// Where strangers may try to reach this node, best first.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.whereabouts.borrow().addresses()
    }

    /// How this node is reached, as its presence says.
    pub fn reached(&self) -> Reached {
        let known = self.whereabouts.borrow();
        Reached { addresses: known.addresses(), reach: known.reach, relays: known.relays }
    }

    /// What this node knows of its own reachability, now and whenever it changes.
    pub fn whereabouts(&self) -> watch::Receiver<Whereabouts> {
        self.whereabouts.subscribe()
    }

    /// Adopts a revocation list, if it is the root's and newer; says whether it was. From then on no handshake with
    /// a revoked member completes.
    pub fn adopt_crl(&self, der: &[u8]) -> bool {
        match self.keyring.adopt_crl(der) {
            Ok(true) => {}
            Ok(false) => return false,
            Err(error) => {
                debug!(%error, "a revocation list was refused");
                return false;
            }
        }
        let membership = self.keyring.membership();
        let installed = super::start::tls_of(&membership, self.authority.is_some())
            .map_err(|error| error.to_string())
            .and_then(|tls| self.endpoint.set_tls(tls).map_err(|error| error.to_string()));
        if let Err(error) = installed {
            warn!(error, "the new revocation list is not in force for TLS");
        }
        let written = membership.crl().map(|crl| saved::save_crl(&self.profile.membership(), crl));
        if let Some(Err(error)) = written {
            warn!(%error, "the new revocation list was not written down");
        }
        true
    }

    /// Ends a connection whose handshake was under way when its peer was revoked. Said of each after it is among
    /// [`Node::connections`]: those that are there already are ended with the revocation itself.
    pub fn close_if_revoked(&self, connection: &quinn::Connection) {
        if self.is_revoked(connection) {
            debug!("revoked during the handshake: the connection is closed");
            connection.close(CloseCode::Revoked.into(), b"revoked");
        }
    }

    /// Whether the certificate at the other end was revoked meanwhile.
    pub fn is_revoked(&self, connection: &quinn::Connection) -> bool {
        super::accept::certificate(connection)
            .is_none_or(|certificate| self.keyring.identify(&certificate, wall()).is_err())
    }
}
