//! Who may begin a handshake: the more of them are going on, the more a newcomer must show.
//!
//! A handshake costs its answerer a signature and some kilobytes, and its asker one packet with a forged source. While
//! few are going on, everybody is let in at once; when many are, those who have not proved their address are asked to
//! (a QUIC Retry, RFC 9000 section 8.1.2); when the house is full, packets are not answered and the
//! newcomer's own retransmission tries again.

/// Most handshakes of members at a time. At 3,000 a second on a core, what 80 ms of work may queue up (measured rate).
pub const MAX_HANDSHAKES: usize = 256;
/// Beyond so many, an address has to be proved first (guess: a quarter).
pub const PROVE_ADDRESS_ABOVE: usize = 64;
/// Most newcomers at a time, from the first packet to the last (guess): no certificate is needed to be one.
pub const MAX_NEWCOMERS: usize = 32;

/// What to do with somebody who would like to begin a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Go ahead.
    Begin,
    /// Prove your address first.
    ProveAddress,
    /// Do not answer.
    Ignore,
}

/// Decides, with `going_on` handshakes of at most `limit` under way.
pub fn admit(going_on: usize, limit: usize, address_proved: bool) -> Admission {
    if going_on >= limit {
        Admission::Ignore
    } else if going_on >= PROVE_ADDRESS_ABOVE.min(limit / 2) && !address_proved {
        Admission::ProveAddress
    } else {
        Admission::Begin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_node_lets_everybody_begin() {
        assert_eq!(admit(0, MAX_HANDSHAKES, false), Admission::Begin);
        assert_eq!(admit(0, MAX_NEWCOMERS, false), Admission::Begin);
    }

    #[test]
    fn a_busy_node_asks_for_proof_of_the_address_and_takes_it() {
        assert_eq!(admit(PROVE_ADDRESS_ABOVE, MAX_HANDSHAKES, false), Admission::ProveAddress);
        assert_eq!(admit(PROVE_ADDRESS_ABOVE, MAX_HANDSHAKES, true), Admission::Begin);
        assert_eq!(admit(16, MAX_NEWCOMERS, false), Admission::ProveAddress);
    }

    #[test]
    fn a_full_node_does_not_answer_even_those_who_proved_theirs() {
        assert_eq!(admit(MAX_HANDSHAKES, MAX_HANDSHAKES, true), Admission::Ignore);
        assert_eq!(admit(MAX_NEWCOMERS, MAX_NEWCOMERS, true), Admission::Ignore);
    }
}
