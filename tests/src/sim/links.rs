//! The links between machines: at most one for each pair, in order in each direction, and noticed late when they
//! break.

use std::{collections::BTreeMap, time::Duration};

/// A process's number.
pub type ProcessId = usize;

/// Which of a process's two machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The node's.
    Client,
    /// The supernode's.
    Supernode,
}

/// One end of a link.
pub(super) type End = (ProcessId, Role);

/// A link's number, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LinkId(pub(super) u64);

/// A link, from the first packet of its handshake on.
#[derive(Debug)]
pub(super) struct Link {
    /// Both ends, the smaller first.
    pub(super) ends: [End; 2],
    up: bool,
    /// Whether packets get through.
    whole: bool,
    /// Whether each end still holds it open.
    open: [bool; 2],
    /// When the last packet towards each end arrives.
    arrives: [Duration; 2],
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Links {
    next: u64,
    links: BTreeMap<LinkId, Link>,
    newest: BTreeMap<[End; 2], LinkId>,
}

impl Links {
    /// Begins a link, unless `from` has one to `to`, or `to` is opening one at this moment.
    pub(super) fn begin(&mut self, from: End, to: End) -> Option<LinkId> {
        let ends = sorted(from, to);
        if let Some(present) = self.newest.get(&ends).and_then(|id| self.links.get(id))
            && present.open[present.side(from)]
        {
            return None;
        }
        self.next += 1;
        let id = LinkId(self.next);
        self.links
            .insert(id, Link { ends, up: false, whole: true, open: [true; 2], arrives: [Duration::ZERO; 2] });
        Some(id).inspect(|id| {
            self.newest.insert(ends, *id);
        })
    }

    /// The handshake is done: true if both ends still want it.
    pub(super) fn establish(&mut self, id: LinkId) -> Option<[End; 2]> {
        let link = self.links.get_mut(&id)?;
        if link.open != [true; 2] || !link.whole {
            return None;
        }
        link.up = true;
        Some(link.ends)
    }

    /// Links between the same two ends, older than `id`, that an end still holds open: they are replaced.
    pub(super) fn replaced_by(&self, id: LinkId) -> Vec<(LinkId, End)> {
        let Some(new) = self.links.get(&id) else { return Vec::new() };
        let older = self.links.range(..id).filter(|(_, link)| link.ends == new.ends);
        older.flat_map(|(id, link)| link.holders().map(|end| (*id, end))).collect()
    }

    /// The link on which `from` may speak to `to`.
    pub(super) fn speaking(&self, from: End, to: End) -> Option<LinkId> {
        let id = self.newest.get(&sorted(from, to))?;
        let link = self.links.get(id)?;
        (link.up && link.open[link.side(from)]).then_some(*id)
    }

    /// When a packet that was sent so as to arrive at `at` is handed over: never before an earlier one.
    pub(super) fn in_order(&mut self, id: LinkId, to: End, at: Duration) -> Duration {
        let Some(link) = self.links.get_mut(&id) else { return at };
        let side = link.side(to);
        link.arrives[side] = link.arrives[side].max(at);
        link.arrives[side]
    }

    /// Whether `end` still hears what comes on this link.
    pub(super) fn hears(&self, id: LinkId, end: End) -> bool {
        self.links.get(&id).is_some_and(|link| link.up && link.whole && link.open[link.side(end)])
    }

    /// The link carries nothing any more, and neither end knows yet.
    pub(super) fn cut(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.whole = false;
        }
    }

    /// `end` lets go of the link. True if it held it.
    pub(super) fn let_go(&mut self, id: LinkId, end: End) -> bool {
        let Some(link) = self.links.get_mut(&id) else { return false };
        let side = link.side(end);
        let held = std::mem::take(&mut link.open[side]);
        if link.open == [false; 2] {
            let ends = link.ends;
            self.links.remove(&id);
            if self.newest.get(&ends) == Some(&id) {
                self.newest.remove(&ends);
            }
        }
        held
    }

    /// The end of the link that is not `end`.
    pub(super) fn other(&self, id: LinkId, end: End) -> Option<End> {
        let link = self.links.get(&id)?;
        Some(link.ends[1 - link.side(end)])
    }

    /// The link that `end` holds to `to`, up or not.
    pub(super) fn held(&self, end: End, to: End) -> Option<LinkId> {
        let id = self.newest.get(&sorted(end, to))?;
        self.links.get(id).filter(|link| link.open[link.side(end)]).map(|_| *id)
    }

    /// The links of a process, each with the end that is its own, and the other.
    pub(super) fn of(&self, process: ProcessId) -> Vec<(LinkId, End, End)> {
        let mine = |(id, link): (&LinkId, &Link)| {
            let [a, b] = link.ends;
            let own = [(a, b), (b, a)].into_iter().find(|(own, _)| own.0 == process)?;
            Some((*id, own.0, own.1))
        };
        self.links.iter().filter_map(mine).collect()
    }

    /// How many links `end` holds.
    pub(super) fn count(&self, end: End) -> usize {
        self.links.values().filter(|link| link.holders().any(|holder| holder == end)).count()
    }
}

impl Link {
    fn side(&self, end: End) -> usize {
        usize::from(self.ends[0] != end)
    }

    fn holders(&self) -> impl Iterator<Item = End> {
        self.ends.into_iter().zip(self.open).filter(|(_, open)| *open).map(|(end, _)| end)
    }
}

fn sorted(a: End, b: End) -> [End; 2] {
    if a < b { [a, b] } else { [b, a] }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: End = (0, Role::Client);
    const BOB: End = (1, Role::Supernode);

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn two_who_dial_one_another_get_one_link() {
        let mut links = Links::default();
        let link = links.begin(ALICE, BOB).unwrap();
        assert_eq!(links.begin(BOB, ALICE), None);
        assert_eq!(links.speaking(ALICE, BOB), None, "the handshake is not done");
        assert_eq!(links.establish(link), Some([ALICE, BOB]));
        assert_eq!((links.speaking(ALICE, BOB), links.speaking(BOB, ALICE)), (Some(link), Some(link)));
        assert_eq!((links.count(ALICE), links.count(BOB)), (1, 1));
    }

    #[test]
    fn nothing_overtakes_on_a_link() {
        let mut links = Links::default();
        let link = links.begin(ALICE, BOB).unwrap();
        assert_eq!(links.in_order(link, BOB, ms(90)), ms(90), "this one was lost once");
        assert_eq!(links.in_order(link, BOB, ms(30)), ms(90));
        assert_eq!(links.in_order(link, ALICE, ms(30)), ms(30), "the other direction does not wait");
    }

    #[test]
    fn who_comes_back_replaces_the_link_that_its_peer_still_holds() {
        let mut links = Links::default();
        let old = links.begin(ALICE, BOB).unwrap();
        links.establish(old);
        assert!(links.let_go(old, ALICE), "alice's process dies");
        assert!(links.hears(old, BOB), "bob does not know yet");
        let new = links.begin(ALICE, BOB).unwrap();
        assert_eq!(links.establish(new), Some([ALICE, BOB]));
        assert_eq!(links.replaced_by(new), [(old, BOB)]);
        links.let_go(old, BOB);
        assert_eq!(links.speaking(BOB, ALICE), Some(new));
    }
}
