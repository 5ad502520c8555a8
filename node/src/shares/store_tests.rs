//! The store alone: what is kept, and what a restart finds.

use nearmesh_common::wire::file::{Change, Kind};

use super::*;

fn put(path: &str, content: u8, size: u64) -> Edit {
    let stamp = Stamp { size, modified: (1_700_000_000, 5), inode: u64::from(content) };
    let content = Content { hash: ContentHash([content; 32]), kind: Kind::Other, tags: None };
    Edit::Put { path: path.into(), stamp, content }
}

fn names(store: &Store, home: JournalMark) -> Vec<String> {
    let batch = store.changes_after(home, 1000).unwrap();
    let name = |change| match change {
        Change::Add(entry) => format!("+{}", entry.name),
        Change::Remove(number) => format!("-{}", number.0),
    };
    batch.changes.into_iter().map(name).collect()
}

#[test]
fn a_restart_finds_the_same_files_journal_and_folders() {
    let profile = tempfile::tempdir().unwrap();
    let store = Store::open(profile.path()).unwrap();
    store.add_root(Path::new("/music"), &[]).unwrap();
    store.apply(vec![put("/music/a.mp3", 1, 10), put("/music/b.mp3", 2, 20)]).unwrap();
    let seen = *store.watch_mark().borrow();
    store.apply(vec![Edit::Gone("/music/a.mp3".into()), put("/music/c.mp3", 3, 30)]).unwrap();
    let mark = *store.watch_mark().borrow();
    drop(store);

    let store = Store::open(profile.path()).unwrap();
    assert_eq!(*store.watch_mark().borrow(), mark);
    assert_eq!(store.roots(), [PathBuf::from("/music")]);
    assert_eq!(store.totals(), Totals { files: 2, bytes: 50 });
    assert_eq!(names(&store, seen), ["-0", "+c.mp3"]);
    assert_eq!(names(&store, JournalMark::default()), ["+b.mp3", "+c.mp3"]);
}

#[test]
fn a_second_node_on_the_same_profile_is_refused() {
    let profile = tempfile::tempdir().unwrap();
    let _first = Store::open(profile.path()).unwrap();
    assert!(matches!(Store::open(profile.path()), Err(OpenError::InUse)));
}

#[test]
fn a_file_that_was_only_touched_is_not_told_to_the_home_again() {
    let profile = tempfile::tempdir().unwrap();
    let store = Store::open(profile.path()).unwrap();
    store.add_root(Path::new("/music"), &[]).unwrap();
    store.apply(vec![put("/music/a.mp3", 1, 10)]).unwrap();
    let mark = *store.watch_mark().borrow();
    let Edit::Put { path, mut stamp, content } = put("/music/a.mp3", 1, 10) else { unreachable!() };
    stamp.modified.0 += 60;
    store.apply(vec![Edit::Put { path: path.clone(), stamp, content }]).unwrap();
    assert_eq!(*store.watch_mark().borrow(), mark);
    assert_eq!(store.reader().unwrap().row(&path).unwrap().unwrap().stamp, stamp);
}

#[test]
fn a_file_found_after_its_folder_was_removed_is_left_out() {
    let profile = tempfile::tempdir().unwrap();
    let store = Store::open(profile.path()).unwrap();
    store.add_root(Path::new("/music"), &[]).unwrap();
    store.remove_root(Path::new("/music")).unwrap();
    store.apply(vec![put("/music/late.mp3", 1, 10)]).unwrap();
    assert_eq!(store.totals(), Totals::default());
}

#[test]
fn a_folder_whose_name_begins_like_another_one_is_not_part_of_it() {
    let profile = tempfile::tempdir().unwrap();
    let store = Store::open(profile.path()).unwrap();
    for root in ["/music", "/music-old"] {
        store.add_root(Path::new(root), &[]).unwrap();
    }
    store.apply(vec![put("/music/a", 1, 10), put("/music-old/b", 2, 20)]).unwrap();
    assert_eq!(store.totals_under(Path::new("/music")).unwrap(), Totals { files: 1, bytes: 10 });
    store.remove_root(Path::new("/music")).unwrap();
    assert_eq!(store.totals(), Totals { files: 1, bytes: 20 });
}

#[test]
fn a_home_that_knows_more_than_the_journal_is_given_a_new_epoch() {
    let profile = tempfile::tempdir().unwrap();
    let store = Store::open(profile.path()).unwrap();
    store.add_root(Path::new("/music"), &[]).unwrap();
    store.apply(vec![put("/music/a", 1, 10)]).unwrap();
    let JournalMark { epoch, revision } = *store.watch_mark().borrow();
    let batch = store.changes_after(JournalMark { epoch, revision: revision + 5 }, 1000).unwrap();
    assert_ne!(batch.after.epoch, epoch);
    assert_eq!((batch.after.revision, batch.changes.len()), (0, 1));
    assert_eq!(store.watch_mark().borrow().epoch, batch.after.epoch);
}

#[test]
fn outboards_that_no_file_needs_are_swept_at_the_start() {
    let profile = tempfile::tempdir().unwrap();
    let store = Store::open(profile.path()).unwrap();
    store.add_root(Path::new("/music"), &[]).unwrap();
    store.apply(vec![put("/music/a", 1, 10)]).unwrap();
    let needed = outboard_path(store.outboards(), &ContentHash([1; 32]));
    let stale = outboard_path(store.outboards(), &ContentHash([2; 32]));
    let half_written = store.outboards().join(".tmpX");
    for file in [&needed, &stale, &half_written] {
        fs::write(file, b"tree").unwrap();
    }
    drop(store);
    let _store = Store::open(profile.path()).unwrap();
    assert_eq!([&needed, &stale, &half_written].map(|file| file.exists()), [true, false, false]);
}
