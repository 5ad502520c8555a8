//! What children and other supernodes may rely on.

mod across;
mod attaching;
mod departures;
mod dial_backs;
mod directory;
mod groups;
mod hostile;
mod meeting;
mod relays;
mod searching;
mod signals;
mod silence;
