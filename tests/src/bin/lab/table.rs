//! The matrix as text.

use std::time::Duration;

use tests::lab::{
    Nat,
    matrix::{Cell, Reached, Runs},
};

/// A table of everybody against everybody: rows call columns.
pub(super) fn square(kinds: &[Nat], pairs: &[Runs]) -> String {
    let mut rows = vec![vec![String::new()]];
    rows[0].extend(kinds.iter().map(Nat::to_string));
    for (nat, pairs) in kinds.iter().zip(pairs.chunks(kinds.len())) {
        let mut row = vec![format!("**{nat}**")];
        row.extend(pairs.iter().map(text));
        rows.push(row);
    }
    markdown(rows)
}

/// A line for each pair.
pub(super) fn list(pairs: &[Runs]) -> String {
    let mut rows = vec![
        ["caller", "callee", "way, ms to the first answer / to the first direct one"]
            .map(str::to_owned)
            .to_vec(),
    ];
    rows.extend(pairs.iter().filter_map(|runs| {
        let [caller, callee] = runs.0.first()?.nats;
        Some(vec![caller.to_string(), callee.to_string(), text(runs)])
    }));
    markdown(rows)
}

/// What the cells mean.
pub(super) fn legend(rtts: &str, runs: u16) -> String {
    let often = if runs > 1 { format!(", and in how many of {runs} runs,") } else { String::new() };
    format!(
        "Rows call columns. A cell says which way the packets take in the end{often} and after how many milliseconds the first \
         answer came / the first direct one (one number where that is the same). `?`: ports had to be guessed, and were not \
         often enough; `!`: worse than these NATs allow. {rtts}\n"
    )
}

fn text(runs: &Runs) -> String {
    let (count, reached) = runs.usual();
    let mark = match () {
        () if !runs.are_as_expected() => "!",
        () if runs.guesses_failed() => "?",
        () => "",
    };
    let often = if runs.0.len() > 1 { format!(" {count}/{}", runs.0.len()) } else { String::new() };
    let (first, direct) = (runs.first(), runs.direct());
    let times: Vec<String> = [first, direct.filter(|direct| Some(*direct) != first)]
        .iter()
        .flatten()
        .map(|time| time.as_millis().to_string())
        .collect();
    format!("{reached}{mark}{often} {}", times.join("/")).trim_end().to_owned()
}

fn markdown(mut rows: Vec<Vec<String>>) -> String {
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0))
        .collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(text, width)| format!("{text:width$}")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat((*width).max(1))).collect();
    rows.insert(1, rule);
    rows.iter().map(line).collect()
}

/// One line about all calls.
pub(super) fn summary(pairs: &[Runs]) -> String {
    let calls: Vec<&Cell> = pairs.iter().flat_map(|runs| &runs.0).collect();
    let reached = |which: &[Reached]| calls.iter().filter(|cell| which.contains(&cell.call.reached)).count();
    let slowest = |time: fn(&Cell) -> Option<Duration>| calls.iter().filter_map(|cell| time(cell)).max();
    format!(
        "{} calls: {} direct, {} relayed, {} not at all; the slowest first answer after {:.0?}, the slowest direct one after {:.0?}",
        calls.len(),
        reached(&[Reached::Direct, Reached::Lan]),
        reached(&[Reached::Relayed]),
        reached(&[Reached::None]),
        slowest(|cell| cell.call.first).unwrap_or_default(),
        slowest(|cell| cell.call.direct).unwrap_or_default(),
    )
}
