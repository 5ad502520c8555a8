//! Whether a matrix is what was promised.

use std::time::Duration;

use super::{
    super::nat::{Expected, NatKind},
    Cell, Reached,
};

/// A guess must come true in 9 runs of 10.
const GUESSES: (usize, usize) = (9, 10);
/// How soon a pair that has not to guess must be direct.
const DIRECT_WITHIN: Duration = Duration::from_secs(3);
/// How many round trips more than between two open sites may pass before the first answer.
const MORE_ROUND_TRIPS: u32 = 3;
/// What a shared machine with dozens of nodes may add to that (guess).
const NOISE: Duration = Duration::from_millis(100);

/// What became of one pair's calls.
#[derive(Clone, Debug, Default)]
pub struct Runs(pub Vec<Cell>);

impl Runs {
    /// Whether all came out as well as they should. A guess may fail.
    pub fn are_as_expected(&self) -> bool {
        self.0.iter().all(Cell::is_as_expected)
    }

    /// How many took the way that the median one took, and which that is.
    pub fn usual(&self) -> (usize, Reached) {
        let mut reached: Vec<Reached> = self.0.iter().map(|cell| cell.call.reached).collect();
        reached.sort();
        let usual = reached.get(reached.len() / 2).copied().unwrap_or(Reached::None);
        (reached.iter().filter(|reached| **reached == usual).count(), usual)
    }

    /// Until the first answer, as a rule.
    pub fn first(&self) -> Option<Duration> {
        median(self.0.iter().filter_map(|cell| cell.call.first))
    }

    /// Until the first direct answer, as a rule.
    pub fn direct(&self) -> Option<Duration> {
        median(self.0.iter().filter_map(|cell| cell.call.direct))
    }

    /// Whether too few guesses came true.
    pub fn guesses_failed(&self) -> bool {
        let (guesses, failed) = self.guesses();
        failed * GUESSES.1 > guesses * (GUESSES.1 - GUESSES.0)
    }

    /// How many had to guess, and of those, how many failed.
    fn guesses(&self) -> (usize, usize) {
        let guesses = self.0.iter().filter(|cell| cell.expected == Expected::Guessed);
        let failed = guesses.clone().filter(|cell| cell.call.reached < Reached::Direct);
        (guesses.count(), failed.count())
    }

    fn name(&self) -> String {
        self.0.first().map(|cell| format!("{} x {}", cell.nats[0], cell.nats[1])).unwrap_or_default()
    }

    /// Whether a guess is promised, and not only tried: port-restricted and carrier-grade against symmetric.
    fn has_promised_guess(&self) -> bool {
        let stable = [NatKind::PortRestricted, NatKind::Carrier];
        self.0.first().is_some_and(|cell| {
            let kinds = cell.nats.map(|nat| nat.kind);
            kinds.contains(&NatKind::Symmetric) && stable.iter().any(|kind| kinds.contains(kind))
        })
    }
}

/// All in which the ways that these calls took are worse than was promised, in words; none if all is well.
pub fn complaints(pairs: &[Runs]) -> Vec<String> {
    let mut complaints: Vec<String> = pairs.iter().flat_map(|runs| &runs.0).filter_map(worse).collect();
    let promised: Vec<&Runs> = pairs.iter().filter(|runs| runs.has_promised_guess()).collect();
    // Few runs prove nothing about one pair, but something about all.
    let guesses = promised.iter().map(|runs| runs.guesses());
    let (guesses, failed) = guesses.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
    let allowed = (guesses * (GUESSES.1 - GUESSES.0)).div_ceil(GUESSES.1);
    if failed > allowed {
        complaints.push(format!("{failed} of {guesses} guesses failed"));
    }
    let often = promised.iter().filter(|runs| runs.0.len() >= GUESSES.1 && runs.guesses_failed());
    complaints.extend(often.map(|runs| {
        let (guesses, failed) = runs.guesses();
        format!("{}: {failed} of {guesses} guesses failed", runs.name())
    }));
    complaints
}

