//! The page.

use super::{Expectation, Plot, Report, Table, plot};

const STYLE: &str = "
:root{color-scheme:light dark;--paper:#fff;--ink:#1f2328;--soft:#59636e;--line:#d8dde3;--tint:#f4f6f8;--good:#1b8a5a;--bad:#c0392b}
@media (prefers-color-scheme:dark){:root{--paper:#14181d;--ink:#e6e9ed;--soft:#9aa4b0;--line:#3a424c;--tint:#1c2229;--good:#6fd6a0;--bad:#ff94a3}}
body{margin:0 auto;max-width:64rem;padding:2rem 1.25rem 4rem;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.7rem;line-height:1.2;margin:0 0 .5rem}
h2{font-size:1.15rem;margin:2.5rem 0 .5rem}
p.note,figcaption,td.source{color:var(--soft);font-size:.9rem}
figure{margin:1.5rem 0}
figure svg{width:100%;height:auto;max-width:50rem}
figure b{font-size:1.05rem}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.9rem;min-width:60%}
th,td{text-align:left;padding:.35rem .75rem .35rem 0;border-bottom:1px solid var(--line);vertical-align:top}
th{font-weight:600;border-bottom-width:2px}
.figures{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.held{color:var(--good)}.broken{color:var(--bad)}.held,.broken{font-weight:600}
";

/// The page of a report.
pub(super) fn page(report: &Report) -> String {
    let mut body = format!("<h1>{}</h1>\n<p>{}</p>\n", escaped(&report.title), escaped(&report.summary));
    if !report.expectations.is_empty() {
        body += &expectations(&report.expectations);
    }
    body.extend(report.plots.iter().map(figure));
    body.extend(report.tables.iter().map(table));
    if !report.facts.is_empty() {
        body += &facts(report);
    }
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<style>{STYLE}{}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        escaped(&report.title),
        plot::colours("figure"),
    )
}

fn expectations(expectations: &[Expectation]) -> String {
    let kept = expectations.iter().filter(|expectation| expectation.held).count();
    let row = |expectation: &Expectation| {
        let (class, word) = if expectation.held { ("held", "held") } else { ("broken", "NOT held") };
        let [what, bound, measured] =
            [&expectation.what, &expectation.bound, &expectation.measured].map(|text| escaped(text));
        format!(
            "<tr><td>{what}</td><td>{bound}</td><td class=\"figures\">{measured}</td><td class=\"{class}\">{word}</td></tr>\n"
        )
    };
    let rows: String = expectations.iter().map(row).collect();
    format!(
        "<h2>What it had to show: {kept} of {} held</h2>\n<div class=\"wide\"><table>\n\
         <tr><th>what</th><th>promised</th><th class=\"figures\">measured</th><th></th></tr>\n{rows}</table></div>\n",
        expectations.len()
    )
}

fn facts(report: &Report) -> String {
    let row = |fact: &super::Fact| {
        let [what, value, source] = [&fact.what, &fact.value, &fact.source].map(|text| escaped(text));
        format!("<tr><td>{what}</td><td>{value}</td><td class=\"source\">{source}</td></tr>\n")
    };
    let rows: String = report.facts.iter().map(row).collect();
    format!(
        "<h2>What went in</h2>\n<div class=\"wide\"><table>\n\
         <tr><th>parameter</th><th>value</th><th>source</th></tr>\n{rows}</table></div>\n"
    )
}

fn figure(plot: &Plot) -> String {
    format!(
        "<figure><b>{}</b>\n{}\n<figcaption>{}</figcaption></figure>\n",
        escaped(&plot.title),
        plot.to_svg(),
        escaped(&plot.note)
    )
}

fn table(table: &Table) -> String {
    let title =
        if table.title.is_empty() { String::new() } else { format!("<h2>{}</h2>\n", escaped(&table.title)) };
    let note = if table.note.is_empty() {
        String::new()
    } else {
        format!("<p class=\"note\">{}</p>\n", escaped(&table.note))
    };
    format!("{title}<div class=\"wide\">{}</div>\n{note}", table.to_html())
}

impl Table {
    /// The table as HTML, without title and note.
    pub fn to_html(&self) -> String {
        let row = |tag: &str, cells: &mut dyn Iterator<Item = &String>| {
            let cell = |(cell, column): (&String, &super::Column)| {
                let class = if column.figures { " class=\"figures\"" } else { "" };
                format!("<{tag}{class}>{}</{tag}>", escaped(cell))
            };
            format!("<tr>{}</tr>\n", cells.zip(&self.columns).map(cell).collect::<String>())
        };
        let head = row("th", &mut self.columns.iter().map(|column| &column.name));
        let rows: String = self.rows.iter().map(|cells| row("td", &mut cells.iter())).collect();
        format!("<table>\n{head}{rows}</table>")
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
