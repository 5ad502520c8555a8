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
    let (quic, other) = (vec![0x41; 100], vec![0x91; 100]);
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
