//! The index at size: `cargo bench -p tests --bench index -- --records 5000000`.
//!
//! Names of six words, drawn by Zipf's law from a vocabulary, with an extension, in children of 200 files; each
//! file has a content of its own, which costs most. Bytes are those by which the process grew, less the names'
//! own; the summary is part of it. Rates are by a second of processor time, latencies by the clock on the wall.

// A benchmark reads the clock.
#![allow(clippy::disallowed_methods)]

use std::time::{Duration, Instant};

use nearmesh_common::{
    ContentHash,
    wire::{
        file::{FileEntry, FileNumber, Kind},
        mesh::MAX_SUMMARY_ENTRIES,
        query::{Filter, Query, Subject},
    },
};
use nearmesh_supernode::index::{Catalogue, ChildId};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const FILES_OF_A_CHILD: usize = 200;
const WORDS_IN_A_NAME: usize = 6;
const QUERIES: usize = 20_000;
const DROPPED: usize = 200;

fn main() {
    let records = argument("--records", 500_000);
    let vocabulary = argument("--words", 200_000);
    let mut names = Names::new(vocabulary);
    let before = resident_bytes();
    let (mut catalogue, name_bytes, spent) = build(records, &mut names);
    let grown = resident_bytes().saturating_sub(before);
    println!("records            {records}, {} bytes a name, {vocabulary} words", name_bytes / records);
    println!(
        "bytes a record     {:.1} beyond the name",
        grown.saturating_sub(name_bytes) as f64 / records as f64
    );
    println!(
        "  by own account   {:.1}",
        catalogue.memory().saturating_sub(name_bytes) as f64 / records as f64
    );
    println!(
        "  summary          {:.1}, {} entries",
        catalogue.summary().memory() as f64 / records as f64,
        catalogue.summary().len()
    );
    println!("inserts            {:.0} a second", records as f64 / spent.as_secs_f64());

    ask(&catalogue, "one word", (0..QUERIES).map(|_| names.word()));
    ask(&catalogue, "two words of a name", (0..QUERIES).map(|_| names.two_of_a_kept_name()));
    ask(&catalogue, "two words anyhow", (0..QUERIES).map(|_| format!("{} {}", names.word(), names.word())));
    for chars in [1, 2, 3, 4] {
        let query = |names: &mut Names| format!("{} {}", names.word(), &names.word()[..chars]);
        ask(&catalogue, &format!("word, prefix of {chars}"), (0..QUERIES).map(|_| query(&mut names)));
    }
    ask(&catalogue, "prefix of 1 alone", (0..QUERIES).map(|_| names.word()[..1].to_owned()));
    ask(
        &catalogue,
        "two most frequent",
        (0..QUERIES / 10).map(|_| format!("{} {}", names.list[0], names.list[1])),
    );
    ask(&catalogue, "ext, rare condition", std::iter::repeat_n("mp3".to_owned(), 50));
    depart(&mut catalogue, records);
}

fn build(records: usize, names: &mut Names) -> (Catalogue, usize, Duration) {
    let mut catalogue = Catalogue::default();
    let (mut name_bytes, mut spent) = (0, Duration::ZERO);
    for child in 0..records.div_ceil(FILES_OF_A_CHILD) {
        let files: Vec<FileEntry> = (0..FILES_OF_A_CHILD).map(|number| names.file(number as u32)).collect();
        if child % (records / FILES_OF_A_CHILD).div_ceil(5000) == 0 {
            names.kept.push(files[0].name.clone());
        }
        name_bytes += files.iter().map(|file| file.name.len()).sum::<usize>();
        let begin = processor_time();
        for file in &files {
            catalogue.add(ChildId(child as u32), file);
        }
        if child % 50 == 49 {
            while !catalogue.take_changes(MAX_SUMMARY_ENTRIES).is_empty() {}
        }
        spent += processor_time() - begin;
    }
    while !catalogue.take_changes(MAX_SUMMARY_ENTRIES).is_empty() {}
    (catalogue, name_bytes, spent)
}

