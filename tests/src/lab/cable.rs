//! The end of a cable that is not in the LAN's own gateway: a host's `eth0`, or the `wan` of a home behind a carrier.

use std::{
    io::{self, ErrorKind},
    net::{Ipv4Addr, TcpStream},
    time::{Duration, Instant},
};

use super::{addresses::Lan, namespace::Namespace, tools};

/// For the other end to answer: it takes milliseconds, on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks whether it does.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// A port on which nothing listens (tcpmux).
const NOBODY: u16 = 1;
/// Until a neighbour that did not answer is asked again. The default of a second is as long as a whole test.
const ASK_AGAIN_MS: &str = "20";

/// Gives a device its address (and no other), and waits until its LAN's gateway answers.
pub(super) fn configure(namespace: &Namespace, device: &str, address: Ipv4Addr, lan: Lan) -> io::Result<()> {
    let (prefix, via) = (lan.prefix, lan.gateway());
    ask_again_soon(namespace, device)?;
    let script = format!(
        "addr flush dev {device}\naddr add {address}/{prefix} dev {device}\nlink set {device} up\n\
         route replace default via {via}\n"
    );
    tools::ip(namespace, &script)?;
    let begun = Instant::now();
    while !namespace.run(|| answers(via))? {
        if begun.elapsed() > PATIENCE {
            return Err(io::Error::new(ErrorKind::TimedOut, format!("{via} does not answer {address}")));
        }
    }
    Ok(())
}

/// Lets a device look again soon for neighbours that have just been plugged in.
pub(super) fn ask_again_soon(namespace: &Namespace, device: &str) -> io::Result<()> {
    tools::set(namespace, &[(&format!("net/ipv4/neigh/{device}/retrans_time_ms"), ASK_AGAIN_MS)])
}

/// Whether a gateway refuses a connection, which it does if it hears of it.
fn answers(gateway: Ipv4Addr) -> bool {
    let refused = TcpStream::connect_timeout(&(gateway, NOBODY).into(), LOOK_EVERY);
    refused.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}
