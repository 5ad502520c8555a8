//! Forms of a summary, compared: `cargo bench -p tests --bench summaries`.
//!
//! A summary is a set of 32-bit hashes, of words and their prefixes, so all forms hold the same entries: those of a supernode with children of 200 files
//! each, named in six words by Zipf's law. A form is judged by the bytes in which it travels whole, the bytes in memory at a follower, the bytes of a *change*
//! (one child of 200 files comes) to a follower that holds the version before, the share of absent words that pass, and the time of a probe.
//!
//! Bloom filters and binary fuse filters cannot forget an entry: the owner has to keep the set itself, and who follows a binary fuse filter gets it whole at
//! each change. For a Bloom filter a change is the positions of the bits that turned, in 4 bytes each.

// A benchmark reads the clock.
#![allow(clippy::disallowed_methods)]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use fastbloom::BloomFilter;
use nearmesh_common::{
    codec,
    wire::mesh::{MAX_SUMMARY_ENTRIES, SummaryEntry, SummaryVersion},
    wire::query::Subject,
};
use nearmesh_supernode::summary::{Probe, Summary, SummaryView};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use roaring::RoaringBitmap;
use xorf::{BinaryFuse8, Filter};

/// Files of one child (guess: between what Gnutella's users shared at the median and in the mean).
const FILES_OF_A_CHILD: usize = 200;
const WORDS_IN_A_NAME: usize = 6;
const VOCABULARY: usize = 200_000;
/// Children of the supernodes that are measured.
const SIZES: [usize; 3] = [10, 100, 1000];
const PROBES: usize = 1_000_000;
/// What a Bloom filter is made for: the most that the design allows.
const FALSE_POSITIVES: f64 = 0.01;

/// What one form costs.
struct Measured {
    form: &'static str,
    wire: usize,
    memory: usize,
    change: usize,
    passed: usize,
    probe: Duration,
}

fn main() {
    println!(
        "children  entries  form          wire B/entry  memory B/entry  bytes of a change  absent that pass  ns/probe"
    );
    for children in SIZES {
        let (before, after) = sets(children);
        for measured in
            [ours(&before, &after), bloom(&before, &after), fuse(&before, &after), roaring(&before, &after)]
        {
            let each = |bytes: usize| bytes as f64 / before.len() as f64;
            println!(
                "{children:>8}  {:>7}  {:<12}  {:>12.2}  {:>14.2}  {:>17}  {:>15.4}%  {:>8.1}",
                before.len(),
                measured.form,
                each(measured.wire),
                each(measured.memory),
                measured.change,
                measured.passed as f64 * 100.0 / PROBES as f64,
                measured.probe.as_nanos() as f64 / PROBES as f64,
            );
        }
    }
    words();
}

/// The entries of a supernode with so many children, and with one more.
fn sets(children: usize) -> (Vec<SummaryEntry>, Vec<SummaryEntry>) {
    let mut names = Names::new();
    let mut summary = Summary::default();
    let mut seen = std::collections::BTreeSet::new();
    let mut attach = |summary: &mut Summary| {
        for _ in 0..FILES_OF_A_CHILD * WORDS_IN_A_NAME {
            let word = names.word();
            if seen.insert(word.clone()) {
                summary.add_word(&word);
            }
        }
    };
    (0..children).for_each(|_| attach(&mut summary));
    let before = summary.all().collect();
    attach(&mut summary);
    (before, summary.all().collect())
}

fn ours(before: &[SummaryEntry], after: &[SummaryEntry]) -> Measured {
    let mut view = SummaryView::default();
    let version = SummaryVersion { epoch: 1, number: 1 };
    let parts: Vec<_> = before.chunks(MAX_SUMMARY_ENTRIES).collect();
    for (at, part) in parts.iter().enumerate() {
        view.apply_part(version, (at == 0, at + 1 == parts.len()), part).expect("it is in step");
    }
    let (passed, probe) = probe(|entry| view.has(entry));
    let change = codec::encode(&added(before, after)).len();
    Measured {
        form: "ours",
        wire: codec::encode(&before).len(),
        memory: view.memory(),
        change,
        passed,
        probe,
    }
}

