//! What DNS knows: supernodes behind a name, and the addresses of names in a list.
//!
//! | record | at | says |
//! |---|---|---|
//! | TXT | `NAME` | `nearmesh=<node id>@address:port` in each string; other strings are somebody else's |
//! | SRV | `_nearmesh._udp.NAME` | port and target; the target's first label is the node id: `<node id>.hub.example.org` |
//!
//! DNS is not authenticated, and need not be: a wrong answer costs a dial.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures_util::{StreamExt, future::join, stream};
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    lookup::Lookup,
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::RData,
};
use nearmesh_common::{NodeId, dialable::is_dialable, presence::MAX_ADDRESSES, wire::NodeAddress};

use super::Answer;
use crate::bootstrap::{Host, HostName, MAX_POINTERS, Pointer};

/// Before each pointer in a TXT record.
const PREFIX: &[u8] = b"nearmesh=";
/// Before the name, for SRV records (RFC 2782).
const SERVICE: &str = "_nearmesh._udp";
/// How long one server may take to answer once (as glibc's resolver: 5 s; shorter, because a way has to end in time).
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a question is repeated.
const ATTEMPTS: usize = 1;
/// Different names that are resolved for one answer (guess: each may cost a query to somebody).
const MAX_NAMES: usize = 32;
/// Of which so many at a time (guess).
const AT_A_TIME: usize = 8;
/// Answers kept by the resolver, for as long as they are good and the question lasts.
const CACHE: u64 = 64;

/// A resolver, for as long as one question lasts: the system's settings may be others the next time.
pub struct Names(TokioResolver);

