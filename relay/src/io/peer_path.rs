//! One peer, the routes to it, and the one in use.

use std::{net::SocketAddr, sync::Arc};

use nearmesh_common::{NodeId, wire::relay::ChannelId};
use quinn::Connection;
use tokio::sync::watch;

pub use super::paths::{
    MAX_PEERS, MAX_ROUTES, PeerPathError,
    extra::{MAX_EXTRA, MAX_GUESSING},
    peer::{BUSY_FADE, HEARD_INTERVAL, MAX_NEWS, PathNews},
};
use super::{paths::peer::Peer, socket::SharedSocket};
use crate::proto::path::{Route, SocketIndex, Tag, virtual_addr::VirtualAddr};

/// A peer with a virtual address. Clones are the same peer; with the last one its routes and sockets are gone,
/// and its connections are cut off.
///
/// While it lives it holds on to connections over it that are not closed: dropping all other handles does not close them.
#[derive(Clone, Debug)]
pub struct PeerPath {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    peer: Arc<Peer>,
    socket: Arc<SharedSocket>,
}

impl PeerPath {
    pub(crate) fn new(peer: Arc<Peer>, socket: Arc<SharedSocket>) -> Self {
        Self { inner: Arc::new(Inner { peer, socket }) }
    }

    pub(crate) fn peer(&self) -> &Arc<Peer> {
        &self.inner.peer
    }

    /// Who the peer should be. A connection proves it, its address does not.
    pub fn node(&self) -> NodeId {
        self.peer().node
    }

    /// Which path probes are about this peer.
    pub fn tag(&self) -> Tag {
        self.peer().tag
    }

    /// What its connections see as its address.
    pub fn virtual_addr(&self) -> VirtualAddr {
        self.peer().addr
    }

    /// Listens for path probes on a channel that a relay has opened for this peer. It counts as a route.
    pub fn open_channel(&self, relay: SocketAddr, channel: ChannelId) {
        self.inner.socket.paths().listen(self.peer(), relay, channel);
    }

    /// Takes QUIC packets that come by `route` for the peer's. At most [`MAX_ROUTES`]; beyond that, nothing happens. A route that
    /// another peer has is only taken from it when it is `proven`: the peer answered there, it did not just seem to send from there.
    ///
    /// Plain connections with the same address get no packets meanwhile: there should be none. Where one is known
    /// ([`Endpoint::ask_where_plain`](super::endpoint::Endpoint::ask_where_plain)), a route that is not proven is not accepted: whoever
    /// forges a source would cut it.
    pub fn accept(&self, route: Route, proven: bool) {
        if let Route::Direct { socket: SocketIndex::MAIN, to } = route
            && !proven
            && self.inner.socket.paths().plain.has(to)
        {
            return;
        }
        self.inner.socket.paths().accept(self.peer(), route, proven);
    }

    /// Knows nothing of that channel any more.
    pub fn close_channel(&self, relay: SocketAddr, channel: ChannelId) {
        self.inner.socket.paths().close_channel(self.peer(), relay, channel);
    }

    /// No longer does so. On a channel that is open, probes are still listened for.
    pub fn forget(&self, route: Route) {
        self.inner.socket.paths().forget(self.peer(), route);
    }

    /// Sends by `route` from now on; with none, packets vanish. A change restarts congestion control and lets connections
    /// send at once. A socket that is used is kept, as by [`PeerPath::keep_socket`], but closes no others.
    pub fn use_route(&self, route: Option<Route>) {
        if let Some(Route::Direct { socket, .. }) = route
            && socket != SocketIndex::MAIN
        {
            self.inner.socket.keep_polling(self.virtual_addr(), socket);
        }
        self.peer().use_route(route);
    }

    /// The route in use.
    pub fn route(&self) -> Option<Route> {
        self.peer().route()
    }

    /// The same, as it changes.
    pub fn watch_route(&self) -> watch::Receiver<Option<Route>> {
        self.peer().watch_route()
    }

    /// Sends a packet of our own by `route`, now or never; with `ttl` it dies after so many routers (not on relayed
    /// routes, where it would die before the relay).
    pub fn send_control(&self, route: Route, packet: &[u8], ttl: Option<u8>) {
        self.inner.socket.send_control(route, packet, ttl);
    }

    /// Opens up to `count` more sockets, at most [`MAX_GUESSING`], and listens for path probes on them. Fewer, if the system
    /// or [`MAX_EXTRA`] does not allow more. Needs a tokio runtime.
    pub fn open_sockets(&self, count: usize) -> Vec<SocketIndex> {
        self.inner.socket.open_extras(self.virtual_addr(), count)
    }

    /// Closes all of this peer's further sockets but one, which then carries QUIC packets as fast as the port.
    pub fn keep_socket(&self, keep: Option<SocketIndex>) {
        self.inner.socket.keep_extra(self.virtual_addr(), keep);
    }

    /// Where a further socket is bound.
    pub fn socket_addr(&self, socket: SocketIndex) -> Option<SocketAddr> {
        self.inner.socket.paths().extras.local_addr(socket)
    }

    /// Whether more than keep-alives went to or came from the peer within [`BUSY_FADE`]. After it was false once,
    /// [`PathNews::Busy`] says when it is true again.
    pub fn is_busy(&self) -> bool {
        self.peer().is_busy()
    }

    /// News that were lost because nobody took them.
    pub fn lost_news(&self) -> u64 {
        self.peer().lost_news()
    }

    /// Tells `connection`, which was made over this path, about changes of the route. Those that
    /// [`Endpoint::dial_path`](super::endpoint::Endpoint::dial_path) and the acceptor make are told already.
    pub fn adopt(&self, connection: Connection) {
        self.peer().adopt(connection);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.peer.use_route(None);
        self.socket.paths().remove(&self.peer);
    }
}
