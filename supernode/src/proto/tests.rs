//! What children and other supernodes may rely on.

mod attaching;
mod directory;
mod hostile;
mod meeting;
mod searching;
mod signals;
