//! Runs of packets on their way to one end, put together into one send.
//!
//! quinn gives the kernel ten packets at most in one call, and the kernel hands them on as they came; but it takes 64 KiB. What a run costs on its way through the
//! kernel hardly depends on its length, so copying it behind the one before is much cheaper than sending it by itself.

use quinn_udp::{EcnCodepoint, Transmit};

use crate::proto::forward::EndAddress;

/// Bytes of one GSO send: what an IP packet holds, less the headers of IPv4 and UDP.
const MAX_SEND: usize = 65_507;

/// Where packets go, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heading {
    pub(crate) to: EndAddress,
    pub(crate) ecn: Option<EcnCodepoint>,
}

/// Packets of one length, but the last, which may be shorter, that all go to one end.
#[derive(Debug, Default)]
pub(crate) struct Bundle {
    packets: Vec<u8>,
    stride: usize,
    heading: Option<Heading>,
}

impl Bundle {
    /// How many of these bytes, a run of packets of `stride`, may come behind what is in it, if a send takes `most` packets.
    pub(crate) fn room(&self, run: &[u8], stride: usize, heading: Heading, most: usize) -> usize {
        let full = |stride: usize| most.clamp(1, (MAX_SEND / stride).max(1)) * stride;
        if self.packets.is_empty() {
            return run.len().min(full(stride));
        }
        // One shorter packet may be the last.
        let alike = stride == self.stride || (run.len() <= stride && run.len() < self.stride);
        if self.heading != Some(heading) || !alike || !self.packets.len().is_multiple_of(self.stride) {
            return 0;
        }
        let room = full(self.stride).saturating_sub(self.packets.len());
        if run.len() <= room { run.len() } else { room / stride * stride }
    }

    /// Puts packets in, of which [`Self::room`] said that they fit.
    pub(crate) fn add(&mut self, packets: &[u8], stride: usize, heading: Heading) {
        if self.packets.is_empty() {
            (self.stride, self.heading) = (stride, Some(heading));
            self.packets.reserve(MAX_SEND);
        }
        self.packets.extend_from_slice(packets);
    }

    /// What is in it, to be sent; nothing if it is empty.
    pub(crate) fn transmit(&self) -> Option<Transmit<'_>> {
        let heading = self.heading.filter(|_| !self.packets.is_empty())?;
        Some(Transmit {
            destination: heading.to.remote,
            ecn: heading.ecn,
            contents: &self.packets,
            segment_size: (self.packets.len() > self.stride).then_some(self.stride),
            src_ip: heading.to.local,
        })
    }

    /// Empties it.
    pub(crate) fn clear(&mut self) {
        self.packets.clear();
        self.heading = None;
    }

    /// Packets in it.
    pub(crate) fn count(&self) -> u64 {
        self.packets.len().div_ceil(self.stride.max(1)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANY: usize = 64;

    fn to(port: u16) -> Heading {
        Heading { to: EndAddress { remote: ([192, 0, 2, 1], port).into(), local: None }, ecn: None }
    }

    fn with(run: &[u8], stride: usize) -> Bundle {
        let mut bundle = Bundle::default();
        assert_eq!(bundle.room(run, stride, to(1), MANY), run.len());
        bundle.add(run, stride, to(1));
        bundle
    }

    #[test]
    fn runs_of_one_length_to_one_end_leave_together() {
        let mut bundle = with(&[1; 1000], 100);
        assert_eq!(bundle.room(&[2; 250], 100, to(1), MANY), 250);
        bundle.add(&[2; 250], 100, to(1));
        let transmit = bundle.transmit().unwrap();
        assert_eq!((transmit.contents.len(), transmit.segment_size), (1250, Some(100)));
        assert_eq!(bundle.count(), 13);
    }

    #[test]
    fn nothing_comes_behind_a_short_packet() {
        let bundle = with(&[1; 250], 100);
        assert_eq!(bundle.room(&[2; 100], 100, to(1), MANY), 0);
    }

    #[test]
    fn a_shorter_packet_may_be_the_last_and_a_longer_one_not() {
        let bundle = with(&[1; 200], 100);
        assert_eq!(bundle.room(&[2; 40], 40, to(1), MANY), 40);
        assert_eq!(bundle.room(&[2; 80], 40, to(1), MANY), 0, "two of them");
        assert_eq!(bundle.room(&[2; 101], 101, to(1), MANY), 0);
    }

    #[test]
    fn ends_are_not_mixed_up() {
        assert_eq!(with(&[1; 200], 100).room(&[2; 100], 100, to(2), MANY), 0);
    }

    #[test]
    fn a_send_is_no_longer_than_the_system_takes() {
        let bundle = with(&[1; 400], 100);
        assert_eq!(bundle.room(&[2; 300], 100, to(1), 5), 100);
        let bundle = with(&[1; 1400 * 45], 1400);
        assert_eq!(bundle.room(&[2; 1400 * 10], 1400, to(1), MANY), 1400);
        assert_eq!(Bundle::default().room(&[2; 1400 * 64], 1400, to(1), MANY), 1400 * 46);
    }

    #[test]
    fn an_empty_one_sends_nothing() {
        let mut bundle = with(&[1; 200], 100);
        bundle.clear();
        assert!(bundle.transmit().is_none());
        assert_eq!(bundle.count(), 0);
    }
}
