//! Asking the overlay on behalf of the user.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use nearmesh_common::wire::home::{Decline, RequestId};
use tokio::sync::mpsc;

use super::overlay::Command;
use crate::{
    control::api::ApiError,
    proto::{Event, Failure, Question},
};

/// Answers of one question that wait for whoever asked; a search has at most a few batches under way.
const AHEAD: usize = 256;

/// The way to the overlay task, for questions.
#[derive(Clone, Debug)]
pub struct Asker {
    overlay: mpsc::Sender<Command>,
    next: Arc<AtomicU64>,
}

/// A question under way. Dropping it cancels it.
pub struct Asked {
    id: RequestId,
    answers: mpsc::Receiver<Event>,
    overlay: mpsc::Sender<Command>,
}

impl Asker {
    /// Asks through this queue.
    pub fn new(overlay: mpsc::Sender<Command>) -> Self {
        Self { overlay, next: Arc::new(AtomicU64::new(1)) }
    }

    /// Puts a question to the net.
    ///
    /// # Errors
    /// If the node is going down.
    pub async fn ask(&self, question: Question) -> Result<Asked, ApiError> {
        let id = RequestId(self.next.fetch_add(1, Ordering::Relaxed));
        let (sender, answers) = mpsc::channel(AHEAD);
        let command = Command::Ask { id, question, answers: sender };
        self.overlay.send(command).await.map_err(|_| going_down())?;
        Ok(Asked { id, answers, overlay: self.overlay.clone() })
    }
}

impl Asked {
    /// The next answer; `None` after the last.
    ///
    /// # Errors
    /// If the question failed.
    pub async fn next(&mut self) -> Result<Option<Event>, ApiError> {
        match self.answers.recv().await {
            Some(Event::Failed { reason, .. }) => Err(explain(reason)),
            event => Ok(event),
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        // A full queue means that answers still come; the task notices then that nobody takes them.
        let _ = self.overlay.try_send(Command::Cancel(self.id));
    }
}

/// The error for a question that meets the end of the node.
pub fn going_down() -> ApiError {
    ApiError::failed("this node is going down").hint("start it again with `nearmesh up`")
}

fn explain(reason: Failure) -> ApiError {
    match reason {
        Failure::NoAnswer => ApiError::failed("no supernode of the net answered in time")
            .hint("`nearmesh status` says whether this node has a home; it keeps looking for one by itself"),
        Failure::Declined(Decline::NoWords) => {
            ApiError::usage("there is no word in it that could be searched for").hint("use letters or digits")
        }
        Failure::Declined(Decline::TooLong) => {
            ApiError::usage("the question is too long").hint("at most 16 words and 512 bytes")
        }
        Failure::Declined(Decline::TooMany) => {
            ApiError::refused("too many questions at once").hint("wait until the ones under way have ended")
        }
        Failure::Declined(Decline::NotAttached | Decline::Leaving) => {
            ApiError::failed("the home has just been lost").hint("ask again in a second")
        }
    }
}