/// A call that took a worse way than its NATs allow, or too long to find the right one.
fn worse(cell: &Cell) -> Option<String> {
    let pair = format!("{} calls {}", cell.caller, cell.callee);
    if !cell.is_as_expected() {
        let why = cell.call.error.as_deref().map(|why| format!(": {why}"));
        return Some(format!("{pair}: {}{}", cell.call.reached, why.unwrap_or_default()));
    }
    let slow = cell.expected == Expected::Direct && cell.call.direct > Some(DIRECT_WITHIN);
    slow.then(|| format!("{pair}: direct only after {:.0?}", cell.call.direct.unwrap_or_default()))
}

/// Pairs whose first answer came too late next to that between two open sites, in words; none without such. On a machine that does
/// other things meanwhile, that proves little.
pub fn late(pairs: &[Runs]) -> Vec<String> {
    let Some(open) = first_of_the_open(pairs) else { return Vec::new() };
    let late = pairs.iter().filter_map(|runs| {
        let first = runs.first()?;
        let rtt = median(runs.0.iter().filter_map(|cell| cell.call.first_rtt))?;
        let allowed = open + rtt * MORE_ROUND_TRIPS + NOISE;
        (first > allowed).then(|| {
            format!("{}: first answer after {first:.0?}, {open:.0?} between open sites, {rtt:.0?} each way and back", runs.name())
        })
    });
    late.collect()
}

/// How soon the first answer comes between two open sites.
pub fn first_of_the_open(pairs: &[Runs]) -> Option<Duration> {
    let open = pairs.iter().flat_map(|runs| &runs.0);
    let open = open.filter(|cell| cell.nats.iter().all(|nat| nat.kind == NatKind::Open));
    median(open.filter_map(|cell| cell.call.first))
}

fn median(times: impl Iterator<Item = Duration>) -> Option<Duration> {
    let mut times: Vec<Duration> = times.collect();
    times.sort();
    times.get(times.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::{super::Call, *};

    const MS: Duration = Duration::from_millis(1);

    fn cell(caller: NatKind, callee: NatKind, reached: Reached, first: Duration) -> Cell {
        let direct = (reached == Reached::Direct).then_some(first);
        let call = Call { reached, first: Some(first), first_rtt: Some(20 * MS), direct, ..Call::failed() };
        Cell {
            caller: caller.to_string(),
            callee: callee.to_string(),
            nats: [caller.into(), callee.into()],
            expected: caller.towards(callee),
            call,
        }
    }

    fn guesses(direct: usize, relayed: usize) -> Runs {
        let guess = |reached| cell(NatKind::PortRestricted, NatKind::Symmetric, reached, 90 * MS);
        let ways = [(direct, Reached::Direct), (relayed, Reached::Relayed)];
        Runs(ways.iter().flat_map(|(count, way)| vec![guess(*way); *count]).collect())
    }

    #[test]
    fn nine_guesses_of_ten_are_enough() {
        assert!(complaints(&[guesses(9, 1)]).is_empty());
        assert_eq!(complaints(&[guesses(8, 2)]).len(), 2);
        assert!(complaints(&[guesses(0, 1)]).is_empty(), "one run proves nothing");
    }

    #[test]
    fn who_could_be_direct_and_is_not_is_named() {
        let bad = cell(NatKind::Restricted, NatKind::Symmetric, Reached::Relayed, 90 * MS);
        assert_eq!(complaints(&[Runs(vec![bad])]), ["restricted calls sym: relayed"]);
        let slow = cell(NatKind::Restricted, NatKind::Symmetric, Reached::Direct, 3001 * MS);
        assert!(complaints(&[Runs(vec![slow])])[0].contains("direct only after"));
    }

    #[test]
    fn a_late_first_answer_is_told_by_what_open_sites_need() {
        let open = Runs(vec![cell(NatKind::Open, NatKind::Open, Reached::Direct, 100 * MS)]);
        let pair = |first| Runs(vec![cell(NatKind::Symmetric, NatKind::Symmetric, Reached::Relayed, first)]);
        let allowed = 100 * MS + 3 * 20 * MS + NOISE;
        assert!(late(&[open.clone(), pair(allowed)]).is_empty());
        assert_eq!(late(&[open, pair(allowed + MS)]).len(), 1);
    }
}
