//! A DNS server that knows what a test tells it (RFC 1035, section 4), on loopback.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

/// Longest question.
const MAX_QUESTION: usize = 1500;
const HEADER: usize = 12;
/// Where the name of the question stands, as names are abbreviated.
const SAME_NAME: [u8; 2] = [0xc0, HEADER as u8];
const A: u16 = 1;
const TXT: u16 = 16;
const SRV: u16 = 33;
const INTERNET: u16 = 1;
/// Seconds for which an answer may be kept.
const TTL: u32 = 1;

/// What a record says.
#[derive(Clone, Debug)]
pub enum Record {
    /// An address.
    A(Ipv4Addr),
    /// Strings of at most 255 bytes.
    Txt(Vec<String>),
    /// A service.
    Srv {
        /// Where it listens.
        port: u16,
        /// On which machine.
        target: String,
    },
}

/// The server. It answers until the process ends.
#[derive(Clone, Debug)]
pub struct DnsServer {
    address: SocketAddr,
    records: Arc<Mutex<BTreeMap<String, Vec<Record>>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl DnsServer {
    /// One that knows nothing.
    pub fn new() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = socket.local_addr().expect("it is bound");
        let server = Self { address, records: Arc::default(), asked: Arc::default() };
        let answering = server.clone();
        thread::spawn(move || {
            let mut packet = [0; MAX_QUESTION];
            while let Ok((length, from)) = socket.recv_from(&mut packet) {
                if let Some(answer) = answering.answer(&packet[..length]) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        server
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells it a record.
    pub fn knows(&self, name: &str, record: Record) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.entry(name.to_ascii_lowercase()).or_default().push(record);
    }

    /// The names it was asked for.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn answer(&self, packet: &[u8]) -> Option<Vec<u8>> {
        let (name, after) = read_name(packet, HEADER)?;
        let kind = u16::from_be_bytes(packet.get(after..after + 2)?.try_into().ok()?);
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(name.clone());
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let known = records.get(&name);
        let fitting: Vec<&Record> =
            known.into_iter().flatten().filter(|record| record.kind() == kind).collect();
        let flags: u16 = if known.is_some() { 0x8580 } else { 0x8583 };
        let mut answer = packet[..2].to_vec();
        for field in [flags, 1, u16::try_from(fitting.len()).ok()?, 0, 0] {
            answer.extend(field.to_be_bytes());
        }
        answer.extend(packet.get(HEADER..after + 4)?);
        for record in fitting {
            let data = record.data();
            answer.extend(SAME_NAME);
            answer.extend(kind.to_be_bytes());
            answer.extend(INTERNET.to_be_bytes());
            answer.extend(TTL.to_be_bytes());
            answer.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
            answer.extend(data);
        }
        Some(answer)
    }
}

impl Default for DnsServer {
    fn default() -> Self {
        Self::new()
    }
}

impl Record {
    fn kind(&self) -> u16 {
        match self {
            Self::A(_) => A,
            Self::Txt(_) => TXT,
            Self::Srv { .. } => SRV,
        }
    }

    fn data(&self) -> Vec<u8> {
        match self {
            Self::A(ip) => ip.octets().to_vec(),
            Self::Txt(strings) => strings.iter().flat_map(|text| counted(text)).collect(),
            Self::Srv { port, target } => {
                // Priority and weight are 0.
                let mut data = vec![0; 4];
                data.extend(port.to_be_bytes());
                data.extend(target.split('.').flat_map(counted));
                data.push(0);
                data
            }
        }
    }
}

fn counted(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("a string or label that DNS can hold");
    [&[length], text.as_bytes()].concat()
}

/// A name that is not abbreviated, and where it ends.
fn read_name(packet: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*packet.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        labels.push(String::from_utf8_lossy(packet.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
}
