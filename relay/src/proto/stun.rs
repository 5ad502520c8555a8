//! The STUN server: tells whoever asks from which address the question came (RFC 8489, binding method).
//!
//! A binding request is answered with XOR-MAPPED-ADDRESS; FINGERPRINT and SOFTWARE are added for those who sent their
//! own. Attributes that a server has to understand and this one does not are named in an error 420. There is no
//! authentication: the answer tells nothing but what the asker sees anyway.
//!
//! A request with RESPONSE-PORT (RFC 5780, section 7.5) is answered to that port of the asker's address: that is how a node
//! learns, from a second socket, for how long its NAT remembers a silent first one.
//!
//! Invariants: it is of no use as an amplifier. Only well-formed requests are answered, at most once each, within a rate
//! for each source and one for all, with at most [`MAX_AMPLIFICATION`] times their bytes. No answer goes to another IP address
//! than the one that asked, nor to a port below [`LOWEST_RESPONSE_PORT`] on request.

use std::net::SocketAddr;

use nearmesh_common::{Now, rate::Limit};
use stun_rs::{
    ErrorCode, MessageClass, StunAttribute, StunMessage, StunMessageBuilder,
    attributes::discovery::ResponsePort,
    attributes::stun::{
        ErrorCode as ErrorCodeAttribute, Fingerprint, Software, UnknownAttributes, XorMappedAddress,
    },
    methods::BINDING,
};

use super::{
    rate::{Exceeded, SourceLimits},
    stun_message::{self, DecodeError},
};

/// Most bytes in an answer for each byte of its request: QUIC's own limit (RFC 9000, section 8).
pub const MAX_AMPLIFICATION: usize = 3;
/// Answers to one source. A probe is 3 requests, and a hundred nodes may sit behind one address (guess).
pub const SOURCE_LIMIT: Limit = Limit::per_second(100, 400);
/// Answers to all sources: below 5 % of a core at about 3 us each (guess).
pub const TOTAL_LIMIT: Limit = Limit::per_second(10_000, 5_000);
/// Buckets for sources, 16 bytes each (guess: twice the sources that one supernode sees in a burst).
pub const SOURCE_SLOTS: usize = 4096;

/// The lowest port that an answer may be asked for at: system services have those below (RFC 6335, section 6).
pub const LOWEST_RESPONSE_PORT: u16 = 1024;

const SOFTWARE: &str = "nearmesh";
const UNKNOWN_ATTRIBUTE: u16 = 420;

/// What to do about a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Send these bytes to this address.
    Answer(Vec<u8>, SocketAddr),
    /// Send nothing.
    Ignore(Reason),
}

/// Why a packet is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Bytes that are no message.
    Malformed,
    /// A FINGERPRINT that is not the message's own.
    Fingerprint,
    /// An indication or a response.
    NotARequest,
    /// A request for something else than binding.
    OtherMethod,
    /// It wants the answer at a port that is not for it to choose.
    ResponsePort,
    /// This source asked too often.
    SourceLimit,
    /// Everybody together asked too often.
    TotalLimit,
}

/// How many packets ended how, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StunCounters {
    /// Told their address.
    pub answered: u64,
    /// Told which of their attributes are not understood here.
    pub not_understood: u64,
    /// [`Reason::Malformed`].
    pub malformed: u64,
    /// [`Reason::Fingerprint`].
    pub fingerprint: u64,
    /// [`Reason::NotARequest`].
    pub not_a_request: u64,
    /// [`Reason::OtherMethod`].
    pub other_method: u64,
    /// [`Reason::ResponsePort`].
    pub response_port: u64,
    /// [`Reason::SourceLimit`].
    pub source_limit: u64,
    /// [`Reason::TotalLimit`].
    pub total_limit: u64,
}

/// The server.
#[derive(Debug)]
pub struct Responder {
    limits: SourceLimits,
    software: Software,
    counters: StunCounters,
}

impl Responder {
    /// A server with fresh limits; `key` is a secret that spreads sources over buckets.
    pub fn new(key: u64) -> Self {
        Self {
            limits: SourceLimits::new(key, SOURCE_SLOTS, SOURCE_LIMIT, TOTAL_LIMIT),
            software: Software::new(SOFTWARE).expect("a short word"),
            counters: StunCounters::default(),
        }
    }

    /// Decides about a packet that came from `from`.
    pub fn handle(&mut self, packet: &[u8], from: SocketAddr, now: Now) -> Decision {
        match self.answer(packet, from, now) {
            Ok((bytes, to)) => Decision::Answer(bytes, to),
            Err(reason) => {
                self.count(reason);
                Decision::Ignore(reason)
            }
        }
    }

