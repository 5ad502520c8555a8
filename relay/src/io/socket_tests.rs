use std::{future::poll_fn, net::UdpSocket as StdSocket, time::Duration};

use quinn_udp::UdpSocketState;

use super::{super::port::usable, *};

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().expect("an address")
}

/// A binding request without attributes, of `size` bytes through one that may be ignored.
fn request(size: usize) -> Vec<u8> {
    let mut packet = vec![0; size];
    let attributes = u16::try_from(size - 20).expect("short");
    packet[..8].copy_from_slice(&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]);
    packet[2..4].copy_from_slice(&attributes.to_be_bytes());
    if attributes > 0 {
        packet[20..22].copy_from_slice(&[0xc0, 0x57]);
        packet[22..24].copy_from_slice(&(attributes - 4).to_be_bytes());
    }
    packet
}

#[tokio::test]
async fn a_batch_that_mixes_stun_and_quic_gives_quinn_its_part_and_the_asker_an_answer() {
    let port = SharedSocket::bind(any_port()).expect("a port");
    let to = port.local_addr().expect("an address");
    let alice = StdSocket::bind(any_port()).expect("a port");
    alice.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    let state = UdpSocketState::new((&alice).into()).expect("a socket");
    let (quic, other) = (vec![0x41; 100], vec![0xb1; 100]);
    let packets = [&quic, &request(100), &quic, &other, &quic, &request(100)];
    for batch in packets.chunks(state.max_gso_segments().clamp(1, packets.len())) {
        let contents: Vec<u8> = batch.iter().flat_map(|packet| packet.iter().copied()).collect();
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents: &contents,
            segment_size: Some(100),
            src_ip: None,
        };
        alice.set_nonblocking(false).expect("a blocking socket");
        state.try_send((&alice).into(), &transmit).expect("it is sent");
    }

    let mut received = 0;
    while received < 3 || port.counters().stun.answered < 2 || port.counters().reserved < 1 {
        let mut storage = vec![vec![0u8; 65536]; quinn_udp::BATCH_SIZE];
        let mut bufs: Vec<_> = storage.iter_mut().map(|buf| IoSliceMut::new(buf)).collect();
        let mut meta = vec![RecvMeta::default(); quinn_udp::BATCH_SIZE];
        let count = poll_fn(|cx| port.poll_recv(cx, &mut bufs, &mut meta)).await.expect("received");
        assert!(count > 0, "quinn would take nothing for no work done");
        for (buf, meta) in bufs.iter().zip(&meta).take(count) {
            for packet in buf[..meta.len].chunks(meta.stride.max(1)) {
                assert_eq!(packet, quic, "only QUIC comes through, whole");
                received += 1;
            }
        }
    }
    assert_eq!((received, port.counters().stun.answered, port.counters().reserved), (3, 2, 1));
    let mut answer = [0; 100];
    for _ in 0..2 {
        let (length, from) = alice.recv_from(&mut answer).expect("an answer");
        assert_eq!((length, from, &answer[..2]), (32, to, &[1, 1][..]));
    }
}

#[tokio::test]
async fn a_port_asks_for_large_buffers_and_keeps_batches_in_use() {
    let port = Arc::new(SharedSocket::bind(any_port()).expect("a port"));
    let plain = StdSocket::bind(any_port()).expect("a port");
    let state = UdpSocketState::new((&plain).into()).expect("a socket");
    let default = usable(state.recv_buffer_size((&plain).into()));
    let granted = port.counters();
    assert!(granted.receive_buffer >= (default as u64).min(SOCKET_BUFFER as u64));
    assert_eq!(port.max_transmit_segments(), state.max_gso_segments());
    assert_eq!(port.max_receive_segments(), state.gro_segments());
    assert_eq!(port.may_fragment(), state.may_fragment());
}

#[tokio::test]
async fn a_second_port_at_the_same_address_is_refused() {
    let port = SharedSocket::bind(any_port()).expect("a port");
    let error = SharedSocket::bind(port.local_addr().expect("an address")).expect_err("it is taken");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

/// Somebody with a UDP socket that sends and receives in batches.
struct Peer {
    socket: StdSocket,
    state: UdpSocketState,
}

impl Peer {
    fn new() -> Self {
        let socket = StdSocket::bind(any_port()).expect("a port");
        let state = UdpSocketState::new((&socket).into()).expect("a socket");
        socket.set_nonblocking(false).expect("a blocking socket");
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
        Self { socket, state }
    }

    fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("an address")
    }

    /// In as few sends as the system allows.
    fn send(&self, to: SocketAddr, packets: &[Vec<u8>]) {
        for batch in packets.chunks(self.state.max_gso_segments().clamp(1, packets.len())) {
            let contents = batch.concat();
            let segment_size = Some(batch[0].len());
            let transmit =
                Transmit { destination: to, ecn: None, contents: &contents, segment_size, src_ip: None };
            self.state.try_send((&self.socket).into(), &transmit).expect("it is sent");
        }
    }

    /// The packets of one receive call, and from where they came.
    fn receive(&self) -> (SocketAddr, Vec<Vec<u8>>) {
        let mut storage = vec![0u8; 65536];
        let mut meta = [RecvMeta::default()];
        let bufs = &mut [IoSliceMut::new(&mut storage)];
        self.state.recv((&self.socket).into(), bufs, &mut meta).expect("something comes");
        let packets = storage[..meta[0].len].chunks(meta[0].stride.max(1)).map(<[u8]>::to_vec);
        (meta[0].addr, packets.collect())
    }
}

