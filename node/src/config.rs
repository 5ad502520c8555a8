//! What a person may set: in a file, on the command line, or not at all.
//!
//! `deploy/nearmesh.toml` shows every key. A key that is not known is an error, because a misspelt one that is
//! ignored is worse. What the command line says wins over the file, and the file over the defaults.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
};

use clap::ValueEnum;
use nearmesh_relay::proto::forward::{Limits, limits};
use serde::Deserialize;
use thiserror::Error;

use crate::{
    bootstrap::{HostName, ParseHostNameError},
    profile::Profile,
};

/// The file that is read when none is named, if it is in the profile.
pub const FILE_NAME: &str = "nearmesh.toml";
/// Children that a supernode would like to have at most (FastTrack's ratio, 100:1; KaZaA's supernodes had 100 to 160).
pub const DEFAULT_CAPACITY: u32 = nearmesh_supernode::proto::DEFAULT_CAPACITY;
/// Uploads at a time (guess: enough to fill a home line, few enough for each to be quick).
pub const DEFAULT_UPLOAD_SLOTS: u32 = 8;
/// Pairs that are relayed at a time, unless the user says otherwise.
pub const DEFAULT_RELAY_SESSIONS: u32 = limits::SESSIONS as u32;
/// Most pairs that are relayed at a time (at 200 bytes each in the tables and two streams; guess: far beyond a home line).
const MAX_RELAY_SESSIONS: u32 = 100_000;
/// Most children (guess: far beyond what one machine's index is measured for).
const MAX_CAPACITY: u32 = 100_000;
/// Most uploads at a time (guess).
const MAX_UPLOAD_SLOTS: u32 = 1000;
/// The port of DNS servers.
const DNS_PORT: u16 = 53;
/// Largest configuration file, in bytes (guess).
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// When a node becomes a supernode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Promote {
    /// When the net is short of supernodes and this node can be one; until there are too many.
    #[default]
    Auto,
    /// At once, and as long as it runs.
    Always,
    /// Not at all.
    Never,
}

/// The configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The UDP address of everything.
    pub listen: Option<SocketAddr>,
    /// When to be a supernode.
    pub promote: Option<Promote>,
    /// Children to take as a supernode while others have room; three times as many while they have not.
    pub capacity: Option<u32>,
    /// Whether bytes on this line cost money, where the system does not tell: then it never makes itself a supernode.
    pub metered: Option<bool>,
    /// Files and folders to share, beyond those that were added by hand. Absolute.
    pub share: Vec<PathBuf>,
    /// Where files go that others send. Absolute.
    pub inbox: Option<PathBuf>,
    /// Where downloads go when nobody says. Absolute.
    pub downloads: Option<PathBuf>,
    /// Uploads at a time.
    pub upload_slots: Option<u32>,
    /// Whether to forward packets for others.
    pub relay: Option<bool>,
    /// Bytes a second to forward for all others together; 0 for no limit.
    pub relay_rate: Option<u64>,
    /// Pairs to forward for at a time.
    pub relay_sessions: Option<u32>,
    /// Whether the router is asked to let everybody in.
    pub port_mapping: Option<bool>,
    /// A file that lists supernodes. Absolute.
    pub bootstrap_list: Option<PathBuf>,
    /// A DNS name behind which there are supernodes; empty for none.
    pub bootstrap_name: Option<String>,
    /// Whom to ask for names: an address, with a port or without, or "system".
    pub dns_server: Option<String>,
    /// Whether supernodes announce themselves in the local network and others look for them there.
    pub local_discovery: Option<bool>,
    /// What is logged, in the syntax of NEARMESH_LOG.
    pub log: Option<String>,
}

/// What the command line of `up` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Over `listen`.
    pub listen: Option<SocketAddr>,
    /// Over `promote`.
    pub promote: Option<Promote>,
    /// Over `relay`.
    pub relay: Option<bool>,
    /// Over `relay_rate`.
    pub relay_rate: Option<u64>,
    /// Over `relay_sessions`.
    pub relay_sessions: Option<u32>,
    /// Over `bootstrap_list`. Absolute.
    pub bootstrap_list: Option<PathBuf>,
    /// Over `bootstrap_name`.
    pub bootstrap_name: Option<HostName>,
    /// Over `dns_server`.
    pub dns_server: Option<DnsServer>,
    /// Over `local_discovery`.
    pub local_discovery: Option<bool>,
}

