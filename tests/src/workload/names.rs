//! Words and names. Words are numbers until somebody reads them.

use super::{
    draw::{self, Purpose},
    parameters::{COMMON_WORDS, VOCABULARY},
};

const CONSONANTS: &[u8; 16] = b"bcdfghjklmnprstv";
const VOWELS: &[u8; 5] = b"aeiou";
/// Different syllables.
const SYLLABLES: u64 = 80;
/// Syllables in a word: 80^4 words, 41 million. All words have the same length, so that none is the beginning of another.
const LENGTH: u32 = 4;
/// Different words.
const WORDS: u64 = SYLLABLES.pow(LENGTH);
/// Prime to [`WORDS`]: neighbouring numbers become words that look different.
const SPREAD: u64 = 25_326_001;

/// A word's number: common words first, by how common they are in names; then the title words, by file; then words that
/// are in no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Word(pub(super) u32);

impl Word {
    /// How it is written: eight letters.
    pub(super) fn spelled(self) -> String {
        let mut number = (u64::from(self.0) * SPREAD) % WORDS;
        let mut letters = String::with_capacity(2 * LENGTH as usize);
        for _ in 0..LENGTH {
            let syllable = (number % SYLLABLES) as usize;
            number /= SYLLABLES;
            letters.push(char::from(CONSONANTS[syllable / VOWELS.len()]));
            letters.push(char::from(VOWELS[syllable % VOWELS.len()]));
        }
        letters
    }
}

/// What files are called.
#[derive(Debug)]
pub(super) struct Names {
    seed: u64,
    files: u32,
}

impl Names {
    pub(super) fn new(seed: u64, files: u32) -> Self {
        Self { seed, files }
    }

    /// The word that only this file's name has.
    pub(super) fn title(&self, file: u32) -> Word {
        Word(VOCABULARY + file)
    }

    /// A word that no name has.
    pub(super) fn unknown(&self, number: u32) -> Word {
        let named = VOCABULARY + self.files;
        Word(named + number % (WORDS as u32 - named))
    }

    /// The common words of a name, none twice.
    pub(super) fn common(&self, file: u32) -> Vec<Word> {
        let (least, most) = COMMON_WORDS;
        let span = u64::from(most - least + 1);
        let count = least + (draw::bits(self.seed, file, Purpose::WordCount) % span) as u32;
        let mut words: Vec<Word> = Vec::with_capacity(count as usize);
        for number in 0..count {
            let word = Word(draw::zipf(draw::unit(self.seed, file, Purpose::Word(number)), VOCABULARY));
            if !words.contains(&word) {
                words.push(word);
            }
        }
        words
    }

    /// All words of a name, the title first.
    pub(super) fn words(&self, file: u32) -> Vec<Word> {
        let mut words = vec![self.title(file)];
        words.extend(self.common(file));
        words
    }
}
