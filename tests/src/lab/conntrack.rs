//! The kernel's table of connections, emptied without a tool: one netlink message (linux/netfilter/nfnetlink_conntrack.h).

use std::io;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, sendto, socket_with,
};

/// Subsystem conntrack, message "delete": without a tuple, all of them.
const DELETE_ALL: u16 = 1 << 8 | 2;
/// NLM_F_REQUEST and NLM_F_ACK.
const ASK_AND_ANSWER: u16 = 1 | 4;
const NLMSG_ERROR: u16 = 2;
const AF_INET: u8 = 2;

/// Makes the calling thread's network namespace forget all connections, and with them all mappings.
pub(super) fn flush() -> io::Result<()> {
    let socket =
        socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::NETFILTER))?;
    // struct nlmsghdr (length, type, flags, sequence, port), struct nfgenmsg (family, version, resource).
    let mut message = Vec::with_capacity(20);
    message.extend(20u32.to_ne_bytes());
    message.extend(DELETE_ALL.to_ne_bytes());
    message.extend(ASK_AND_ANSWER.to_ne_bytes());
    message.extend([0; 8]);
    message.extend([AF_INET, 0, 0, 0]);
    sendto(&socket, &message, SendFlags::empty(), &netlink::SocketAddrNetlink::new(0, 0))?;

    let mut answer = [0; 256];
    let (length, _) = recv(&socket, &mut answer, RecvFlags::empty())?;
    // struct nlmsgerr begins with 0, or minus the error.
    let read = |at: usize| answer.get(at..at + 4).filter(|_| at + 4 <= length);
    let kind = read(4).map(|bytes| u16::from_ne_bytes([bytes[0], bytes[1]]));
    match (kind, read(16).map(|bytes| i32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(NLMSG_ERROR), Some(error)) => Err(io::Error::from_raw_os_error(-error)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}