/// Who is asked for names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsServer {
    /// Those that the system asks.
    System,
    /// This one.
    At(SocketAddr),
}

/// Where supernodes may be found, beyond ticket and host cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootstrapSettings {
    /// A file that lists them.
    pub list: Option<PathBuf>,
    /// A DNS name.
    pub name: Option<HostName>,
    /// Who is asked for names, if not those whom the system asks.
    pub dns_server: Option<SocketAddr>,
    /// Whether they announce themselves in the local network.
    pub local: bool,
}

/// Packets of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelaySettings {
    /// Whether to forward them.
    pub on: bool,
    /// Bytes a second for all together; 0 for no limit.
    pub rate: u64,
    /// Pairs at a time.
    pub sessions: u32,
}

/// What holds in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The UDP address of everything; with port 0 the system chooses one.
    pub listen: SocketAddr,
    /// When to be a supernode.
    pub promote: Promote,
    /// Children to take as a supernode while others have room; three times as many while they have not.
    pub capacity: u32,
    /// What the user says of the line.
    pub metered: Option<bool>,
    /// Files and folders to share, beyond those that were added by hand.
    pub share: Vec<PathBuf>,
    /// Where files go that others send.
    pub inbox: PathBuf,
    /// Where downloads go when nobody says.
    pub downloads: PathBuf,
    /// Uploads at a time.
    pub upload_slots: u32,
    /// Packets of others.
    pub relay: RelaySettings,
    /// Whether the router is asked to let everybody in.
    pub port_mapping: bool,
    /// Where supernodes may be found, beyond ticket and host cache.
    pub bootstrap: BootstrapSettings,
    /// What is logged.
    pub log: Option<String>,
}

/// Why a configuration file is refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("the configuration file {path:?} cannot be read: {source}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no TOML, or a key or value is not known.
    #[error("the configuration file {path:?} is wrong: {source}")]
    Syntax {
        /// Which.
        path: PathBuf,
        /// Where, and what.
        source: Box<toml::de::Error>,
    },
    /// A value makes no sense.
    #[error("the configuration file {path:?} is wrong: `{key}` must be {must}")]
    Value {
        /// Which.
        path: PathBuf,
        /// Whose value.
        key: &'static str,
        /// What it must be.
        must: String,
    },
}

impl Config {
    /// Reads the named file, or the profile's own if it has one.
    ///
    /// # Errors
    /// If a named file is missing, or any is wrong.
    pub fn load(named: Option<&Path>, profile: &Profile) -> Result<Self, ConfigError> {
        let path = match named {
            Some(path) => path.to_owned(),
            None => {
                let usual = profile.directory().join(FILE_NAME);
                if !usual.exists() {
                    return Ok(Self::default());
                }
                usual
            }
        };
        match read_bounded(&path) {
            Ok(text) => Self::parse(&text, &path),
            Err(source) => Err(ConfigError::Unreadable { path, source }),
        }
    }

