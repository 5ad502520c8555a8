use std::time::Duration;

use proptest::prelude::*;
use stun_rs::MessageMethod;

use super::{super::start, *};

fn alice() -> SocketAddr {
    "192.0.2.7:41641".parse().expect("an address")
}

fn request() -> StunMessageBuilder {
    StunMessageBuilder::new(BINDING, MessageClass::Request).with_transaction_id([9; 12].into())
}

fn bytes(message: StunMessageBuilder) -> Vec<u8> {
    stun_message::encode(&message.build()).expect("short")
}

/// A request with one attribute of a type that nobody knows.
fn with_raw_attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut packet = bytes(request());
    packet.extend(kind.to_be_bytes());
    packet.extend(u16::try_from(value.len()).expect("short").to_be_bytes());
    packet.extend(value);
    packet.resize(packet.len().next_multiple_of(4), 0);
    let length = u16::try_from(packet.len() - 20).expect("short");
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet
}

/// The same with an empty attribute of each of these types.
fn with_types(kinds: &[u16], mut packet: Vec<u8>) -> Vec<u8> {
    for kind in kinds {
        packet.extend([&kind.to_be_bytes()[..], &[0, 0]].concat());
    }
    let length = u16::try_from(packet.len() - 20).expect("short");
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet
}

fn answer(packet: &[u8], from: SocketAddr) -> StunMessage {
    match Responder::new(1).handle(packet, from, start()) {
        Decision::Answer(bytes, to) => {
            assert_eq!(to, from, "the asker is answered, nobody else");
            stun_message::decode(&bytes).expect("a well-formed answer")
        }
        Decision::Ignore(reason) => panic!("ignored: {reason:?}"),
    }
}

fn ignored(packet: &[u8]) -> Reason {
    match Responder::new(1).handle(packet, alice(), start()) {
        Decision::Ignore(reason) => reason,
        Decision::Answer(..) => panic!("answered"),
    }
}

fn mapped(message: &StunMessage) -> SocketAddr {
    let attribute = message.get::<XorMappedAddress>().expect("it is there");
    *attribute.as_xor_mapped_address().expect("of that type").socket_address()
}

#[test]
fn alice_is_told_her_address_and_no_more() {
    for from in [alice(), "[2001:db8::7]:443".parse().expect("an address")] {
        let answer = answer(&bytes(request()), from);
        assert_eq!((answer.class(), answer.method()), (MessageClass::SuccessResponse, BINDING));
        assert_eq!(answer.transaction_id().as_bytes(), &[9; 12]);
        assert_eq!(mapped(&answer), from);
        assert_eq!(answer.attributes().len(), 1);
    }
}

#[test]
fn who_sends_a_fingerprint_or_software_gets_one_back() {
    let software = Software::new("alice's client").expect("short");
    let request = request().with_attribute(software).with_attribute(Fingerprint::default());
    let answer = answer(&bytes(request), alice());
    assert!(answer.get::<Fingerprint>().is_some());
    assert!(answer.get::<Software>().is_some());
    assert_eq!(mapped(&answer), alice());
}

#[test]
fn an_attribute_that_must_be_understood_is_named_in_an_error_420() {
    const CHANGE_REQUEST: u16 = 0x0003;
    let answer = answer(&with_raw_attribute(CHANGE_REQUEST, &[0, 0, 0, 6]), alice());
    assert_eq!(answer.class(), MessageClass::ErrorResponse);
    let code =
        answer.get::<ErrorCodeAttribute>().expect("it is there").as_error_code().expect("of that type");
    assert_eq!(code.error_code().error_code(), 420);
    let unknown = answer
        .get::<UnknownAttributes>()
        .expect("it is there")
        .as_unknown_attributes()
        .expect("of that type");
    assert_eq!(unknown.attributes(), [CHANGE_REQUEST]);
}

#[test]
fn an_attribute_that_may_be_ignored_is_ignored() {
    assert_eq!(mapped(&answer(&with_raw_attribute(0xc057, &[1, 2, 3]), alice())), alice());
}

