//! STUN messages as bytes: `stun-rs` encodes and decodes, this adds the checks that RFC 8489 asks of a receiver.

use stun_rs::{
    MESSAGE_HEADER_SIZE, MessageDecoderBuilder, MessageEncoderBuilder, StunMessage,
    attributes::stun::Fingerprint, get_input_text,
};
use thiserror::Error;

/// Longest message that is read: what fits the IPv4 minimum path (576 - 20 - 8; RFC 8489, section 6.1).
pub const MAX_MESSAGE_BYTES: usize = 548;

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// Longer than [`MAX_MESSAGE_BYTES`].
    #[error("it is too long")]
    TooLong,
    /// Not what RFC 8489 describes.
    #[error("it is malformed")]
    Malformed,
    /// Its FINGERPRINT is not its own.
    #[error("its fingerprint is wrong")]
    Fingerprint,
}

/// Whether a packet with the magic cookie says that it is a response (of either class), by its type alone.
pub fn is_response(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| first & 0x01 != 0)
}

/// Reads exactly one message; a FINGERPRINT in it was checked.
pub fn decode(packet: &[u8]) -> Result<StunMessage, DecodeError> {
    if packet.len() > MAX_MESSAGE_BYTES {
        return Err(DecodeError::TooLong);
    }
    if packet.len() < MESSAGE_HEADER_SIZE || !packet.len().is_multiple_of(4) {
        return Err(DecodeError::Malformed);
    }
    let decoder = MessageDecoderBuilder::default().build();
    let (message, size) = decoder.decode(packet).map_err(|_| DecodeError::Malformed)?;
    if size != packet.len() {
        return Err(DecodeError::Malformed);
    }
    if let Some(fingerprint) = message.get::<Fingerprint>() {
        let fingerprint = fingerprint.as_fingerprint().map_err(|_| DecodeError::Malformed)?;
        let covered = get_input_text::<Fingerprint>(packet).ok_or(DecodeError::Malformed)?;
        if !fingerprint.validate(&covered) {
            return Err(DecodeError::Fingerprint);
        }
    }
    Ok(message)
}

/// Writes a message; `None` if it is longer than [`MAX_MESSAGE_BYTES`].
pub fn encode(message: &StunMessage) -> Option<Vec<u8>> {
    let mut bytes = vec![0; MAX_MESSAGE_BYTES];
    let size = MessageEncoderBuilder::default().build().encode(&mut bytes, message).ok()?;
    bytes.truncate(size);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use stun_rs::{MessageClass, StunMessageBuilder, methods::BINDING};

    use super::*;

    #[test]
    fn a_message_whose_fingerprint_was_tampered_with_is_not_read() {
        let message = StunMessageBuilder::new(BINDING, MessageClass::Request)
            .with_attribute(Fingerprint::default())
            .build();
        let mut bytes = encode(&message).expect("it is short");
        assert!(decode(&bytes).is_ok());
        bytes[9] ^= 1;
        assert_eq!(decode(&bytes).err(), Some(DecodeError::Fingerprint));
    }

    #[test]
    fn bytes_behind_a_message_are_not_overlooked() {
        let mut bytes =
            encode(&StunMessageBuilder::new(BINDING, MessageClass::Request).build()).expect("short");
        bytes.extend([0; 4]);
        assert_eq!(decode(&bytes).err(), Some(DecodeError::Malformed));
    }

    /// Attribute types that `stun-rs` knows, and one that it does not.
    const TYPES: [u16; 17] = [
        0x0001, 0x0006, 0x0008, 0x0009, 0x000a, 0x0014, 0x0015, 0x001c, 0x001d, 0x001e, 0x0020, 0x8002,
        0x8003, 0x8022, 0x8023, 0x8028, 0x7777,
    ];

    fn attribute() -> impl Strategy<Value = Vec<u8>> {
        let value = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..40),
            proptest::collection::vec(0u8..4, 0..40),
            "\\PC{0,12}".prop_map(String::into_bytes),
        ];
        (proptest::sample::select(&TYPES[..]), value).prop_map(|(kind, mut value)| {
            let length = u16::try_from(value.len()).expect("short");
            value.resize(value.len().next_multiple_of(4), 0);
            [&kind.to_be_bytes()[..], &length.to_be_bytes(), &value].concat()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn attributes_of_any_content_never_panic(
            kind in 0u16..0x4000,
            attributes in proptest::collection::vec(attribute(), 0..6),
        ) {
            let attributes = attributes.concat();
            let length = u16::try_from(attributes.len()).expect("short");
            let header = [&kind.to_be_bytes()[..], &length.to_be_bytes(), &[0x21, 0x12, 0xa4, 0x42], &[7; 12]].concat();
            let _ = decode(&[header, attributes].concat());
        }
    }
}
