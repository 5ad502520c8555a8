//! How long packets take between places, and loss.
//!
//! Links are reliable, as QUIC is: a lost packet arrives one retransmission later.

use std::{net::SocketAddr, time::Duration};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::workload::places;

/// Queues make a packet late by up to this part of its way.
const JITTER: f64 = 0.1;
/// A lost packet is sent again after this many round trips, at the least after [`LEAST_TIMEOUT`] (RFC 9002: a probe
/// timeout is a smoothed round trip and four times its variance).
const TIMEOUT_ROUND_TRIPS: u32 = 2;
/// See there.
const LEAST_TIMEOUT: Duration = Duration::from_millis(10);
/// The transport gives a connection up when this many in a row are lost; the simulation draws no more than that.
const MOST_LOSSES: u32 = 6;

/// Where a process is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    place: places::Place,
    /// Its one UDP socket.
    pub(super) address: SocketAddr,
}

/// The ways between places.
#[derive(Debug)]
pub(super) struct Network {
    rng: ChaCha8Rng,
    loss: f64,
}

impl Network {
    /// A network that loses the part `loss` of all packets.
    pub(super) fn new(rng: ChaCha8Rng, loss: f64) -> Self {
        Self { rng, loss }
    }

    /// A place for the process `number`; in a data centre if it is `well_placed`.
    pub(super) fn place(&mut self, number: usize, well_placed: bool) -> Place {
        let bits = self.rng.random();
        let place = if well_placed { places::Place::well_placed(bits) } else { places::Place::at_home(bits) };
        let [.., high, low] = number.to_be_bytes();
        Place { place, address: SocketAddr::from(([10, 1, high, low], 4000)) }
    }

    /// The round trip without queues or loss.
    pub(super) fn rtt(&self, a: Place, b: Place) -> Duration {
        if a.address == b.address {
            return Duration::from_micros(20);
        }
        a.place.rtt(b.place)
    }

    /// How long one packet takes this time, lost ones included.
    pub(super) fn way(&mut self, from: Place, to: Place) -> Duration {
        let rtt = self.rtt(from, to);
        if from.address == to.address {
            return rtt / 2;
        }
        let mut way = rtt.mul_f64(0.5 + self.rng.random_range(0.0..JITTER) / 2.0);
        let mut timeout = (rtt * TIMEOUT_ROUND_TRIPS).max(LEAST_TIMEOUT);
        for _ in 0..MOST_LOSSES {
            if !self.rng.random_bool(self.loss) {
                break;
            }
            way += timeout;
            timeout *= 2;
        }
        way
    }

    /// What three STUN rounds measure, and how long they take.
    pub(super) fn measure(&mut self, from: Place, to: Place) -> (Duration, Duration) {
        let rounds = [(); 3].map(|()| self.way(from, to) + self.way(to, from));
        (rounds.into_iter().min().unwrap_or_default(), rounds.into_iter().sum())
    }

    /// A moment in `0..most`.
    pub(super) fn moment(&mut self, most: Duration) -> Duration {
        self.rng.random_range(Duration::ZERO..most)
    }
}
