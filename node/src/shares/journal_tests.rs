//! The journal against a model of a home that asks as it likes.

use nearmesh_common::{ContentHash, wire::file::Kind};
use proptest::prelude::*;

use super::*;

/// What alice's home holds of her journal.
#[derive(Default)]
struct Home {
    mark: JournalMark,
    files: BTreeMap<FileNumber, FileEntry>,
}

/// What alice really shares.
struct Alice {
    journal: Journal,
    files: BTreeMap<FileNumber, FileEntry>,
    ever: BTreeMap<(u64, FileNumber), Box<str>>,
}

impl Alice {
    fn new() -> Self {
        Self { journal: Journal::new(7), files: BTreeMap::new(), ever: BTreeMap::new() }
    }

    fn shares(&mut self, name: &str) -> FileNumber {
        let number = self.journal.free_number();
        self.journal.add(number);
        let before = self.ever.insert((self.journal.mark().epoch, number), name.into());
        assert_eq!(before, None, "a number was used again within its epoch");
        self.files.insert(number, entry(number, name));
        number
    }

    fn edits(&mut self, number: FileNumber, name: &str) {
        self.journal.add(number);
        self.files.insert(number, entry(number, name));
    }

    fn removes(&mut self, number: FileNumber) {
        assert!(self.journal.remove(number).is_some());
        self.files.remove(&number);
    }

    fn begins_an_epoch(&mut self) {
        self.journal.begin_epoch();
        let epoch = self.journal.mark().epoch;
        self.ever.extend(self.files.iter().map(|(&number, entry)| ((epoch, number), entry.name.clone())));
    }

    fn tells(&self, home: &mut Home, limit: usize) -> usize {
        let batch = self.journal.changes_after(home.mark, limit, |number| self.files.get(&number).cloned());
        if batch.after != home.mark {
            home.files.clear();
        }
        assert!(batch.changes.len() <= limit);
        home.mark = JournalMark { epoch: batch.after.epoch, revision: batch.upto };
        let count = batch.changes.len();
        for change in batch.changes {
            match change {
                Change::Add(entry) => home.files.insert(entry.number, entry),
                Change::Remove(number) => home.files.remove(&number),
            };
        }
        count
    }
}

fn entry(number: FileNumber, name: &str) -> FileEntry {
    let hash = ContentHash([1; 32]);
    FileEntry { number, name: name.into(), size: 1, hash, kind: Kind::Other, tags: None }
}

#[derive(Clone, Debug)]
enum Act {
    Share,
    Edit(usize),
    Remove(usize),
    Ask(usize),
    NewEpoch,
    Restart,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => Just(Act::Share),
        2 => any::<usize>().prop_map(Act::Edit),
        3 => any::<usize>().prop_map(Act::Remove),
        3 => (1usize..5).prop_map(Act::Ask),
        1 => Just(Act::NewEpoch),
        1 => Just(Act::Restart),
    ];
    proptest::collection::vec(act, 0..200)
}

proptest! {
    #[test]
    fn a_home_that_asks_as_it_likes_ends_with_what_is_shared(acts in acts(), size in 1usize..7) {
        let (mut alice, mut home) = (Alice::new(), Home::default());
        for (step, act) in acts.into_iter().enumerate() {
            let pick = |i: usize, alice: &Alice| alice.files.keys().nth(i % alice.files.len().max(1)).copied();
            match act {
                Act::Share => drop(alice.shares(&format!("file {step}"))),
                Act::Edit(i) => pick(i, &alice).into_iter().for_each(|n| alice.edits(n, &format!("edit {step}"))),
                Act::Remove(i) => pick(i, &alice).into_iter().for_each(|n| alice.removes(n)),
                Act::Ask(limit) => drop(alice.tells(&mut home, limit)),
                Act::NewEpoch => alice.begins_an_epoch(),
                Act::Restart => {
                    let all = alice.journal.latest.clone().into_iter();
                    let (live, gone): (Vec<_>, Vec<_>) = all.partition(|(_, step)| step.live);
                    let plain = |list: Vec<(FileNumber, Step)>| list.into_iter().map(|(n, s)| (n, s.revision));
                    alice.journal = Journal::restore(alice.journal.mark(), plain(live), plain(gone));
                }
            }
        }
        while home.mark != alice.journal.mark() {
            alice.tells(&mut home, size);
        }
        prop_assert_eq!(home.files, alice.files);
    }
}

#[test]
fn a_home_that_is_up_to_date_is_told_nothing_and_then_only_what_is_new() {
    let (mut alice, mut home) = (Alice::new(), Home::default());
    let song = alice.shares("song");
    alice.shares("poem");
    assert_eq!(alice.tells(&mut home, 1000), 2);
    assert_eq!(alice.tells(&mut home, 1000), 0);
    alice.removes(song);
    assert_eq!(alice.tells(&mut home, 1000), 1);
    assert_eq!(home.files, alice.files);
}

#[test]
fn a_first_registration_hears_nothing_of_files_that_are_gone() {
    let (mut alice, mut home) = (Alice::new(), Home::default());
    let song = alice.shares("song");
    alice.removes(song);
    assert_eq!(alice.tells(&mut home, 1000), 0);
    assert_eq!(home.mark, alice.journal.mark());
}

#[test]
fn too_many_tombstones_begin_a_new_epoch_that_has_none() {
    let mut alice = Alice::new();
    let kept = alice.shares("kept");
    for _ in 0..=MAX_TOMBSTONES {
        assert!(!alice.journal.is_overfull());
        let number = alice.shares("passing");
        alice.removes(number);
    }
    assert!(alice.journal.is_overfull());
    alice.journal.begin_epoch();
    assert!(!alice.journal.is_overfull());
    assert_eq!(alice.journal.latest.keys().collect::<Vec<_>>(), [&kept]);
}

#[test]
fn a_journal_that_was_set_back_notices_a_home_that_knows_more() {
    let mut alice = Alice::new();
    alice.shares("song");
    let JournalMark { epoch, revision } = alice.journal.mark();
    assert!(!alice.journal.is_behind(JournalMark { epoch, revision }));
    assert!(alice.journal.is_behind(JournalMark { epoch, revision: revision + 1 }));
    assert!(!alice.journal.is_behind(JournalMark { epoch: epoch + 1, revision: revision + 1 }));
}

#[test]
fn numbers_that_have_run_out_begin_again_in_the_gaps() {
    let last = FileNumber(u32::MAX);
    let mark = JournalMark { epoch: 1, revision: 2 };
    let mut journal = Journal::restore(mark, [(last, 1)], [(FileNumber(0), 2)]);
    assert_eq!(journal.free_number(), FileNumber(1));
}
