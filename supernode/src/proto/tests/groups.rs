//! Many supernodes: they divide themselves into groups, and find each other whatever happens.

mod crowd;
mod forming;
mod liars;
mod load;
mod surplus;
mod trouble;
