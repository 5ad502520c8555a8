//! What the kernel is asked for that Rust cannot check: namespaces, TUN devices, and what a child does before it
//! becomes another program. The only `unsafe` of the lab.
#![allow(unsafe_code)]

use std::{
    fs::{File, OpenOptions},
    io,
    os::{
        fd::AsFd,
        unix::{fs::OpenOptionsExt, process::CommandExt},
    },
    process::Command,
    sync::Arc,
};

use rustix::{
    fs::OFlags,
    ioctl::{Setter, ioctl, opcode},
    process::{Signal, getpid, getppid, set_parent_process_death_signal},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe},
};

const TUN_DEVICE: &str = "/dev/net/tun";
/// A device of the network layer (IFF_TUN) that puts nothing before the packet (IFF_NO_PI); linux/if_tun.h.
const TUN_WITHOUT_HEADER: u16 = 0x0001 | 0x1000;

/// `struct ifreq` as TUNSETIFF reads it: a name, flags, and the rest of the union.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

/// Gives the calling thread a network namespace of its own, in which there is nothing but a loopback that is down.
pub(super) fn leave_network() -> io::Result<()> {
    // SAFETY: unsafe only for CLONE_FILES, which would split the table of file descriptors.
    Ok(unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?)
}

/// Gives the whole process a user namespace of its own. Fails once it has more than one thread.
pub(super) fn leave_users() -> io::Result<()> {
    // SAFETY: as above.
    Ok(unsafe { unshare_unsafe(UnshareFlags::NEWUSER) }?)
}

/// Makes a TUN device in the calling thread's network namespace. It is there as long as the descriptor is open.
pub(super) fn open_tun(name: &str) -> io::Result<File> {
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).write(true).custom_flags(nonblocking).open(TUN_DEVICE)?;
    let mut request = InterfaceRequest { name: [0; 16], flags: TUN_WITHOUT_HEADER, rest: [0; 22] };
    // The last byte stays zero.
    for (to, from) in request.name[..15].iter_mut().zip(name.bytes()) {
        *to = from;
    }
    // TUNSETIFF is declared with an int, but reads an ifreq.
    const TUNSETIFF: u32 = opcode::write::<i32>(b'T', 202) as u32;
    // SAFETY: TUNSETIFF reads one ifreq, whose layout is the structure's, and keeps no pointer to it.
    unsafe { ioctl(&file, Setter::<TUNSETIFF, InterfaceRequest>::new(request)) }?;
    Ok(file)
}

/// Lets the program that a command runs live in a network namespace, and die with the thread that starts it.
pub(super) fn run_inside(command: &mut Command, link: Arc<File>) {
    let parent = getpid();
    let enter = move || {
        move_into_link_name_space(link.as_fd(), Some(LinkNameSpaceType::Network))?;
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have died before it was asked for.
        if getppid() != Some(parent) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    };
    // SAFETY: between fork and exec only async-signal-safe calls are allowed: these are bare system calls, and nothing
    // is allocated.
    unsafe { command.pre_exec(enter) };
}

/// Calls [`before_main`](crate::lab::before_main) before the program's `main`, which for a test binary means before the
/// harness has started a thread. Once, at the top level of a binary that uses the lab.
#[macro_export]
macro_rules! lab_before_main {
    () => {
        #[allow(unsafe_code)]
        #[used]
        // SAFETY: the section holds functions of this type, and this one needs nothing that `main` sets up.
        #[unsafe(link_section = ".init_array")]
        static BEFORE_MAIN: extern "C" fn() = $crate::lab::before_main;
    };
}