fn bloom(before: &[SummaryEntry], after: &[SummaryEntry]) -> Measured {
    let filter = |entries: &[SummaryEntry]| {
        // Both for as many entries, as a filter that is changed keeps its size.
        let mut filter = BloomFilter::with_false_pos(FALSE_POSITIVES).seed(&7).expected_items(before.len());
        for entry in entries {
            filter.insert(entry);
        }
        filter
    };
    let (old, new) = (filter(before), filter(after));
    let turned: u32 =
        old.as_slice().iter().zip(new.as_slice()).map(|(old, new)| (old ^ new).count_ones()).sum();
    let (passed, probe) = probe(|entry| old.contains(&entry));
    let bytes = size_of_val(old.as_slice());
    Measured { form: "Bloom", wire: bytes, memory: bytes, change: turned as usize * 4, passed, probe }
}

fn fuse(before: &[SummaryEntry], after: &[SummaryEntry]) -> Measured {
    let filter = |entries: &[SummaryEntry]| {
        let keys: Vec<u64> = entries.iter().map(|entry| u64::from(*entry)).collect();
        BinaryFuse8::try_from(keys).expect("distinct keys")
    };
    let (old, new) = (filter(before), filter(after));
    let (passed, probe) = probe(|entry| old.contains(&u64::from(entry)));
    Measured { form: "binary fuse", wire: old.len(), memory: old.len(), change: new.len(), passed, probe }
}

fn roaring(before: &[SummaryEntry], after: &[SummaryEntry]) -> Measured {
    let set: RoaringBitmap = before.iter().copied().collect();
    let (passed, probe) = probe(|entry| set.contains(entry));
    let statistics = set.statistics();
    let containers = statistics.n_containers as usize;
    // A container is a vector with its key: 40 bytes, and the allocator's header.
    let memory = containers * 56
        + (statistics.n_bytes_array_containers + statistics.n_bytes_bitset_containers) as usize;
    let change = codec::encode(&added(before, after)).len();
    Measured { form: "roaring", wire: set.serialized_size(), memory, change, passed, probe }
}

fn added(before: &[SummaryEntry], after: &[SummaryEntry]) -> Vec<SummaryEntry> {
    after.iter().copied().filter(|entry| before.binary_search(entry).is_err()).collect()
}

/// Entries are hashes: an absent word is any number.
fn probe(has: impl Fn(SummaryEntry) -> bool) -> (usize, Duration) {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let entries: Vec<SummaryEntry> = (0..PROBES).map(|_| rng.random()).collect();
    let begin = Instant::now();
    let passed = entries.iter().filter(|entry| has(black_box(**entry))).count();
    (passed, begin.elapsed())
}

/// Whole questions, as a search asks them of each member of its group.
fn words() {
    let mut names = Names::new();
    let mut summary = Summary::default();
    let offered: std::collections::BTreeSet<String> =
        (0..100 * FILES_OF_A_CHILD * WORDS_IN_A_NAME).map(|_| names.word()).collect();
    offered.iter().for_each(|word| summary.add_word(word));
    let mut view = SummaryView::default();
    let (entries, version) = (summary.all().collect::<Vec<_>>(), SummaryVersion { epoch: 1, number: 1 });
    let parts = entries.len().div_ceil(MAX_SUMMARY_ENTRIES);
    for (at, part) in entries.chunks(MAX_SUMMARY_ENTRIES).enumerate() {
        view.apply_part(version, (at == 0, at + 1 == parts), part).expect("it is in step");
    }
    let probes: Vec<Probe> = (0..100_000)
        .map(|_| Probe::new(&Subject::Words(format!("{} {}", names.word(), names.word()).into())))
        .collect();
    let begin = Instant::now();
    let passed = probes.iter().filter(|probe| view.may_match(black_box(probe))).count();
    println!(
        "two words by Zipf's law: {:.0} ns a question, {:.1} % pass",
        begin.elapsed().as_nanos() as f64 / probes.len() as f64,
        passed as f64 * 100.0 / probes.len() as f64
    );
}

/// Words by Zipf's law with exponent 1.
struct Names {
    rng: ChaCha8Rng,
    shares: Vec<f64>,
}

impl Names {
    fn new() -> Self {
        let shares = (1..=VOCABULARY).scan(0.0, |sum, rank| {
            *sum += 1.0 / rank as f64;
            Some(*sum)
        });
        Self { rng: ChaCha8Rng::seed_from_u64(1), shares: shares.collect() }
    }

    fn word(&mut self) -> String {
        let point = self.rng.random::<f64>() * self.shares.last().copied().unwrap_or_default();
        let rank = self.shares.partition_point(|share| *share < point);
        // Seven letters that differ from word to word from the first on.
        let mut mixed = (rank as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let letters = (0..7).map(|_| {
            let letter = b'a' + (mixed % 26) as u8;
            mixed /= 26;
            char::from(letter)
        });
        letters.collect()
    }
}
