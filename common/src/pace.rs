//! How soon the end of a link must be noticed, and what that costs.
//!
//! An idle link takes one small packet each way for every keep-alive: 60 bytes with their headers. Where nothing comes back it is sent again all
//! the time (QUIC's probe timeout, RFC 9002, section 6.2), so that a peer that counts as gone has answered none of several.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Children that a home can have at [`Pace::Quick`]: 32 take 1.6 kB/s of the 5 that all signalling may cost, as 190 at [`Pace::Steady`].
pub const FEW_CHILDREN: usize = 32;
/// Supernodes of one full mesh that can be linked at [`Pace::Quick`]: 16 take 0.8 kB/s.
pub const FEW_LINKS: usize = 16;

/// How soon the end of a link is noticed; quicker ones first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Pace {
    /// Within 4 s: a connection on which somebody waits; a home with few children; a full mesh of few.
    #[default]
    Quick,
    /// Within 15 s: a home with many children, which are findable again within the 20 s of RON, with 5 for the way to the next home; and supernodes
    /// of one group, of which there are dozens. 100 take 0.8 kB/s.
    Steady,
    /// Within 75 s: a standby. Nobody waits for it alone. 100 take 0.2 kB/s; a NAT that forgets sooner than this speaks breaks more than us
    /// (RFC 4787 asks for 2 minutes, 30 s are common, and WireGuard advises 25 s).
    Calm,
    /// Within two minutes: supernodes of other groups. Whoever asks one that says nothing asks another at once. 400 take 0.5 kB/s. Strangers
    /// reach supernodes, so that no NAT has to be kept open for this link alone.
    Slow,
}

impl Pace {
    /// Of a home and its child, both ways, unless the home has few: it may have hundreds.
    pub const HOME: Self = Self::Steady;

    /// Who keeps an idle link alive says something this often.
    pub const fn keep_alive(self) -> Duration {
        Duration::from_millis(match self {
            Self::Quick => 1200,
            Self::Steady => 7500,
            Self::Calm => 25_000,
            Self::Slow => 50_000,
        })
    }

    /// A peer that is silent for so long is gone.
    pub const fn silence(self) -> Duration {
        Duration::from_millis(match self {
            Self::Quick => 3600,
            Self::Steady => 15_000,
            Self::Calm => 75_000,
            Self::Slow => 120_000,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;

    #[test]
    fn a_keep_alive_has_half_of_the_silence_to_come_through() {
        for pace in [Pace::Quick, Pace::Steady, Pace::Calm, Pace::Slow] {
            assert!(pace.keep_alive() * 2 <= pace.silence(), "{pace:?}");
        }
        assert!(Pace::Quick < Pace::Steady && Pace::Steady < Pace::Calm && Pace::Calm < Pace::Slow);
    }
}
