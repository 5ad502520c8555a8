//! Network namespaces without names: each is a descriptor, and the kernel takes it away when the last one is closed
//! and the last process in it has ended.

use std::{
    fs::File, io, os::fd::AsFd, os::fd::AsRawFd, panic::resume_unwind, process::Command, sync::Arc, thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::system;

/// A network namespace.
#[derive(Clone, Debug)]
pub struct Namespace {
    link: Arc<File>,
}

impl Namespace {
    /// A new one, with nothing in it but a loopback that is down. No other thread of the process notices.
    pub fn new() -> io::Result<Self> {
        let made = thread::spawn(|| {
            system::leave_network()?;
            File::open("/proc/thread-self/ns/net")
        });
        let link = made.join().expect("making a namespace does not panic")?;
        Ok(Self { link: Arc::new(link) })
    }

    /// Runs a function in it, on a thread of its own that ends then. A socket that it makes stays in the namespace, and
    /// can be used from any thread; a tokio runtime that the caller is in is there too.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        let runtime = tokio::runtime::Handle::try_current().ok();
        let ended = thread::scope(|scope| {
            let inside = scope.spawn(move || {
                move_into_link_name_space(self.link.as_fd(), Some(LinkNameSpaceType::Network))?;
                let _runtime = runtime.as_ref().map(|runtime| runtime.enter());
                Ok(work())
            });
            inside.join()
        });
        ended.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Makes the program that a command runs live in it, and die with the thread that starts it.
    pub fn enter(&self, command: &mut Command) {
        system::run_inside(command, Arc::clone(&self.link));
    }

    /// A path to it, for programs that this process starts.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.link.as_raw_fd())
    }
}
