//! Whether this machine lets us build a lab at all, and the user namespace in which an ordinary user may.

use std::{
    fs,
    io::{self, Write},
    sync::OnceLock,
};

use rustix::process::{getgid, getuid};

use super::{
    namespace::Namespace,
    rules::{self, Ruleset},
    system, tools,
};

/// CAP_NET_ADMIN, CAP_NET_RAW and CAP_SYS_ADMIN, by their numbers in linux/capability.h.
const NEEDED_CAPABILITIES: u64 = 1 << 12 | 1 << 13 | 1 << 21;
/// Set where a skipped test is a failure.
const NO_SKIP: &str = "NEARMESH_NO_SKIP";

static USER_NAMESPACE: OnceLock<Result<(), String>> = OnceLock::new();
static AVAILABLE: OnceLock<Result<(), String>> = OnceLock::new();

/// Moves a process that is not root into a user namespace in which it is. Must run before the process has a second
/// thread: first thing in `main`, or by [`lab_before_main`](crate::lab_before_main). Does nothing for root. Whether it went well is
/// told by [`available`].
pub extern "C" fn before_main() {
    USER_NAMESPACE.get_or_init(|| if is_capable() { Ok(()) } else { become_root() });
}

/// Whether a lab can be built here; if not, why.
pub fn available() -> Result<(), String> {
    AVAILABLE.get_or_init(try_out).clone()
}

/// Whether a lab can be built here. If not, says so where it is seen even if the test's output is not; and fails the
/// test where `NEARMESH_NO_SKIP` is set.
pub fn available_or_skip() -> bool {
    let Err(reason) = available() else { return true };
    assert!(std::env::var_os(NO_SKIP).is_none(), "{NO_SKIP} is set, but there can be no lab: {reason}");
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("skipped: {test}: there can be no lab here: {reason}\n");
    // Not by a macro: those are captured.
    let _ = io::stderr().write_all(line.as_bytes());
    false
}

fn is_capable() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    effective & NEEDED_CAPABILITIES == NEEDED_CAPABILITIES
}

fn become_root() -> Result<(), String> {
    let (user, group) = (getuid().as_raw(), getgid().as_raw());
    system::leave_users().map_err(|error| {
        format!(
            "no user namespace can be made: {error} (see kernel.apparmor_restrict_unprivileged_userns, \
             kernel.unprivileged_userns_clone and user.max_user_namespaces, or run as root)"
        )
    })?;
    let write = |file: &str, text: String| {
        fs::write(format!("/proc/self/{file}"), text)
            .map_err(|error| format!("/proc/self/{file} cannot be written: {error}"))
    };
    write("setgroups", "deny".to_owned())?;
    write("uid_map", format!("0 {user} 1"))?;
    write("gid_map", format!("0 {group} 1"))
}

fn try_out() -> Result<(), String> {
    for tool in ["ip", "nft"] {
        tools::find(tool).ok_or_else(|| format!("{tool} is not installed"))?;
    }
    let namespace = Namespace::new().map_err(|error| match USER_NAMESPACE.get() {
        Some(Err(reason)) => reason.clone(),
        Some(Ok(())) => format!("no network namespace can be made: {error}"),
        None => format!("no network namespace can be made: {error} (lab_before_main! was not called)"),
    })?;
    let tun = namespace.run(|| system::open_tun("wan")).and_then(|tun| tun);
    tun.map_err(|error| format!("no TUN device can be made: /dev/net/tun: {error} (it should be 0666)"))?;
    tools::nft(&namespace, &rules::text(&Ruleset::trial()))
        .map_err(|error| format!("the kernel's NAT cannot be used: {error}"))
}
