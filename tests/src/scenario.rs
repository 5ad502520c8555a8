//! Scenarios: a net, what befalls it, what is measured, and what must hold.
//!
//! A scenario is a TOML file ([`Scenario`]); [`Run`] plays it on the [large simulator](crate::scale) and gives an [`Outcome`], of which each
//! figure has a path; an [`Expectation`] bounds the figure at its path.

mod curve;
mod expect;
mod format;
mod outcome;
mod report;
mod run;

pub use curve::{Curve, report as curve_page, table as curve_table};
pub use expect::{Checked, Expectation};
pub use format::{Act, Event, Growth, Mix, NetForm, Scenario, ScenarioError, ScenarioFile, Workload};
pub use outcome::{Machine, Outcome, Sample, VolumeRate};
pub use report::page;
pub use run::{Progress, Run, play};
