//! The matrix as text.

use std::time::Duration;

use tests::lab::{
    Expected, Nat,
    matrix::{Cell, Reached},
};

/// A guess must come true in 9 runs of 10.
const GUESSES: (usize, usize) = (9, 10);

/// What became of one pair's calls.
#[derive(Clone, Debug, Default)]
pub(super) struct Runs(pub(super) Vec<Cell>);

impl Runs {
    pub(super) fn are_as_expected(&self) -> bool {
        self.0.iter().all(Cell::is_as_expected)
    }

    /// How many took the way that the median one took, and which that is.
    fn usual(&self) -> (usize, Reached) {
        let mut reached: Vec<Reached> = self.0.iter().map(|cell| cell.call.reached).collect();
        reached.sort();
        let usual = reached.get(reached.len() / 2).copied().unwrap_or(Reached::None);
        (reached.iter().filter(|reached| **reached == usual).count(), usual)
    }

    fn guesses_failed(&self) -> bool {
        let guessed = self.0.iter().all(|cell| cell.expected == Expected::Guessed);
        let direct = self.0.iter().filter(|cell| cell.call.reached > Reached::Relayed).count();
        guessed && direct * GUESSES.1 < self.0.len() * GUESSES.0
    }

    fn text(&self) -> String {
        let (count, reached) = self.usual();
        let mark = match () {
            () if !self.are_as_expected() => "!",
            () if self.guesses_failed() => "?",
            () => "",
        };
        let runs = if self.0.len() > 1 { format!(" {count}/{}", self.0.len()) } else { String::new() };
        let first = median(self.0.iter().filter_map(|cell| cell.call.first));
        let direct = median(self.0.iter().filter_map(|cell| cell.call.direct));
        let times: Vec<String> = [first, direct.filter(|direct| Some(*direct) != first)]
            .iter()
            .flatten()
            .map(|time| time.as_millis().to_string())
            .collect();
        format!("{reached}{mark}{runs} {}", times.join("/")).trim_end().to_owned()
    }
}

/// In Markdown, so that it can be put into a document.
pub(super) fn markdown(kinds: &[Nat], pairs: &[Runs]) -> String {
    let mut rows = vec![vec![String::new()]];
    rows[0].extend(kinds.iter().map(Nat::to_string));
    for (nat, pairs) in kinds.iter().zip(pairs.chunks(kinds.len())) {
        let mut row = vec![nat.to_string()];
        row.extend(pairs.iter().map(Runs::text));
        rows.push(row);
    }
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0))
        .collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(text, width)| format!("{text:width$}")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    rows.insert(1, rule);
    rows.iter().map(line).collect()
}

/// One line about all calls.
pub(super) fn summary(pairs: &[Runs]) -> String {
    let calls: Vec<&Cell> = pairs.iter().flat_map(|runs| &runs.0).collect();
    let reached = |which: &[Reached]| calls.iter().filter(|cell| which.contains(&cell.call.reached)).count();
    format!(
        "{} calls: {} direct, {} relayed, {} not at all; pairs worse than their NATs allow: {}, with failed guesses: {}",
        calls.len(),
        reached(&[Reached::Direct, Reached::Lan]),
        reached(&[Reached::Relayed]),
        reached(&[Reached::None]),
        pairs.iter().filter(|runs| !runs.are_as_expected()).count(),
        pairs.iter().filter(|runs| runs.guesses_failed()).count(),
    )
}

fn median(times: impl Iterator<Item = Duration>) -> Option<Duration> {
    let mut times: Vec<Duration> = times.collect();
    times.sort();
    times.get(times.len() / 2).copied()
}
