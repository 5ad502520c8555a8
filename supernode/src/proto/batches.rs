//! Lists cut into messages that stay well below the largest frame.

use nearmesh_common::{
    frame::MAX_LINK_FRAME,
    wire::{
        mesh::{MAX_STORED, Stored},
        query::{Hit, MAX_HITS_PER_MESSAGE},
    },
};

/// What the items of one message may take, in bytes, by the estimates below.
const MAX_BYTES: usize = MAX_LINK_FRAME / 2;
/// A hit without its name and addresses: hash, node, user, numbers.
const HIT_BYTES: usize = 128;
/// An IPv6 address with its port, encoded.
const ADDRESS_BYTES: usize = 24;

/// Results, in their order.
pub(super) fn hits(hits: Vec<Hit>) -> Vec<Vec<Hit>> {
    let bytes = |hit: &Hit| HIT_BYTES + hit.name.len() + ADDRESS_BYTES * hit.source.addresses.len();
    cut(hits, MAX_HITS_PER_MESSAGE, bytes)
}

/// Presences for a holder.
pub(super) fn presences(presences: Vec<Stored>) -> Vec<Vec<Stored>> {
    let bytes = |Stored { presence, .. }: &Stored| {
        presence.payload.len() + presence.certificate.len() + presence.signature.len() + 2 * ADDRESS_BYTES
    };
    cut(presences, MAX_STORED, bytes)
}

fn cut<T>(items: Vec<T>, most: usize, bytes: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut messages: Vec<Vec<T>> = Vec::new();
    let mut room = 0;
    for item in items {
        let size = bytes(&item);
        match messages.last_mut() {
            Some(message) if message.len() < most && size <= room => {
                room -= size;
                message.push(item);
            }
            _ => {
                room = MAX_BYTES.saturating_sub(size);
                messages.push(vec![item]);
            }
        }
    }
    messages
}

#[cfg(test)]
mod tests {
    use nearmesh_common::{
        ContentHash, NodeId, codec,
        presence::MAX_ADDRESSES,
        wire::{
            LinkMessage,
            file::{Kind, MAX_NAME_BYTES},
            home::{RequestId, ToChild},
            query::Source,
        },
    };

    use super::*;

    #[test]
    fn the_longest_hits_fit_their_frames_and_none_is_lost() {
        let addresses =
            vec!["[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535".parse().unwrap(); MAX_ADDRESSES];
        let source = Source {
            user: "u".repeat(32).parse().unwrap(),
            node: NodeId([255; 32]),
            addresses: addresses.into(),
            home: NodeId([255; 32]),
            reach: nearmesh_common::nat::Reach::Behind(nearmesh_common::nat::Nat {
                port_step: Some(1),
                hairpinning: Some(true),
                ..nearmesh_common::nat::Nat::default()
            }),
        };
        let hit = Hit {
            name: "n".repeat(MAX_NAME_BYTES).into(),
            size: u64::MAX,
            hash: ContentHash([255; 32]),
            kind: Kind::Other,
            score: u16::MAX,
            source,
        };
        let messages = hits(vec![hit; 1200]);
        assert_eq!(messages.iter().map(Vec::len).sum::<usize>(), 1200);
        for hits in messages {
            let message = LinkMessage::ToChild(ToChild::Hits { id: RequestId(u64::MAX), hits });
            assert!(message.within_bounds());
            assert!(codec::encode(&message).len() < MAX_LINK_FRAME);
        }
    }
}
