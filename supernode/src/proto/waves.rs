//! How many supernodes to ask next: a pure function of what is known so far.
//!
//! A search asks in waves until it has enough. The first wave is as wide as KaZaA's was (its vendor pushed
//! SearchIndirectNodesMin 6, Max 10); what it finds tells how popular the words are, and the next one asks as many as should be enough
//! at that rate, with some to spare. Where nothing was found, everybody who is left is asked at once: a rare file is worth
//! the messages, and only members whose summary matches are ever asked.

/// Width of the first wave (KaZaA: 6 to 10).
pub const FIRST_WAVE: usize = 8;
/// Asked beyond what the estimate says, as a factor: results are unevenly spread (guess).
const MARGIN: usize = 2;

/// What a search knows when its next wave is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Members asked so far.
    pub asked: usize,
    /// Different contents that they brought.
    pub brought: usize,
    /// Different contents that are still missing to the limit.
    pub missing: usize,
    /// Members that may have something and were not asked.
    pub left: usize,
}

/// How many members to ask next.
pub fn next_wave(progress: Progress) -> usize {
    let Progress { asked, brought, missing, left } = progress;
    let wanted = match (asked, brought) {
        _ if missing == 0 => 0,
        (0, _) => FIRST_WAVE,
        (_, 0) => left,
        _ => (missing * asked).div_ceil(brought).saturating_mul(MARGIN).max(FIRST_WAVE),
    };
    wanted.min(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_popular_query_asks_few() {
        let first = next_wave(Progress { asked: 0, brought: 0, missing: 50, left: 60 });
        assert_eq!(first, FIRST_WAVE);
        assert_eq!(next_wave(Progress { asked: 8, brought: 50, missing: 0, left: 52 }), 0);
        let second = next_wave(Progress { asked: 8, brought: 40, missing: 10, left: 52 });
        assert_eq!(second, FIRST_WAVE, "two more members would do at this rate");
    }

    #[test]
    fn a_rare_query_asks_everybody_who_may_have_it() {
        assert_eq!(next_wave(Progress { asked: 8, brought: 0, missing: 50, left: 52 }), 52);
        assert_eq!(next_wave(Progress { asked: 8, brought: 1, missing: 49, left: 20 }), 20);
    }
}
