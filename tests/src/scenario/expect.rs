//! Bounds on figures.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A bound on one figure.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// The figure's path in the outcome, as `questions/rare/recall`.
    pub figure: String,
    /// It is at least this.
    pub least: Option<f64>,
    /// It is at most this.
    pub most: Option<f64>,
    /// What that shows, in words.
    #[serde(default)]
    pub because: String,
}

/// A bound, held against a run.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// The bound.
    pub expectation: Expectation,
    /// The figure; none if there is nothing at that path.
    pub found: Option<f64>,
    /// Whether it holds.
    pub holds: bool,
}

impl Expectation {
    /// Holds it against the figures of a run.
    pub fn check(&self, outcome: &Value) -> Checked {
        let found = outcome.pointer(&format!("/{}", self.figure)).and_then(Value::as_f64);
        let holds = found.is_some_and(|found| {
            self.least.is_none_or(|least| found >= least) && self.most.is_none_or(|most| found <= most)
        });
        Checked { expectation: self.clone(), found, holds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_that_is_missing_or_out_of_bounds_does_not_hold() {
        let outcome = serde_json::json!({ "questions": { "rare": { "recall": 0.5 } } });
        let bound = |figure: &str, least, most| {
            let expectation = Expectation { figure: figure.into(), least, most, because: String::new() };
            expectation.check(&outcome).holds
        };
        assert!(bound("questions/rare/recall", Some(0.5), Some(0.5)));
        assert!(!bound("questions/rare/recall", Some(0.6), None));
        assert!(!bound("questions/rare/recall", None, Some(0.4)));
        assert!(!bound("questions/rare/nothing", None, None));
    }
}
