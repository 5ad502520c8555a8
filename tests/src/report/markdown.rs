//! Tables as Markdown, for README.

use super::Table;

impl Table {
    /// The table as Markdown, without title and note.
    pub fn to_markdown(&self) -> String {
        let line = |cells: &mut dyn Iterator<Item = String>| {
            let cells: Vec<String> = cells.collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let mut text = line(&mut self.columns.iter().map(|column| escaped(&column.name)));
        let rule = |figures: bool| if figures { "---:" } else { "---" };
        text += &line(&mut self.columns.iter().map(|column| rule(column.figures).to_owned()));
        for row in &self.rows {
            text += &line(&mut row.iter().map(|cell| escaped(cell)));
        }
        text
    }
}

fn escaped(cell: &str) -> String {
    cell.replace('|', "\\|").replace('\n', " ")
}
