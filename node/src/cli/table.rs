//! Columns of text.

use super::harmless::harmless;

const GAP: &str = "  ";
/// A last column that is narrower than this is of no use: then the line may be longer than the terminal.
const MIN_LAST_COLUMN: usize = 12;

/// Rows under a heading, each column as wide as its widest cell; the last is cut to fit `width`.
pub(super) fn table<const N: usize>(
    headings: [&str; N],
    rows: Vec<[String; N]>,
    width: Option<usize>,
) -> String {
    let rows: Vec<[String; N]> =
        std::iter::once(headings.map(str::to_owned)).chain(rows).map(|row| row.map(clean)).collect();
    let mut widths = [0; N];
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            widths[column] = widths[column].max(columns(cell));
        }
    }
    let before: usize = widths[..N - 1].iter().map(|width| width + GAP.len()).sum();
    let last = width.map(|width| width.saturating_sub(before).max(MIN_LAST_COLUMN));
    let mut text = String::new();
    for row in &rows {
        for (column, cell) in row[..N - 1].iter().enumerate() {
            text.push_str(&pad(cell, widths[column]));
            text.push_str(GAP);
        }
        text.push_str(&cut(&row[N - 1], last));
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

/// The text in at most `width` columns; what does not fit becomes an ellipsis, but an extension stays.
pub(super) fn cut(text: &str, width: Option<usize>) -> String {
    let Some(width) = width else { return text.to_owned() };
    let length = columns(text);
    if length <= width {
        return text.to_owned();
    }
    let tail = text.rfind('.').map_or("", |dot| &text[dot..]);
    let tail = if columns(tail) <= width / 3 { tail } else { "" };
    let head = width.saturating_sub(columns(tail) + 1);
    let head: String = text.chars().take(head).collect();
    format!("{head}…{tail}")
}

/// The text followed by spaces up to `width` columns.
pub(super) fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(columns(text))))
}

/// One for each character: wide scripts take more, which costs alignment and nothing else.
fn columns(text: &str) -> usize {
    text.chars().count()
}

fn clean(cell: String) -> String {
    harmless(&cell).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_column_is_cut_so_that_lines_fit_the_terminal() {
        let rows =
            vec![["1".to_owned(), "a".repeat(100) + ".ogg"], ["12".to_owned(), "short.ogg".to_owned()]];
        let text = table(["No", "Name"], rows, Some(40));
        assert!(text.lines().all(|line| line.chars().count() <= 40), "{text}");
        assert!(text.contains("….ogg") && text.contains("12  short.ogg"), "{text}");
    }

    #[test]
    fn in_a_pipe_nothing_is_cut() {
        let name = "a".repeat(300);
        assert!(table(["Name"], vec![[name.clone()]], None).contains(&name));
    }

    #[test]
    fn a_cell_never_breaks_its_line() {
        let text = table(["Name", "Size"], vec![["a\nb\u{1b}".to_owned(), "1".to_owned()]], None);
        assert_eq!(text.lines().count(), 2);
        assert!(!text.contains('\u{1b}'));
    }
}
