//! Pointers to supernodes, as people write them down: in a list, or behind a DNS name.
//!
//! One a line, `node-id@address:port` or `node-id@host.name:port`; what follows a `#` is a comment. A pointer is a hint where to
//! look, never a reason to believe: whoever answers there has to show the net's certificate for that node id.

mod list;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use nearmesh_common::{NodeId, id::ParseIdError};
use thiserror::Error;

pub use list::{List, MAX_LIST_BYTES, MAX_PROBLEMS, Problem};

/// Most pointers taken from one list or name: as many supernodes as a node remembers (Skype's host cache; Baset and Schulzrinne, 2006).
pub const MAX_POINTERS: usize = 200;
/// Longest host name, in bytes (RFC 1035, section 2.3.4, written with dots).
pub const MAX_HOST_NAME: usize = 253;
/// Longest label of a host name, in bytes (the same section).
const MAX_LABEL: usize = 63;

/// Where a supernode may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// Which.
    pub node: NodeId,
    /// On which machine.
    pub host: Host,
    /// At which UDP port.
    pub port: u16,
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// By its address.
    Ip(IpAddr),
    /// By a name that has to be resolved.
    Name(HostName),
}

/// A name that DNS may know, in lower case, without a dot at its end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostName(String);

/// Why a text is no pointer.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ParsePointerError {
    /// It has another form.
    #[error("it must be like node-id@address:port")]
    Form,
    /// What stands before the `@`.
    #[error("the node id is wrong: {0}")]
    Node(#[from] ParseIdError),
    /// What stands between.
    #[error(transparent)]
    Host(#[from] ParseHostNameError),
    /// What stands after the last colon.
    #[error("the port must be a number from 1 to 65535")]
    Port,
}

/// Why a text is no host name.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0:?} is no host name")]
pub struct ParseHostNameError(String);

impl FromStr for Pointer {
    type Err = ParsePointerError;

    fn from_str(text: &str) -> Result<Self, ParsePointerError> {
        let (node, place) = text.trim().split_once('@').ok_or(ParsePointerError::Form)?;
        let node = node.parse()?;
        if let Ok(address) = place.parse::<SocketAddr>() {
            let port = Some(address.port()).filter(|port| *port > 0).ok_or(ParsePointerError::Port)?;
            return Ok(Self { node, host: Host::Ip(address.ip()), port });
        }
        let (host, port) = place.rsplit_once(':').ok_or(ParsePointerError::Form)?;
        let host = Host::Name(host.parse()?);
        let port = port.parse().ok().filter(|port| *port > 0).ok_or(ParsePointerError::Port)?;
        Ok(Self { node, host, port })
    }
}

impl HostName {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The node that the first label names, in a name like `<node id>.example.org`: an id is one label long.
    pub fn leading_node(&self) -> Option<NodeId> {
        self.0.split('.').next()?.parse().ok()
    }
}

impl FromStr for HostName {
    type Err = ParseHostNameError;

    fn from_str(text: &str) -> Result<Self, ParseHostNameError> {
        let name = text.strip_suffix('.').unwrap_or(text);
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let label = |label: &str| {
            let hyphens_inside = !label.starts_with('-') && !label.ends_with('-');
            (1..=MAX_LABEL).contains(&label.len()) && label.bytes().all(allowed) && hyphens_inside
        };
        // A name of digits alone is an address that somebody mistyped (RFC 3696, section 2).
        let last = name.rsplit('.').next().unwrap_or_default();
        let numeric = last.bytes().all(|byte| byte.is_ascii_digit());
        if name.len() <= MAX_HOST_NAME && name.split('.').all(label) && !numeric {
            Ok(Self(name.to_ascii_lowercase()))
        } else {
            Err(ParseHostNameError(text.chars().take(MAX_HOST_NAME).collect()))
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, host, port } = self;
        match host {
            Host::Ip(ip) => write!(f, "{node}@{}", SocketAddr::new(*ip, *port)),
            Host::Name(name) => write!(f, "{node}@{name}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> NodeId {
        NodeId([0xa7; 32])
    }

    fn parse(place: &str) -> Result<Pointer, ParsePointerError> {
        format!("{}@{place}", node()).parse()
    }

    #[test]
    fn a_pointer_is_a_node_and_an_address_or_a_name() {
        for (text, host) in [
            ("192.0.2.7:7117", Host::Ip("192.0.2.7".parse().unwrap())),
            ("[2001:db8::7]:7117", Host::Ip("2001:db8::7".parse().unwrap())),
            ("hub.example.org:7117", Host::Name(HostName("hub.example.org".to_owned()))),
            ("Hub.Example.org.:7117", Host::Name(HostName("hub.example.org".to_owned()))),
        ] {
            assert_eq!(parse(text), Ok(Pointer { node: node(), host, port: 7117 }), "{text}");
        }
        let written = parse("[2001:db8::7]:1").unwrap().to_string();
        assert_eq!(written.parse(), parse("[2001:db8::7]:1"));
    }

    #[test]
    fn what_is_no_pointer_is_refused_with_the_reason() {
        assert_eq!("hub.example.org:7117".parse::<Pointer>(), Err(ParsePointerError::Form));
        assert!(matches!("abc@192.0.2.7:1".parse::<Pointer>(), Err(ParsePointerError::Node(_))));
        assert_eq!(parse("192.0.2.7"), Err(ParsePointerError::Form));
        assert_eq!(parse("192.0.2.7:0"), Err(ParsePointerError::Port));
        assert_eq!(parse("hub.example.org:70000"), Err(ParsePointerError::Port));
        for wrong in ["a b:1", "-.:1", ":1", "192.0.2.700:1", "a..b:1", &format!("{}:1", "x".repeat(64))] {
            assert!(
                matches!(parse(wrong), Err(ParsePointerError::Host(_) | ParsePointerError::Form)),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_name_may_carry_a_node_in_its_first_label() {
        let name = |text: &str| text.parse::<HostName>().unwrap();
        assert_eq!(name(&format!("{}.example.org", node())).leading_node(), Some(node()));
        assert_eq!(name("hub.example.org").leading_node(), None);
    }
}
