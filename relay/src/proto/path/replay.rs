//! Each ping is taken once: a window over the sequence numbers (RFC 4303, section 3.4.3).

/// How far a ping may come after later ones, in pings. The peer sends at most 450 in a second, and nothing is under
/// way for four.
const WINDOW: u32 = 2048;
const WORDS: usize = WINDOW as usize / 64;

/// Which of the peer's pings came already.
#[derive(Debug)]
pub(super) struct Replay {
    /// The highest number seen, and one more.
    next: u32,
    /// For each of the last [`WINDOW`] numbers, at its remainder: it was seen.
    seen: [u64; WORDS],
}

impl Replay {
    /// None came yet.
    pub(super) fn new() -> Self {
        Self { next: 0, seen: [0; WORDS] }
    }

    /// Whether `sequence` comes for the first time. What is older than the window counts as seen.
    pub(super) fn is_new(&mut self, sequence: u32) -> bool {
        if sequence == u32::MAX || sequence.saturating_add(WINDOW) < self.next {
            return false;
        }
        if sequence >= self.next {
            self.forget(sequence);
            self.next = sequence + 1;
        }
        let (word, bit) = place(sequence);
        let new = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        new
    }

    /// Makes room for `next..=last`.
    fn forget(&mut self, last: u32) {
        if last - self.next >= WINDOW {
            self.seen = [0; WORDS];
            return;
        }
        for sequence in self.next..=last {
            let (word, bit) = place(sequence);
            self.seen[word] &= !bit;
        }
    }
}

fn place(sequence: u32) -> (usize, u64) {
    let place = sequence % WINDOW;
    ((place / 64) as usize, 1 << (place % 64))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_older_than_the_window_is_refused() {
        let mut replay = Replay::new();
        assert!(replay.is_new(0));
        assert!(replay.is_new(WINDOW + 9));
        assert!(replay.is_new(10), "the oldest that is still known");
        assert!(!replay.is_new(9));
        assert!(!replay.is_new(u32::MAX), "its successor could never be counted");
        assert!(replay.is_new(u32::MAX - 1));
    }

    proptest! {
        #[test]
        fn in_whatever_order_they_come_each_is_new_once(
            sequences in proptest::collection::vec(0u32..WINDOW, 1..400)
        ) {
            let mut replay = Replay::new();
            let mut seen = std::collections::BTreeSet::new();
            for sequence in sequences {
                prop_assert_eq!(replay.is_new(sequence), seen.insert(sequence));
            }
        }
    }
}
