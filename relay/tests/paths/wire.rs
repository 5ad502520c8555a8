//! What lies between two endpoints: passes packets on from one to the other, until it is cut.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
};

use nearmesh_common::wire::relay::ChannelId;
use nearmesh_relay::{io::socket::SOCKET_BUFFER, proto::path::Route};
use socket2::SockRef;
use tokio::{net::UdpSocket, task::AbortHandle};

use crate::net::any_port;

/// A relay for one pair, or only a cable.
pub struct Wire {
    addr: SocketAddr,
    channels: Option<[ChannelId; 2]>,
    state: Arc<State>,
    task: AbortHandle,
}

#[derive(Default)]
struct State {
    ends: Mutex<[Option<SocketAddr>; 2]>,
    cut: AtomicBool,
    passed: AtomicU64,
}

impl Wire {
    /// Passes on what `ends` send, as it is: each sees the wire's address as the other's.
    pub async fn cable(ends: [SocketAddr; 2]) -> Self {
        Self::new(ends.map(Some), None).await
    }

    /// The same for packets that begin with a channel, which it exchanges.
    pub async fn relay(ends: [SocketAddr; 2]) -> Self {
        let channels = [(); 2].map(|()| ChannelId::from_random(rand::random()));
        Self::new(ends.map(Some), Some(channels)).await
    }

    async fn new(ends: [Option<SocketAddr>; 2], channels: Option<[ChannelId; 2]>) -> Self {
        let socket = UdpSocket::bind(any_port()).await.expect("a port");
        SockRef::from(&socket).set_recv_buffer_size(SOCKET_BUFFER).expect("a buffer");
        let addr = socket.local_addr().expect("an address");
        let state = Arc::new(State { ends: Mutex::new(ends), ..State::default() });
        let task = tokio::spawn(pass_on(socket, channels, state.clone())).abort_handle();
        Self { addr, channels, state, task }
    }

    /// The way through it for the first or the second end.
    pub fn route(&self, end: usize) -> Route {
        match self.channels {
            None => Route::direct(self.addr),
            Some(channels) => Route::Relayed { relay: self.addr, channel: channels[end] },
        }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// From now on everything vanishes.
    pub fn cut(&self) {
        self.state.cut.store(true, SeqCst);
    }

    pub fn passed(&self) -> u64 {
        self.state.passed.load(SeqCst)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass_on(socket: UdpSocket, channels: Option<[ChannelId; 2]>, state: Arc<State>) {
    let mut packet = [0; 2000];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut packet).await else { continue };
        let ends = *state.ends.lock().expect("not poisoned");
        let Some(end) = ends.iter().position(|end| *end == Some(from)) else { continue };
        let Some(to) = ends[1 - end] else { continue };
        if let Some(channels) = channels {
            if ChannelId::of(&packet[..length]) != Some(channels[end]) {
                continue;
            }
            packet[..ChannelId::LENGTH].copy_from_slice(&channels[1 - end].to_bytes());
        }
        if !state.cut.load(SeqCst) && socket.try_send_to(&packet[..length], to).is_ok() {
            state.passed.fetch_add(1, SeqCst);
        }
    }
}
