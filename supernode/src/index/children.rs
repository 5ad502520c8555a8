//! Who shares the records, and whether they are found.

use std::collections::{BTreeMap, VecDeque};

use nearmesh_common::wire::file::FileNumber;

use super::{ChildId, records::Records};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Found,
    Hidden,
    /// Gone; its records wait to be purged.
    Dropped,
    Unused,
}

#[derive(Debug)]
struct Child {
    id: ChildId,
    state: State,
    /// Its records, by their file numbers.
    files: Vec<u32>,
}

#[derive(Debug, Default)]
pub(super) struct Children {
    places: BTreeMap<ChildId, u32>,
    list: Vec<Child>,
    unused: Vec<u32>,
    dropped: VecDeque<u32>,
    /// Records of children that were not dropped.
    live: usize,
}

impl Children {
    pub fn live(&self) -> usize {
        self.live
    }

    pub fn place(&self, id: ChildId) -> Option<u32> {
        self.places.get(&id).copied()
    }

    /// A child's place; it gets one if it has none.
    pub fn place_or_new(&mut self, id: ChildId) -> u32 {
        if let Some(place) = self.place(id) {
            return place;
        }
        let child = Child { id, state: State::Found, files: Vec::new() };
        let place = match self.unused.pop() {
            Some(place) => {
                self.list[place as usize] = child;
                place
            }
            None => {
                self.list.push(child);
                self.list.len() as u32 - 1
            }
        };
        self.places.insert(id, place);
        place
    }

    pub fn id(&self, place: u32) -> ChildId {
        self.list[place as usize].id
    }

    pub fn is_found(&self, place: u32) -> bool {
        self.list[place as usize].state == State::Found
    }

    pub fn hide(&mut self, id: ChildId) {
        let place = self.place_or_new(id);
        self.list[place as usize].state = State::Hidden;
    }

    pub fn unhide(&mut self, id: ChildId) {
        if let Some(place) = self.place(id) {
            self.list[place as usize].state = State::Found;
        }
    }

    /// Where a file is, or would be, among its child's.
    pub fn position(&self, place: u32, number: FileNumber, records: &Records) -> Result<usize, usize> {
        let files = &self.list[place as usize].files;
        match files.last() {
            Some(last) if records.get(*last).number() < number => Err(files.len()),
            _ => files.binary_search_by_key(&number, |record| records.get(*record).number()),
        }
    }

    pub fn insert(&mut self, place: u32, position: usize, record: u32) {
        let files = &mut self.list[place as usize].files;
        if files.len() == files.capacity() {
            files.reserve_exact((files.len() / 4).max(8));
        }
        files.insert(position, record);
        self.live += 1;
    }

    pub fn remove(&mut self, place: u32, position: usize) -> u32 {
        self.live -= 1;
        self.list[place as usize].files.remove(position)
    }

    pub fn drop_child(&mut self, id: ChildId) {
        if let Some(place) = self.places.remove(&id) {
            let child = &mut self.list[place as usize];
            child.state = State::Dropped;
            self.live -= child.files.len();
            self.dropped.push_back(place);
        }
    }

    /// A record of a dropped child, to be purged. The newest first: that is where lists and chains are cheapest
    /// to cut.
    pub fn next_dropped(&mut self) -> Option<u32> {
        loop {
            let place = *self.dropped.front()?;
            let child = &mut self.list[place as usize];
            if let Some(record) = child.files.pop() {
                return Some(record);
            }
            child.state = State::Unused;
            child.files = Vec::new();
            self.dropped.pop_front();
            self.unused.push(place);
        }
    }

    pub fn memory(&self) -> usize {
        // Estimate: a B-tree entry of two u32 takes 12 bytes with the slack of its nodes.
        self.places.len() * 12
            + self.list.capacity() * size_of::<Child>()
            + self.list.iter().map(|child| child.files.capacity() * 4).sum::<usize>()
    }
}
