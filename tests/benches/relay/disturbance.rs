//! What others do to a relay meanwhile.

use std::{
    net::UdpSocket,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use nearmesh_common::wire::relay::ChannelId;

use crate::scene::{Scene, Way};

/// 20,000 packets of 1,200 bytes a second: 190 Mbit/s.
const PACKETS_A_MILLISECOND: usize = 20;
const PACKET: usize = 1_200;

#[derive(Clone, Copy)]
pub enum Disturbance {
    /// Packets on channels that nobody has.
    Strangers,
    /// Packets of two members through the relay.
    Members,
}

/// It goes on until its end is asked for.
pub struct Running {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
    _way: Option<Way>,
}

impl Disturbance {
    pub const ALL: [Self; 2] = [Self::Strangers, Self::Members];

    pub fn name(self) -> &'static str {
        match self {
            Self::Strangers => "in a strangers' flood",
            Self::Members => "in a members' flood",
        }
    }

    pub fn begin(self, scene: &Scene) -> Running {
        match self {
            Self::Strangers => {
                let (socket, relay) = (UdpSocket::bind("127.0.0.1:0").expect("a socket"), scene.relay());
                let channels = (1..=1_000u64).map(|bits| bits.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                let packets: Vec<_> = channels.map(|bits| packet_on(ChannelId::from_random(bits))).collect();
                let mut packets = packets.into_iter().cycle();
                let send = move || {
                    let packet = packets.next().expect("it never ends");
                    assert_eq!(socket.send_to(&packet, relay).expect("it is sent"), PACKET);
                };
                Running::new(send, None)
            }
            Self::Members => {
                let way = scene.way_of_others();
                let (path, route) = (way.there.clone(), way.there.route().expect("a route"));
                let send = move || path.send_control(route, &[0x41; PACKET - ChannelId::LENGTH], None);
                Running::new(send, Some(way))
            }
        }
    }
}

impl Running {
    fn new(mut send: impl FnMut() + Send + 'static, way: Option<Way>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let mut sent = 0;
            while !stopped.load(Relaxed) {
                (0..PACKETS_A_MILLISECOND).for_each(|_| send());
                sent += PACKETS_A_MILLISECOND as u64;
                thread::sleep(Duration::from_millis(1));
            }
            sent
        });
        Self { stop, thread, _way: way }
    }

    /// How many packets were sent.
    pub fn end(self) -> u64 {
        self.stop.store(true, Relaxed);
        self.thread.join().expect("it counts")
    }
}

fn packet_on(channel: ChannelId) -> Vec<u8> {
    let mut packet = channel.to_bytes().to_vec();
    // As QUIC begins.
    packet.resize(PACKET, 0x41);
    packet
}
