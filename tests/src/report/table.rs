//! Tables and the figures in them.

use serde::{Deserialize, Serialize};

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its heading.
    pub name: String,
    /// Whether it holds figures, which stand to the right.
    pub figures: bool,
}

/// A table. Cells are text: whoever fills it chooses units and digits, with [`figure`] for instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// What it shows.
    pub title: String,
    /// What must be known to read it.
    pub note: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its rows, a cell for each column.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows. Columns of text first, then columns of figures.
    pub fn new(title: impl Into<String>, text: &[&str], figures: &[&str]) -> Self {
        let column = |name: &&str, figures| Column { name: (*name).to_owned(), figures };
        let columns = text.iter().map(|name| column(name, false));
        let columns = columns.chain(figures.iter().map(|name| column(name, true))).collect();
        Self { title: title.into(), columns, ..Self::default() }
    }

    /// The same with a note.
    pub fn noted(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// A further row. What is missing stays empty, what is too much is left out.
    pub fn push(&mut self, cells: impl IntoIterator<Item = impl ToString>) {
        let mut row: Vec<String> = cells.into_iter().map(|cell| cell.to_string()).collect();
        row.resize(self.columns.len(), String::new());
        self.rows.push(row);
    }
}

/// A number for people: three significant digits, more where they are whole, thousands apart.
pub fn figure(number: f64) -> String {
    if !number.is_finite() {
        return "-".to_owned();
    }
    let size = number.abs();
    if size >= 100.0 || size == size.round() {
        return grouped(number.round());
    }
    let digits = match size {
        10.0.. => 1,
        1.0.. => 2,
        0.001.. => 4,
        _ => return format!("{number:.1e}"),
    };
    let text = format!("{number:.digits$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn grouped(whole: f64) -> String {
    let digits = format!("{:.0}", whole.abs());
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if whole < 0.0 { format!("-{text}") } else { text }
}