    /// Reads the text of the file at `path`.
    ///
    /// # Errors
    /// If it is wrong.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text)
            .map_err(|source| ConfigError::Syntax { path: path.to_owned(), source: source.into() })?;
        let wrong = |key, must| ConfigError::Value { path: path.to_owned(), key, must };
        let between = |key, value: Option<u32>, most| match value {
            Some(value) if !(1..=most).contains(&value) => Err(wrong(key, format!("from 1 to {most}"))),
            _ => Ok(()),
        };
        between("capacity", config.capacity, MAX_CAPACITY)?;
        between("upload_slots", config.upload_slots, MAX_UPLOAD_SLOTS)?;
        between("relay_sessions", config.relay_sessions, MAX_RELAY_SESSIONS)?;
        let absolute = |key, path: &Path| match path.is_absolute() {
            true => Ok(()),
            false => Err(wrong(key, format!("an absolute path, and {path:?} is none"))),
        };
        config.share.iter().try_for_each(|path| absolute("share", path))?;
        config.inbox.iter().try_for_each(|path| absolute("inbox", path))?;
        config.downloads.iter().try_for_each(|path| absolute("downloads", path))?;
        config.bootstrap_list.iter().try_for_each(|path| absolute("bootstrap_list", path))?;
        if config.name().is_err() {
            return Err(wrong("bootstrap_name", "a DNS name, or empty".to_owned()));
        }
        if config.dns_server.as_ref().is_some_and(|text| text.parse::<DnsServer>().is_err()) {
            return Err(wrong("dns_server", DNS_SERVER_FORM.to_owned()));
        }
        Ok(config)
    }

    /// The DNS name behind which there are supernodes.
    fn name(&self) -> Result<Option<HostName>, ParseHostNameError> {
        self.bootstrap_name.as_deref().filter(|name| !name.is_empty()).map(str::parse).transpose()
    }

    /// Fills in what nobody said.
    pub fn settle(self, overrides: Overrides, profile: &Profile) -> Settings {
        let name = overrides.bootstrap_name.or_else(|| self.name().ok().flatten());
        let server = self.dns_server.as_deref().and_then(|text| text.parse().ok());
        let bootstrap = BootstrapSettings {
            list: overrides.bootstrap_list.or(self.bootstrap_list),
            name,
            dns_server: match overrides.dns_server.or(server) {
                Some(DnsServer::At(address)) => Some(address),
                Some(DnsServer::System) | None => None,
            },
            local: overrides.local_discovery.or(self.local_discovery).unwrap_or(true),
        };
        Settings {
            bootstrap,
            listen: overrides
                .listen
                .or(self.listen)
                .unwrap_or_else(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))),
            promote: overrides.promote.or(self.promote).unwrap_or_default(),
            capacity: self.capacity.unwrap_or(DEFAULT_CAPACITY),
            metered: self.metered,
            share: self.share,
            inbox: self.inbox.unwrap_or_else(|| profile.inbox()),
            downloads: self.downloads.unwrap_or_else(|| profile.downloads()),
            upload_slots: self.upload_slots.unwrap_or(DEFAULT_UPLOAD_SLOTS),
            relay: RelaySettings {
                on: overrides.relay.or(self.relay).unwrap_or(true),
                rate: overrides.relay_rate.or(self.relay_rate).unwrap_or(0),
                sessions: overrides.relay_sessions.or(self.relay_sessions).unwrap_or(DEFAULT_RELAY_SESSIONS),
            },
            port_mapping: self.port_mapping.unwrap_or(true),
            log: self.log,
        }
    }
}

/// What stands for a DNS server.
const DNS_SERVER_FORM: &str = "an IP address, with a port or without, or \"system\"";

/// Why a text names no DNS server.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("it must be {DNS_SERVER_FORM}")]
pub struct ParseDnsServerError;

impl FromStr for DnsServer {
    type Err = ParseDnsServerError;

    fn from_str(text: &str) -> Result<Self, ParseDnsServerError> {
        let alone = || text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS_PORT));
        match text {
            "system" => Ok(Self::System),
            _ => text.parse().or_else(|_| alone()).map(Self::At).map_err(|_| ParseDnsServerError),
        }
    }
}

impl RelaySettings {
    /// What the relay may lend, if it is on.
    pub fn limits(&self) -> Option<Limits> {
        let usual = Limits::default();
        let rate = (self.rate > 0).then_some(self.rate);
        // Who says how much in all has said enough: a pair that is alone may have all of it.
        let pair_rate = if rate.is_some() { None } else { usual.pair_rate };
        let sessions = self.sessions as usize;
        self.on.then_some(Limits { sessions, rate, pair_rate, ..usual })
    }
}