#[test]
fn whatever_is_no_binding_request_is_not_answered() {
    let of = |class| bytes(StunMessageBuilder::new(BINDING, class));
    assert_eq!(ignored(&of(MessageClass::Indication)), Reason::NotARequest);
    assert_eq!(ignored(&of(MessageClass::SuccessResponse)), Reason::NotARequest);
    assert_eq!(ignored(&of(MessageClass::ErrorResponse)), Reason::NotARequest);
    let allocate = MessageMethod::try_from(0x003).expect("a method");
    assert_eq!(
        ignored(&bytes(StunMessageBuilder::new(allocate, MessageClass::Request))),
        Reason::OtherMethod
    );
    assert_eq!(ignored(&bytes(request())[..19]), Reason::Malformed);
    assert_eq!(ignored(&with_raw_attribute(0xc057, &[0; 600])), Reason::Malformed);
}

#[test]
fn a_source_that_asks_too_often_is_counted_and_not_answered() {
    let (mut responder, packet, now) = (Responder::new(1), bytes(request()), start());
    let asked = u64::from(SOURCE_LIMIT.burst) + 50;
    for _ in 0..asked {
        responder.handle(&packet, alice(), now);
    }
    let counters = responder.counters();
    assert_eq!((counters.answered, counters.source_limit), (asked - 50, 50));
    let later = now.after(Duration::from_secs(1));
    assert!(
        matches!(responder.handle(&packet, alice(), later), Decision::Answer(..)),
        "a second later it is heard"
    );
}

proptest! {
    #[test]
    fn garbage_is_never_answered_and_always_counted(tail in proptest::collection::vec(any::<u8>(), 0..600)) {
        let mut responder = Responder::new(1);
        // Not the type of a binding request, but the cookie is right.
        let packet = [&[0x01, 0x11, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &tail].concat();
        for packet in [&packet, &tail] {
            prop_assert!(matches!(responder.handle(packet, alice(), start()), Decision::Ignore(_)));
        }
        let counted = responder.counters();
        prop_assert_eq!(counted.malformed + counted.not_a_request + counted.other_method + counted.fingerprint, 2);
    }

    #[test]
    fn no_answer_is_longer_than_the_amplification_limit(
        kinds in proptest::collection::vec(0u16..0x8100, 0..130),
        extra in 0..3,
        ipv6: bool,
    ) {
        let packet = match extra {
            0 => bytes(request().with_attribute(Fingerprint::default())),
            1 => with_types(&kinds, bytes(request().with_attribute(Software::new("").expect("short")))),
            _ => with_types(&kinds, bytes(request())),
        };
        let from = if ipv6 { "[2001:db8::7]:443".parse().expect("an address") } else { alice() };
        if let Decision::Answer(answer, _) = Responder::new(1).handle(&packet, from, start()) {
            prop_assert!(answer.len() <= MAX_AMPLIFICATION * packet.len(), "{} for {}", answer.len(), packet.len());
        }
    }
}

#[test]
fn an_answer_goes_to_another_port_of_the_asker_on_request_and_to_no_other_host() {
    let asked = bytes(request().with_attribute(ResponsePort::from(40_000)));
    match Responder::new(1).handle(&asked, alice(), start()) {
        Decision::Answer(answer, to) => {
            assert_eq!(to, SocketAddr::new(alice().ip(), 40_000));
            assert_eq!(mapped(&stun_message::decode(&answer).expect("well-formed")), alice());
        }
        Decision::Ignore(reason) => panic!("ignored: {reason:?}"),
    }
}

#[test]
fn nobody_has_an_answer_sent_to_a_system_port() {
    for port in [0, 53, 1023] {
        assert_eq!(ignored(&bytes(request().with_attribute(ResponsePort::from(port)))), Reason::ResponsePort);
    }
}

#[test]
fn a_request_to_answer_from_elsewhere_is_not_understood() {
    let change = stun_rs::attributes::discovery::ChangeRequest::new(None);
    let answer = answer(&bytes(request().with_attribute(change)), alice());
    assert_eq!(answer.class(), MessageClass::ErrorResponse);
}
