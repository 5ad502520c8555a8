//! A list of pointers in a file: what can be read of it counts, and what cannot is named by its line.

use std::fmt;

use super::{MAX_POINTERS, ParsePointerError, Pointer};

/// Longest list, in bytes: 200 lines of the longest kind, and as much again in comments (guess).
pub const MAX_LIST_BYTES: u64 = 64 * 1024;
/// Wrong lines that are named: who has more looks at the file anyway (guess).
pub const MAX_PROBLEMS: usize = 5;

/// What a list says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct List {
    /// At most [`MAX_POINTERS`], in the list's order.
    pub pointers: Vec<Pointer>,
    /// The first wrong lines, at most [`MAX_PROBLEMS`].
    pub problems: Vec<Problem>,
}

/// What is wrong with a line.
#[derive(Debug, PartialEq, Eq)]
pub enum Problem {
    /// It cannot be read.
    Line {
        /// Counted from 1.
        line: usize,
        /// Why.
        error: ParsePointerError,
    },
    /// From here on nothing is read: there is enough.
    TooMany {
        /// Counted from 1.
        line: usize,
    },
}

impl List {
    /// Reads a list.
    pub fn parse(text: &str) -> Self {
        let mut list = Self::default();
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.split('#').next().unwrap_or_default().trim();
            if text.is_empty() {
                continue;
            }
            if list.pointers.len() == MAX_POINTERS {
                list.problems.push(Problem::TooMany { line });
                break;
            }
            match text.parse() {
                Ok(pointer) => list.pointers.push(pointer),
                Err(error) => list.problems.push(Problem::Line { line, error }),
            }
        }
        list.problems.truncate(MAX_PROBLEMS);
        list
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { line, error } => write!(f, "line {line}: {error}"),
            Self::TooMany { line } => {
                write!(f, "line {line} and what follows is not read: {MAX_POINTERS} supernodes are enough")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nearmesh_common::NodeId;

    use super::*;

    fn pointer(host: u16) -> String {
        format!("{}@192.0.2.1:{host}", NodeId([7; 32]))
    }

    #[test]
    fn comments_and_empty_lines_are_skipped_and_a_wrong_line_is_named_by_its_number() {
        let text = format!(
            "# our hubs\n\n{}   # the one in the cellar\r\nhub.example.org\n{}",
            pointer(1),
            pointer(2)
        );
        let list = List::parse(&text);
        assert_eq!(list.pointers.iter().map(|found| found.port).collect::<Vec<_>>(), [1, 2]);
        let problems: Vec<String> = list.problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems, ["line 4: it must be like node-id@address:port"]);
    }

    #[test]
    fn a_list_that_is_too_long_ends_at_its_limit_and_says_so() {
        let text: Vec<String> = (1..=u16::try_from(MAX_POINTERS).unwrap() + 7).map(pointer).collect();
        let list = List::parse(&text.join("\n"));
        assert_eq!(list.pointers.len(), MAX_POINTERS);
        assert_eq!(list.problems, [Problem::TooMany { line: MAX_POINTERS + 1 }]);
        assert_eq!(List::parse(&"x\n".repeat(1000)).problems.len(), MAX_PROBLEMS);
    }
}
