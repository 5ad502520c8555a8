//! What the owner of a node meets: the command line, and under it the control API. Behind both answers a script.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may")]

mod api;
mod command_line;
mod scripted;