    /// How many packets ended how.
    pub fn counters(&self) -> StunCounters {
        self.counters
    }

    fn answer(&mut self, packet: &[u8], from: SocketAddr, now: Now) -> Result<(Vec<u8>, SocketAddr), Reason> {
        self.limits.take(from, now.instant)?;
        let request = stun_message::decode(packet)?;
        if request.class() != MessageClass::Request {
            return Err(Reason::NotARequest);
        }
        if request.method() != BINDING {
            return Err(Reason::OtherMethod);
        }
        let unknown = not_understood(&request);
        let (answer, to, counter) = if unknown.is_empty() {
            let to = wanted_at(&request, from)?;
            (self.success(&request, from), to, &mut self.counters.answered)
        } else {
            (error_420(&request, unknown), from, &mut self.counters.not_understood)
        };
        let bytes = stun_message::encode(&answer).ok_or(Reason::Malformed)?;
        *counter += 1;
        Ok((bytes, to))
    }

    fn success(&self, request: &StunMessage, from: SocketAddr) -> StunMessage {
        let mut answer =
            reply(request, MessageClass::SuccessResponse).with_attribute(XorMappedAddress::from(from));
        if request.get::<Software>().is_some() {
            answer = answer.with_attribute(self.software.clone());
        }
        fingerprinted(request, answer).build()
    }

    fn count(&mut self, reason: Reason) {
        let counters = &mut self.counters;
        let counter = match reason {
            Reason::Malformed => &mut counters.malformed,
            Reason::Fingerprint => &mut counters.fingerprint,
            Reason::NotARequest => &mut counters.not_a_request,
            Reason::OtherMethod => &mut counters.other_method,
            Reason::ResponsePort => &mut counters.response_port,
            Reason::SourceLimit => &mut counters.source_limit,
            Reason::TotalLimit => &mut counters.total_limit,
        };
        *counter += 1;
    }
}

/// Where the answer goes.
fn wanted_at(request: &StunMessage, from: SocketAddr) -> Result<SocketAddr, Reason> {
    let Some(wanted) = request.get::<ResponsePort>() else { return Ok(from) };
    let port = wanted.as_response_port().map_err(|_| Reason::Malformed)?.as_u16();
    if port < LOWEST_RESPONSE_PORT {
        return Err(Reason::ResponsePort);
    }
    Ok(SocketAddr::new(from.ip(), port))
}

fn not_understood(request: &StunMessage) -> UnknownAttributes {
    let mut unknown = UnknownAttributes::default();
    for attribute in request.attributes() {
        let kind = attribute.attribute_type();
        // Known to the decoder, not to us: there is no second address to answer from, and nothing is padded.
        let foreign = matches!(
            attribute,
            StunAttribute::Unknown(_) | StunAttribute::ChangeRequest(_) | StunAttribute::Padding(_)
        );
        if foreign && kind.is_comprehension_required() {
            unknown.add(kind.as_u16());
        }
    }
    unknown
}

fn error_420(request: &StunMessage, unknown: UnknownAttributes) -> StunMessage {
    // No reason phrase: it would be the longest part of the answer, and the code says it all.
    let code = ErrorCode::new(UNKNOWN_ATTRIBUTE, "").expect("420 is between 300 and 699");
    let answer = reply(request, MessageClass::ErrorResponse)
        .with_attribute(ErrorCodeAttribute::from(code))
        .with_attribute(unknown);
    fingerprinted(request, answer).build()
}

fn reply(request: &StunMessage, class: MessageClass) -> StunMessageBuilder {
    StunMessageBuilder::new(BINDING, class).with_transaction_id(*request.transaction_id())
}

fn fingerprinted(request: &StunMessage, answer: StunMessageBuilder) -> StunMessageBuilder {
    match request.get::<Fingerprint>() {
        Some(_) => answer.with_attribute(Fingerprint::default()),
        None => answer,
    }
}

impl From<Exceeded> for Reason {
    fn from(exceeded: Exceeded) -> Self {
        match exceeded {
            Exceeded::Source => Self::SourceLimit,
            Exceeded::Total => Self::TotalLimit,
        }
    }
}

impl From<DecodeError> for Reason {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Fingerprint => Self::Fingerprint,
            DecodeError::TooLong | DecodeError::Malformed => Self::Malformed,
        }
    }
}

#[cfg(test)]
#[path = "stun_tests.rs"]
mod tests;
