//! What children and other supernodes may rely on.

mod attaching;
mod dial_backs;
mod directory;
mod groups;
mod hostile;
mod meeting;
mod relays;
mod searching;
mod signals;
