//! What a run has to say: facts, plots, tables, and what was expected of it.
//!
//! Whoever runs something fills a [`Report`] and says [`Report::write`]: one page of HTML that needs nothing else (plots inline, readable
//! in light and dark), its plots as SVG files, and the same as JSON. Every parameter is a [`Fact`] with its source.
//!
//! ```
//! use tests::report::{Axis, Expectation, Fact, Plot, Report, Series};
//!
//! let law = (4..14).map(|bits| [f64::from(1 << bits), 2.0 * f64::from(1 << bits).sqrt()]);
//! let mut report = Report::new("a net grows", "Supernodes from 16 to 8,192.");
//! report.facts.push(Fact::new("supernodes", "16 to 8,192", "the scenario"));
//! report.plots.push(
//!     Plot::new("messages of a sweep", Axis::log("supernodes"), Axis::log("messages"))
//!         .with(Series::dashed("2 sqrt(N)", law)),
//! );
//! report.expectations.push(Expectation::at_most("messages of a sweep", 256.0, 219.0));
//! assert!(report.held());
//! assert!(report.to_html().contains("2 sqrt(N)"));
//! ```

mod html;
mod markdown;
mod plot;
mod table;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

pub use plot::{Axis, Look, Plot, Series};
use serde::{Deserialize, Serialize};
pub use table::{Column, Table, figure};

/// A parameter of a run, or something found out about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// Of what.
    pub what: String,
    /// How much.
    pub value: String,
    /// Where the number comes from: a paper, a measurement, the scenario, "guess".
    pub source: String,
}

/// What a run had to show, and whether it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expectation {
    /// Of what.
    pub what: String,
    /// What was promised.
    pub bound: String,
    /// What was measured.
    pub measured: String,
    /// Whether the promise was kept.
    pub held: bool,
}

/// One page about one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The heading.
    pub title: String,
    /// A sentence or two below it.
    pub summary: String,
    /// What it had to show.
    pub expectations: Vec<Expectation>,
    /// What went in.
    pub facts: Vec<Fact>,
    /// What came out, drawn.
    pub plots: Vec<Plot>,
    /// What came out, in figures.
    pub tables: Vec<Table>,
}

impl Fact {
    /// A fact.
    pub fn new(what: impl Into<String>, value: impl ToString, source: impl Into<String>) -> Self {
        Self { what: what.into(), value: value.to_string(), source: source.into() }
    }
}

impl Expectation {
    /// Something of which there may be no more than `bound`.
    pub fn at_most(what: impl Into<String>, bound: f64, measured: f64) -> Self {
        let held = measured <= bound;
        let bound = format!("at most {}", figure(bound));
        Self { what: what.into(), bound, measured: figure(measured), held }
    }

    /// Something of which there must be no less than `bound`.
    pub fn at_least(what: impl Into<String>, bound: f64, measured: f64) -> Self {
        let held = measured >= bound;
        let bound = format!("at least {}", figure(bound));
        Self { what: what.into(), bound, measured: figure(measured), held }
    }
}

impl Report {
    /// A report about nothing yet.
    pub fn new(title: impl Into<String>, summary: impl Into<String>) -> Self {
        Self { title: title.into(), summary: summary.into(), ..Self::default() }
    }

    /// Whether all that was expected was found.
    pub fn held(&self) -> bool {
        self.expectations.iter().all(|expectation| expectation.held)
    }

    /// The page, complete in itself.
    pub fn to_html(&self) -> String {
        html::page(self)
    }

    /// All of it, for other programs.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("strings and finite or null numbers")
    }

    /// Writes `report.html`, `report.json` and an SVG file for each plot into a folder that is made if need be. What was written.
    pub fn write(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        fs::create_dir_all(folder)?;
        let mut written = Vec::new();
        let mut put = |name: String, text: String| {
            let path = folder.join(name);
            written.push(path.clone());
            fs::write(path, text)
        };
        put("report.html".to_owned(), self.to_html())?;
        put("report.json".to_owned(), self.to_json())?;
        for plot in &self.plots {
            put(format!("{}.svg", plot.file_name()), plot.to_svg_file())?;
        }
        Ok(written)
    }
}

#[cfg(test)]
mod tests;
