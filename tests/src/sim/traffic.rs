//! What was said, counted, and the digest by which two runs are compared.

use std::{collections::BTreeMap, time::Duration};

use nearmesh_common::wire::{
    LinkMessage,
    home::{ToChild, ToHome},
    mesh::Mesh,
};

use super::links::{End, ProcessId};

/// Messages and bytes by kind, attachments by second, and the trace's digest.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Messages and bytes of each kind.
    pub kinds: BTreeMap<&'static str, Count>,
    /// Attach messages that reached each supernode in each second.
    pub attaches: BTreeMap<(ProcessId, u64), u32>,
    /// Links begun, in each second.
    pub dials: BTreeMap<u64, u32>,
    /// Messages for which there was no link.
    pub unsent: u64,
    trace: blake3::Hasher,
}

/// So many messages, so many bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Messages.
    pub messages: u64,
    /// Bytes, encoded.
    pub bytes: u64,
}

impl Traffic {
    pub(super) fn note(&mut self, at: Duration, from: End, to: End, message: &LinkMessage, bytes: &[u8]) {
        let count = self.kinds.entry(message_kind(message)).or_default();
        count.messages += 1;
        count.bytes += bytes.len() as u64;
        if let LinkMessage::ToHome(ToHome::Attach { .. }) = message {
            *self.attaches.entry((to.0, at.as_secs())).or_default() += 1;
        }
        self.trace.update(&at.as_nanos().to_le_bytes());
        self.trace.update(&from.0.to_le_bytes());
        self.trace.update(&to.0.to_le_bytes());
        self.trace.update(bytes);
    }

    /// What identifies everything that was said, when and between whom.
    pub fn digest(&self) -> String {
        self.trace.finalize().to_hex()[..16].to_owned()
    }

    /// The most attachments that one supernode was asked for in one second from `since` on.
    pub fn worst_attach_second(&self, since: Duration) -> u32 {
        let later = self.attaches.iter().filter(|((_, second), _)| *second >= since.as_secs());
        later.map(|(_, count)| *count).max().unwrap_or(0)
    }

    /// The most links begun in one second from `since` on.
    pub fn worst_dial_second(&self, since: Duration) -> u32 {
        self.dials.range(since.as_secs()..).map(|(_, count)| *count).max().unwrap_or(0)
    }
}

/// What a message is called in figures.
pub(crate) fn message_kind(message: &LinkMessage) -> &'static str {
    match message {
        LinkMessage::ToHome(message) => match message {
            ToHome::Attach { .. } => "attach",
            ToHome::Standby => "standby",
            ToHome::Refresh(_) => "refresh",
            ToHome::Detach(_) => "detach",
            ToHome::Publish { .. } => "publish",
            ToHome::Search { .. } => "search",
            ToHome::Cancel(_) => "cancel search",
            ToHome::Lookup { .. } => "lookup",
            ToHome::ListSupernodes => "list",
            ToHome::Signal { .. } => "signal",
            ToHome::ListRelays => "list relays",
            ToHome::DialBack(_) => "dial back",
            ToHome::Crl(_) => "crl",
        },
        LinkMessage::ToChild(message) => match message {
            ToChild::Attached { .. } => "attached",
            ToChild::Redirect(_) => "redirect",
            ToChild::StandbyKept => "standby kept",
            ToChild::Refused(_) => "refused",
            ToChild::Published(_) => "published",
            ToChild::Hits { .. } => "hits",
            ToChild::SearchDone { .. } => "search done",
            ToChild::Found { .. } => "found",
            ToChild::Supernodes(_) => "supernodes",
            ToChild::Signal { .. } => "signal to child",
            ToChild::DialBack(_) => "dialled back",
            ToChild::Relays(_) => "relays",
            ToChild::Crl(_) => "crl",
            ToChild::Declined { .. } => "declined",
            ToChild::Neighbourhood(_) => "neighbourhood",
            ToChild::Later { .. } => "later",
            ToChild::Pace(_) => "pace",
        },
        LinkMessage::Mesh(message) => match message {
            Mesh::Hello { .. } => "mesh hello",
            Mesh::Members(_) => "mesh members",
            Mesh::Renewed(_) => "mesh renewed",
            Mesh::AskMembers { .. } => "mesh ask members",
            Mesh::Digest { .. } => "mesh digest",
            Mesh::Uses(_) => "mesh uses",
            Mesh::SummaryPart { .. } => "mesh summary part",
            Mesh::SummaryChange { .. } => "mesh summary change",
            Mesh::SummaryLost => "mesh summary lost",
            Mesh::Query { .. } => "mesh query",
            Mesh::Answer { .. } => "mesh answer",
            Mesh::Cancel(_) => "mesh cancel",
            Mesh::Store { .. } => "mesh store",
            Mesh::Ping { .. } => "mesh ping",
            Mesh::Here(_) => "mesh here",
            Mesh::Gone { .. } => "mesh gone",
            Mesh::Find { .. } => "mesh find",
            Mesh::Held { .. } => "mesh held",
            Mesh::Offer { .. } => "mesh offer",
            Mesh::FindSources { .. } => "mesh find sources",
            Mesh::Sources { .. } => "mesh sources",
            Mesh::Signal { .. } => "mesh signal",
            Mesh::DialBack { .. } => "mesh dial back",
            Mesh::Crl(_) => "mesh crl",
        },
        LinkMessage::Pulse(_) => "pulse",
    }
}
