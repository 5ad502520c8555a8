//! The system's own tools: `ip` and `nft`, fed one script each time, because starting them is what a lab's time goes
//! into.

use std::{
    env,
    io::{self, Write},
    path::PathBuf,
    process::{Command, Stdio},
};

use super::namespace::Namespace;

/// Where they may be that is not in everybody's PATH.
const SYSTEM_FOLDERS: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin";

/// Where a tool is.
pub(super) fn find(tool: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(env::split_paths(SYSTEM_FOLDERS));
    folders.map(|folder| folder.join(tool)).find(|file| file.is_file())
}

/// `ip -batch -` in a namespace.
pub(super) fn ip(namespace: &Namespace, script: &str) -> io::Result<()> {
    feed(namespace, "ip", &["-batch", "-"], script).map(drop)
}

/// `nft -f -` in a namespace.
pub(super) fn nft(namespace: &Namespace, rules: &str) -> io::Result<()> {
    feed(namespace, "nft", &["-f", "-"], rules).map(drop)
}

/// What a tool prints in a namespace.
pub(super) fn ask(namespace: &Namespace, tool: &str, arguments: &[&str]) -> io::Result<String> {
    feed(namespace, tool, arguments, "")
}

/// For [`set_if_there`]: so that nothing is sent that nobody asked for.
pub(super) const WITHOUT_IPV6: [(&str, &str); 2] =
    [("net/ipv6/conf/all/disable_ipv6", "1"), ("net/ipv6/conf/default/disable_ipv6", "1")];

/// Sets kernel parameters, by their path below `/proc/sys`.
pub(super) fn set(namespace: &Namespace, parameters: &[(&str, &str)]) -> io::Result<()> {
    namespace.run(|| parameters.iter().try_for_each(|(path, value)| write(path, value)))?
}

/// Sets those that this kernel has.
pub(super) fn set_if_there(namespace: &Namespace, parameters: &[(&str, &str)]) -> io::Result<()> {
    let set = |(path, value): &(&str, &str)| match write(path, value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    };
    namespace.run(|| parameters.iter().try_for_each(set))?
}

fn write(path: &str, value: &str) -> io::Result<()> {
    std::fs::write(format!("/proc/sys/{path}"), value)
        .map_err(|error| io::Error::new(error.kind(), format!("{path} cannot be set: {error}")))
}

fn feed(namespace: &Namespace, tool: &str, arguments: &[&str], script: &str) -> io::Result<String> {
    let program = find(tool).ok_or_else(|| io::Error::other(format!("{tool} is not installed")))?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    namespace.enter(&mut command);
    let mut child = command.spawn()?;
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // A tool that gives up early says why on its standard error.
    let written = stdin.write_all(script.as_bytes());
    drop(stdin);
    let output = child.wait_with_output()?;
    if output.status.success() {
        return written.map(|()| String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{tool}: {}\n{script}", complaint.trim())))
}