/// A pair that is relayed by `port`: the channel of each end.
fn relayed(port: &SharedSocket, ends: [&Peer; 2], number: u8) -> [ChannelId; 2] {
    use crate::proto::forward::{EndAddress, Standing};
    use nearmesh_common::{
        NodeId,
        wire::{
            relay::{FromRelay, RelayRequest},
            signal::SessionId,
        },
    };
    let nodes = [NodeId([number; 32]), NodeId([number + 100; 32])];
    let mut outboxes = [0, 1].map(|side: usize| {
        let request = RelayRequest { session: SessionId([number; 16]), peer: nodes[1 - side] };
        let from = Standing::Proved(EndAddress { remote: ends[side].address(), local: None });
        port.forwarding().ask_from(from, nodes[side], request).1
    });
    outboxes.each_mut().map(|outbox| {
        loop {
            if let FromRelay::Open { channel, .. } = outbox.try_recv().expect("both are there") {
                return channel;
            }
        }
    })
}

async fn receive_once(port: &SharedSocket) -> usize {
    let mut storage = vec![vec![0u8; 65536]; quinn_udp::BATCH_SIZE];
    let mut bufs: Vec<_> = storage.iter_mut().map(|buf| IoSliceMut::new(buf)).collect();
    let mut meta = vec![RecvMeta::default(); quinn_udp::BATCH_SIZE];
    let count = poll_fn(|cx| port.poll_recv(cx, &mut bufs, &mut meta)).await.expect("received");
    meta[..count].iter().map(|meta| meta.len).sum()
}

#[tokio::test]
async fn a_batch_of_relayed_packets_leaves_as_it_came_with_the_other_ends_id() {
    let port = SharedSocket::bind(any_port()).expect("a port");
    port.forwarding().set_limits(Some(Default::default()));
    let (alice, bob) = (Peer::new(), Peer::new());
    let [at_alice, at_bob] = relayed(&port, [&alice, &bob], 1);
    let packet =
        |channel: ChannelId, fill: u8, length| [&channel.to_bytes()[..], &vec![fill; length]].concat();
    let sent: Vec<_> =
        (0..9).map(|fill| packet(at_alice, fill, 1_400)).chain([packet(at_alice, 9, 30)]).collect();
    alice.send(port.local_addr().expect("an address"), &sent);

    let mut arrived = Vec::new();
    let mut batches = 0;
    while port.counters().forward.packets < 10 {
        assert_eq!(receive_once(&port).await, 0, "quinn sees none of it");
    }
    while arrived.len() < 10 {
        let (from, packets) = bob.receive();
        assert_eq!(from, port.local_addr().expect("an address"));
        arrived.extend(packets);
        batches += 1;
    }
    let expected = (0..9).map(|fill| packet(at_bob, fill, 1_400)).chain([packet(at_bob, 9, 30)]);
    assert_eq!(arrived, expected.collect::<Vec<_>>());
    let counters = port.counters().forward;
    assert_eq!((counters.packets, counters.bytes), (10, 9 * 1_408 + 38));
    if alice.state.max_gso_segments() > 1 && bob.state.gro_segments() > 1 {
        assert_eq!(batches, 1, "one send for the whole batch");
    }
}

#[tokio::test]
async fn a_batch_that_mixes_channels_quic_and_strangers_is_taken_apart_in_order() {
    let port = SharedSocket::bind(any_port()).expect("a port");
    port.forwarding().set_limits(Some(Default::default()));
    let (alice, bob, carol) = (Peer::new(), Peer::new(), Peer::new());
    let [to_bob, at_bob] = relayed(&port, [&alice, &bob], 1);
    let [to_carol, at_carol] = relayed(&port, [&alice, &carol], 2);
    let unknown = ChannelId::from_random(12345);
    let packet = |channel: ChannelId, fill: u8| [&channel.to_bytes()[..], &[fill; 92]].concat();
    let quic = vec![0x41; 100];
    let sent = [
        packet(to_bob, 1),
        packet(to_bob, 2),
        packet(to_carol, 3),
        quic.clone(),
        packet(unknown, 4),
        packet(to_carol, 5),
        packet(at_bob, 6),
        packet(to_bob, 7),
    ];
    alice.send(port.local_addr().expect("an address"), &sent);
    let mut of_quinn = 0;
    while of_quinn < 100 || port.counters().forward.dropped.total() < 2 || port.counters().forward.packets < 5
    {
        of_quinn += receive_once(&port).await;
    }
    let all_of = |peer: &Peer, count| {
        let mut arrived = Vec::new();
        while arrived.len() < count {
            arrived.extend(peer.receive().1);
        }
        arrived
    };
    assert_eq!(all_of(&bob, 3), [1, 2, 7].map(|fill| packet(at_bob, fill)));
    assert_eq!(all_of(&carol, 2), [3, 5].map(|fill| packet(at_carol, fill)));
    let dropped = port.counters().forward.dropped;
    assert_eq!((dropped.unknown_channel, dropped.other_source, dropped.total()), (1, 1, 2));
}