fn ask(catalogue: &Catalogue, what: &str, texts: impl Iterator<Item = String>) {
    let rare = what.contains("rare");
    let filter = Filter { min_size: rare.then_some(u64::MAX), ..Filter::default() };
    let queries: Vec<Query> = texts
        .map(|text| Query { subject: Subject::Words(text.into()), filter: filter.clone(), limit: 50 })
        .collect();
    let mut found = 0;
    let begin = processor_time();
    let mut times: Vec<Duration> = (queries.iter())
        .map(|query| {
            let begin = Instant::now();
            found += catalogue.search(query).len();
            begin.elapsed()
        })
        .collect();
    let total = processor_time() - begin;
    times.sort_unstable();
    let micros = |part: usize| times[(times.len() * part / 1000).min(times.len() - 1)].as_secs_f64() * 1e6;
    println!(
        "{what:<20} p50 {:>7.1} us, p99 {:>7.1}, max {:>8.1}; {:>7.0} a second, {:.1} found each",
        micros(500),
        micros(990),
        micros(1000),
        times.len() as f64 / total.as_secs_f64(),
        found as f64 / times.len() as f64
    );
}

fn depart(catalogue: &mut Catalogue, records: usize) {
    let children = records / FILES_OF_A_CHILD;
    let (mut hidden, mut cleared) = (Vec::new(), Vec::new());
    for at in 0..DROPPED.min(children) {
        let begin = Instant::now();
        catalogue.drop_child(ChildId((at * children / DROPPED) as u32));
        hidden.push(begin.elapsed());
        while catalogue.purge(FILES_OF_A_CHILD) == FILES_OF_A_CHILD {}
        cleared.push(begin.elapsed());
    }
    hidden.sort_unstable();
    cleared.sort_unstable();
    let worst = |times: &[Duration]| times[times.len() * 99 / 100].as_secs_f64() * 1e6;
    println!(
        "a child of {FILES_OF_A_CHILD}     gone in {:.1} us (p99), cleared away in {:.0} us (p99)",
        worst(&hidden),
        worst(&cleared)
    );
}

/// Names by Zipf's law with exponent 1.
struct Names {
    rng: ChaCha8Rng,
    list: Vec<String>,
    /// How likely one of the words up to here is, of the last one's value.
    shares: Vec<f64>,
    /// A part of those that were made, to ask for.
    kept: Vec<Box<str>>,
}

impl Names {
    fn new(words: usize) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let letters = b"etaoinshrdlucmfwypvbgk";
        let list = (0..words)
            .map(|at| {
                let stem = (0..rng.random_range(3..7)).map(|_| {
                    let skew = rng.random::<f64>() * rng.random::<f64>();
                    char::from(letters[(skew * letters.len() as f64) as usize])
                });
                stem.collect::<String>() + &radix36(at)
            })
            .collect();
        let shares = (1..=words).scan(0.0, |sum, rank| {
            *sum += 1.0 / rank as f64;
            Some(*sum)
        });
        Self { rng, list, shares: shares.collect(), kept: Vec::new() }
    }

    fn word(&mut self) -> String {
        let point = self.rng.random::<f64>() * self.shares.last().copied().unwrap_or_default();
        let at = self.shares.partition_point(|share| *share < point);
        self.list[at.min(self.list.len() - 1)].clone()
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        for _ in 0..WORDS_IN_A_NAME {
            name += &self.word();
            name.push(' ');
        }
        name.pop();
        name + [".mp3", ".jpg", ".pdf", ".txt"][self.rng.random_range(0..4)]
    }

    /// Two neighbours, in their order.
    fn two_of_a_kept_name(&mut self) -> String {
        let name = self.rng.random_range(0..self.kept.len());
        let from = self.rng.random_range(0..WORDS_IN_A_NAME - 1);
        self.kept[name].split(' ').skip(from).take(2).collect::<Vec<_>>().join(" ")
    }

    fn file(&mut self, number: u32) -> FileEntry {
        FileEntry {
            number: FileNumber(number),
            name: self.name().into(),
            size: self.rng.random_range(1000..1_000_000_000),
            hash: ContentHash(self.rng.random()),
            kind: Kind::Audio,
            tags: None,
        }
    }
}

fn radix36(mut number: usize) -> String {
    let mut digits = String::new();
    while number > 0 {
        digits.extend(char::from_digit((number % 36) as u32, 36));
        number /= 36;
    }
    digits
}

fn argument(name: &str, otherwise: usize) -> usize {
    let mut arguments = std::env::args().skip_while(|argument| argument != name).skip(1);
    arguments.next().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

/// What this thread has had of a processor; 0 where there is no `/proc`.
fn processor_time() -> Duration {
    let schedstat = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanos = schedstat.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}

/// From the kernel, in pages of 4 KiB; 0 where there is no `/proc`.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or_default() * 4096
}
