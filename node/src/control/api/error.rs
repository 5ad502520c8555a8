//! Why something was not done, in words for the person who asked and in a code for a script.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A failure: what happened, to what, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// What a script looks at.
    pub code: Code,
    /// What happened, and to what.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

/// The kinds of failure that a script may want to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// It went wrong.
    Failed,
    /// It was asked in a way that makes no sense.
    Usage,
    /// Nobody and nothing of that name.
    NotFound,
    /// No node is running for the profile.
    NotRunning,
    /// It is not allowed.
    Refused,
}

impl Code {
    /// The exit code of a command that fails so. 0 is for one that does not.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::NotRunning => 4,
            Self::Refused => 5,
        }
    }
}

impl ApiError {
    /// A failure with no advice.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    /// [`Code::Failed`].
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Code::Failed, message)
    }

    /// [`Code::Usage`].
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Code::Usage, message)
    }

    /// [`Code::NotFound`].
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Code::NotFound, message)
    }

    /// [`Code::Refused`].
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Code::Refused, message)
    }

    /// The same with advice: what to do next.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}