impl Names {
    /// Asks this server, or those that the system names.
    ///
    /// # Errors
    /// If the system names none that can be used.
    pub fn new(server: Option<SocketAddr>) -> Result<Self, NetError> {
        let mut builder = match server {
            None => TokioResolver::builder_tokio()?,
            Some(server) => {
                let mut connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
                connections.iter_mut().for_each(|connection| connection.port = server.port());
                let server = NameServerConfig::new(server.ip(), true, connections.into());
                let config = ResolverConfig::from_name_servers(vec![server]);
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
        };
        let options = builder.options_mut();
        (options.timeout, options.attempts, options.cache_size) = (QUERY_TIMEOUT, ATTEMPTS, CACHE);
        Ok(Self(builder.build()?))
    }

    /// The supernodes behind a name.
    pub async fn ask(&self, name: &HostName) -> Answer {
        let (texts, services) = join(
            self.0.txt_lookup(absolute(name)),
            self.0.srv_lookup(format!("{SERVICE}.{}", absolute(name))),
        )
        .await;
        let mut problems: Vec<String> = [&texts, &services]
            .into_iter()
            .filter_map(|answer| answer.as_ref().err())
            .filter(|error| !error.is_no_records_found())
            .map(ToString::to_string)
            .collect();
        let (mut pointers, wrong) = texts.as_ref().map(from_texts).unwrap_or_default();
        problems.extend(wrong);
        pointers.extend(services.as_ref().map(from_services).unwrap_or_default());
        pointers.truncate(MAX_POINTERS);
        let (found, unresolved) = self.locate(pointers).await;
        problems.extend(unresolved);
        if found.is_empty() && problems.is_empty() {
            problems.push("it names no supernodes".to_owned());
        }
        problems.dedup();
        Answer { found, problem: (!problems.is_empty()).then(|| problems.join("; ")) }
    }

    /// Where the pointers point to, and what went wrong.
    async fn locate(&self, pointers: Vec<Pointer>) -> (Vec<NodeAddress>, Option<String>) {
        let mut names: Vec<HostName> =
            pointers.iter().filter_map(|pointer| pointer.host.name().cloned()).collect();
        names.sort();
        names.dedup();
        names.truncate(MAX_NAMES);
        let resolved: BTreeMap<HostName, Vec<IpAddr>> = stream::iter(names)
            .map(|name| async move {
                // A name without a dot may be meant within the system's search domains.
                let asked = if name.as_str().contains('.') { absolute(&name) } else { name.to_string() };
                let found = self.0.lookup_ip(asked).await;
                let ips = found.map(|found| found.iter().take(MAX_ADDRESSES).collect()).unwrap_or_default();
                (name, ips)
            })
            .buffer_unordered(AT_A_TIME)
            .collect()
            .await;
        let unresolved: Vec<&HostName> =
            resolved.iter().filter(|(_, ips)| ips.is_empty()).map(|(name, _)| name).collect();
        let problem = unresolved.first().map(|first| unresolved_text(first, unresolved.len()));
        (gather(&pointers, |name| resolved.get(name).cloned().unwrap_or_default()), problem)
    }
}

/// Where these pointers point to. No resolver is made where there is nothing to resolve.
pub async fn resolve(
    pointers: Vec<Pointer>,
    server: Option<SocketAddr>,
) -> (Vec<NodeAddress>, Option<String>) {
    if pointers.iter().all(|pointer| pointer.host.name().is_none()) {
        return (gather(&pointers, |_| Vec::new()), None);
    }
    match Names::new(server) {
        Ok(names) => names.locate(pointers).await,
        Err(error) => (gather(&pointers, |_| Vec::new()), Some(format!("names cannot be resolved: {error}"))),
    }
}

fn absolute(name: &HostName) -> String {
    format!("{name}.")
}

fn unresolved_text(first: &HostName, count: usize) -> String {
    match count {
        1 => format!("no address is known for {first}"),
        _ => format!("no address is known for {first} and {} other names", count - 1),
    }
}

/// One entry for each node, in the order of the pointers, with the addresses that can be dialled.
fn gather(pointers: &[Pointer], resolved: impl Fn(&HostName) -> Vec<IpAddr>) -> Vec<NodeAddress> {
    let mut found: Vec<NodeAddress> = Vec::new();
    let mut places: BTreeMap<NodeId, usize> = BTreeMap::new();
    for pointer in pointers {
        let ips = match &pointer.host {
            Host::Ip(ip) => vec![*ip],
            Host::Name(name) => resolved(name),
        };
        for address in
            ips.into_iter().map(|ip| SocketAddr::new(ip, pointer.port)).filter(|at| is_dialable(*at))
        {
            let place = *places.entry(pointer.node).or_insert_with(|| {
                found.push(NodeAddress { node: pointer.node, addresses: Vec::new() });
                found.len() - 1
            });
            let addresses = &mut found[place].addresses;
            if addresses.len() < MAX_ADDRESSES && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    found
}

/// The pointers in TXT records, and what is wrong with the first that is none.
fn from_texts(answer: &Lookup) -> (Vec<Pointer>, Option<String>) {
    let records = answer.answers().iter().filter_map(|record| match &record.data {
        RData::TXT(text) => Some(&text.txt_data),
        _ => None,
    });
    let ours = records.flat_map(|strings| strings.iter()).filter_map(|text| text.strip_prefix(PREFIX));
    let mut problem = None;
    let mut pointers = Vec::new();
    for text in ours.take(MAX_POINTERS) {
        match String::from_utf8_lossy(text).parse::<Pointer>() {
            Ok(pointer) => pointers.push(pointer),
            Err(error) => problem = problem.or_else(|| Some(format!("a TXT record is wrong: {error}"))),
        }
    }
    (pointers, problem)
}

/// The pointers in SRV records, those with the smallest priority first.
fn from_services(answer: &Lookup) -> Vec<Pointer> {
    let mut services: Vec<(u16, Pointer)> = answer
        .answers()
        .iter()
        .filter_map(|record| match &record.data {
            RData::SRV(service) => {
                let target: HostName = service.target.to_ascii().parse().ok()?;
                let node = target.leading_node()?;
                let pointer = Pointer { node, host: Host::Name(target), port: service.port };
                (service.port > 0).then_some((service.priority, pointer))
            }
            _ => None,
        })
        .take(MAX_POINTERS)
        .collect();
    services.sort_by_key(|(priority, _)| *priority);
    services.into_iter().map(|(_, pointer)| pointer).collect()
}

impl Host {
    fn name(&self) -> Option<&HostName> {
        match self {
            Self::Ip(_) => None,
            Self::Name(name) => Some(name),
        }
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names")
    }
}
