//! What the owner of a node meets: the command line, and under it the control API. Behind both answers a script.

mod api;
mod command_line;
mod scripted;