fn read_bounded(path: &Path) -> io::Result<String> {
    if fs::metadata(path)?.len() > MAX_FILE_BYTES {
        return Err(io::Error::other(format!("it is larger than {MAX_FILE_BYTES} bytes")));
    }
    fs::read_to_string(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("nearmesh.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_misspelt_key_is_refused_by_its_name() {
        let error = parse("listn = \"127.0.0.1:0\"").unwrap_err();
        assert!(error.contains("listn") && error.contains("line 1"), "{error}");
    }

    #[test]
    fn a_value_out_of_bounds_is_refused_by_its_key() {
        assert!(parse("upload_slots = 0").unwrap_err().contains("`upload_slots` must be from 1"));
        assert!(parse("share = [\"Music\"]").unwrap_err().contains("`share` must be an absolute path"));
    }

    #[test]
    fn the_command_line_wins_over_the_file_and_the_file_over_the_defaults() {
        let profile = Profile::locate(Some(Path::new("/srv/alice"))).unwrap();
        let config = parse("listen = \"127.0.0.1:1\"\npromote = \"never\"").unwrap();
        let overrides = Overrides { promote: Some(Promote::Always), ..Overrides::default() };
        let settings = config.settle(overrides, &profile);
        assert_eq!(settings.promote, Promote::Always);
        assert_eq!(settings.listen.port(), 1);
        assert_eq!(settings.upload_slots, DEFAULT_UPLOAD_SLOTS);
        assert_eq!(settings.inbox, Path::new("/srv/alice/inbox"));
    }

    #[test]
    fn a_node_relays_without_limit_on_the_rate_unless_its_user_says_otherwise() {
        let profile = Profile::locate(Some(Path::new("/srv/alice"))).unwrap();
        let limits = |text: &str, overrides| parse(text).unwrap().settle(overrides, &profile).relay.limits();
        let usual = limits("", Overrides::default()).unwrap();
        assert_eq!((usual.rate, usual.pair_rate), (None, Some(limits::PAIR_RATE)));
        assert_eq!(usual.sessions, limits::SESSIONS);
        let own = limits("relay_rate = 1000000\nrelay_sessions = 20", Overrides::default()).unwrap();
        assert_eq!((own.rate, own.pair_rate, own.sessions), (Some(1_000_000), None, 20));
        assert_eq!(limits("relay = false", Overrides::default()), None);
        let yes = Overrides { relay: Some(true), relay_rate: Some(7), ..Overrides::default() };
        assert_eq!(limits("relay = false\nrelay_rate = 9", yes).unwrap().rate, Some(7));
        assert!(parse("relay_sessions = 0").unwrap_err().contains("`relay_sessions` must be from 1"));
    }

    #[test]
    fn the_ways_back_into_a_net_are_set_in_the_file_and_overridden_by_the_command_line() {
        let profile = Profile::locate(Some(Path::new("/srv/alice"))).unwrap();
        let settled = |text: &str, overrides| parse(text).unwrap().settle(overrides, &profile).bootstrap;
        let none = BootstrapSettings { list: None, name: None, dns_server: None, local: true };
        assert_eq!(settled("bootstrap_name = \"\"\ndns_server = \"system\"", Overrides::default()), none);
        let text = "bootstrap_list = \"/etc/hubs\"\nbootstrap_name = \"hubs.example.org\"\ndns_server = \"192.0.2.53\"\n\
                    local_discovery = false";
        let set = BootstrapSettings {
            list: Some("/etc/hubs".into()),
            name: Some("hubs.example.org".parse().unwrap()),
            dns_server: Some("192.0.2.53:53".parse().unwrap()),
            local: false,
        };
        assert_eq!(settled(text, Overrides::default()), set);
        let overrides = Overrides {
            bootstrap_list: Some("/tmp/hubs".into()),
            dns_server: Some(DnsServer::System),
            ..Overrides::default()
        };
        let overridden = BootstrapSettings { list: Some("/tmp/hubs".into()), dns_server: None, ..set };
        assert_eq!(settled(text, overrides), overridden);
        assert!(parse("bootstrap_name = \"192.0.2.1\"").unwrap_err().contains("`bootstrap_name` must be"));
        assert!(parse("dns_server = \"router\"").unwrap_err().contains("`dns_server` must be"));
        assert!(parse("bootstrap_list = \"hubs\"").unwrap_err().contains("absolute"));
    }
}
