//! Taking a receive batch apart in which not all packets are alike.
//!
//! The kernel's GRO merges what comes from one address, so a batch from a relay may hold that relay's own QUIC packets, packets
//! of several channels, path probes, and what we are to pass on as a relay ourselves. What is for quinn stays in the batch,
//! moved together, as long as it comes from one peer; packets of further peers, which are rare in one batch, are copied out.

/// What is to become of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<S, K> {
    /// It is for quinn, without its first `skip` bytes, as coming from `source`.
    Keep {
        /// Whose packet it is.
        source: S,
        /// Bytes before it that quinn must not see.
        skip: usize,
    },
    /// It is to be passed on to somebody else, together with its neighbours of the same kind.
    PassOn(K),
    /// It has been dealt with, or is nothing.
    Drop,
}

/// Packets for quinn that come from one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group<S, B> {
    /// Whose they are.
    pub source: S,
    /// Bytes of each packet but the last one, which may be shorter.
    pub stride: usize,
    /// The packets: how many bytes at the front of the batch, or a copy.
    pub packets: B,
}

/// What quinn gets of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sorted<S> {
    /// At the front of the batch.
    pub first: Option<Group<S, usize>>,
    /// What had to be copied out, in order for each source.
    pub others: Vec<Group<S, Vec<u8>>>,
}

/// Sorts `batch`, packets of `stride` bytes with the last one perhaps shorter. `judge` sees each packet once, in order;
/// `pass_on` gets runs of neighbouring packets of one kind, as long as possible, before anything is moved over them.
pub fn sort<S: Copy + Eq, K: Copy + Eq>(
    batch: &mut [u8],
    stride: usize,
    mut judge: impl FnMut(&[u8]) -> Verdict<S, K>,
    mut pass_on: impl FnMut(K, &mut [u8]),
) -> Sorted<S> {
    let stride = if stride == 0 { batch.len() } else { stride };
    let mut sorted = Sorted { first: None, others: Vec::new() };
    let mut start = 0;
    let mut run: Option<(K, usize)> = None;
    while start < batch.len() {
        let end = start.saturating_add(stride).min(batch.len());
        let verdict = judge(&batch[start..end]);
        let kind = if let Verdict::PassOn(kind) = verdict { Some(kind) } else { None };
        if let Some((running, from)) = run.take_if(|(running, _)| kind != Some(*running)) {
            pass_on(running, &mut batch[from..start]);
        }
        if let Some(kind) = kind {
            run.get_or_insert((kind, start));
        }
        if let Verdict::Keep { source, skip } = verdict
            && start + skip < end
        {
            sorted.keep(batch, start + skip..end, source, stride - skip);
        }
        start = end;
    }
    if let Some((kind, from)) = run {
        pass_on(kind, &mut batch[from..]);
    }
    sorted
}

impl<S: Copy + Eq> Sorted<S> {
    fn keep(&mut self, batch: &mut [u8], packet: std::ops::Range<usize>, source: S, stride: usize) {
        let first = self.first.get_or_insert(Group { source, stride, packets: 0 });
        if (first.source, first.stride) == (source, stride) {
            let to = first.packets;
            first.packets += packet.len();
            if to != packet.start {
                batch.copy_within(packet, to);
            }
            return;
        }
        let packet = &batch[packet];
        match self.others.iter_mut().find(|group| (group.source, group.stride) == (source, stride)) {
            Some(group) => group.packets.extend_from_slice(packet),
            None => self.others.push(Group { source, stride, packets: packet.to_vec() }),
        }
    }
}

#[cfg(test)]
#[path = "sort_tests.rs"]
mod tests;
