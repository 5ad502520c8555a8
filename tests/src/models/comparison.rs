//! A comparison as it is written down: a scenario with a table `[compare]`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::compare;
use crate::scenario::{Scenario, ScenarioError, ScenarioFile};

/// What is compared.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// A word, for file names.
    pub name: String,
    /// What it shows, in a sentence.
    pub about: String,
    /// Of what size, and how often is asked.
    pub compare: compare::Scenario,
    /// The scenario, beside this file, from which Nearmesh's own row comes. Absent: the models alone.
    pub nearmesh: Option<PathBuf>,
}

impl Comparison {
    /// What is written in a file; none if it is a scenario of another kind.
    ///
    /// # Errors
    /// As [`ScenarioError`] tells.
    pub fn of(file: ScenarioFile) -> Result<Option<Self>, ScenarioError> {
        if file.has("compare") { file.whole().map(Some) } else { Ok(None) }
    }

    /// The scenario for Nearmesh's own row, `path` being where the comparison was read from.
    ///
    /// # Errors
    /// As [`ScenarioError`] tells.
    pub fn nearmesh(&self, path: &Path) -> Result<Option<Scenario>, ScenarioError> {
        let beside = |file: &PathBuf| Scenario::read(&path.with_file_name(file));
        self.nearmesh.as_ref().map(beside).transpose()
    }
}
