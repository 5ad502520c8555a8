//! What children and other supernodes may rely on.

mod attaching;
mod dial_backs;
mod directory;
mod hostile;
mod meeting;
mod relays;
mod searching;
mod signals;
