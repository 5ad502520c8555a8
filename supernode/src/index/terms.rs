//! What a query asks of a name, and how well a name answers.
//!
//! All words must be among the words of the name or of the tags; the last one may also be the beginning of a
//! word. The score depends on the query and the entry alone, so scores of different supernodes can be compared.

use nearmesh_common::{
    text::{MAX_WORD_BYTES, Words, words},
    wire::{file::Tags, query::MAX_QUERY_WORDS},
};

/// Most words of a name that are indexed (guess: 255 bytes of Japanese are 85).
pub const MAX_NAME_WORDS: usize = 96;
/// Most words of tags that are indexed beside those of the name (guess).
pub const MAX_TAG_WORDS: usize = 24;
/// What they take at most, with a space between.
pub(super) const MAX_TAG_TEXT_BYTES: usize = MAX_TAG_WORDS * (MAX_WORD_BYTES + 1);

const EXACT_LAST: u16 = 1 << 15;
const WORD_IN_NAME_SHIFT: u32 = 10;
const MOST_EXTRA_WORDS: usize = (1 << WORD_IN_NAME_SHIFT) - 1;

/// The words of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    whole: Vec<String>,
    last: String,
}

impl Terms {
    /// Splits a query's text; `None` if there is no word in it, and then nothing matches. Words beyond
    /// [`MAX_QUERY_WORDS`] are ignored.
    pub fn parse(text: &str) -> Option<Self> {
        let mut whole: Vec<String> = words(text).take(MAX_QUERY_WORDS).collect();
        let last = whole.pop()?;
        whole.sort_unstable();
        whole.dedup();
        Some(Self { whole, last })
    }

    /// Those that must match as they are: all but the last, each once.
    pub fn whole(&self) -> &[String] {
        &self.whole
    }

    /// The last one, which matches words that begin with it, too.
    pub fn last(&self) -> &str {
        &self.last
    }

    /// How well an entry matches; `None` if it does not. `tag_words` are the tags' words, as [`words`] splits them.
    ///
    /// In this order of weight: the last word is met as a whole; few words are met by the tags alone; few words
    /// of the name were not asked for.
    pub fn score(&self, name: &str, tag_words: &str) -> Option<u16> {
        let mut found = Found::default();
        let in_name = self.mark(words(name), MAX_NAME_WORDS, &mut found);
        let named = found.count();
        self.mark(words(tag_words), MAX_TAG_WORDS, &mut found);
        if found.whole.count_ones() as usize != self.whole.len() || !(found.last || found.prefix) {
            return None;
        }
        let by_tags = (found.count() - named).min(MAX_QUERY_WORDS);
        let extra = in_name.saturating_sub(named).min(MOST_EXTRA_WORDS);
        let exact = if found.last { EXACT_LAST } else { 0 };
        let closeness = ((MAX_QUERY_WORDS - by_tags) << WORD_IN_NAME_SHIFT) + MOST_EXTRA_WORDS - extra;
        Some(exact | u16::try_from(closeness).unwrap_or(EXACT_LAST - 1))
    }

    /// Notes which of the words are met by `text`; returns how many words that has.
    fn mark(&self, mut text: Words<'_>, most: usize, found: &mut Found) -> usize {
        for seen in 0..most {
            let Some(word) = text.next_word() else { return seen };
            if let Some(at) = self.whole.iter().position(|whole| whole == word) {
                found.whole |= 1 << at;
            }
            if word.starts_with(&*self.last) {
                found.prefix = true;
                found.last |= word.len() == self.last.len();
            }
        }
        most
    }
}

/// The words of tags, as they are kept: split, and joined by spaces.
pub(super) fn tag_text(tags: &Tags) -> String {
    let Tags { title, artist, album } = tags;
    let all: Vec<String> =
        [title, artist, album].into_iter().flat_map(|tag| words(tag)).take(MAX_TAG_WORDS).collect();
    all.join(" ")
}

/// Visits the words by which an entry is found, some of them more than once.
pub(super) fn indexed_words(name: &str, tag_words: &str, mut visit: impl FnMut(&str)) {
    for (text, most) in [(name, MAX_NAME_WORDS), (tag_words, MAX_TAG_WORDS)] {
        let mut text = words(text);
        for _ in 0..most {
            let Some(word) = text.next_word() else { break };
            visit(word);
        }
    }
}

/// Which words of a query were met: `whole` by position, which [`MAX_QUERY_WORDS`] lets fit.
#[derive(Clone, Copy, Default)]
struct Found {
    whole: u16,
    prefix: bool,
    last: bool,
}

impl Found {
    fn count(self) -> usize {
        self.whole.count_ones() as usize + usize::from(self.prefix)
    }
}

const _: () =
    assert!(MAX_QUERY_WORDS <= u16::BITS as usize && MAX_QUERY_WORDS << WORD_IN_NAME_SHIFT < 1 << 15);

#[cfg(test)]
mod tests {
    use super::*;

    fn score(query: &str, name: &str, tags: &str) -> Option<u16> {
        Terms::parse(query).unwrap().score(name, tags)
    }

    #[test]
    fn all_words_must_match_and_the_last_may_be_a_beginning() {
        assert!(score("julia frac", "Julia Fractal.mp4", "").is_some());
        assert!(score("frac julia", "Julia Fractal.mp4", "").is_none());
        assert!(score("julia mandel", "Julia Fractal.mp4", "").is_none());
        assert!(score("julia pixels", "Julia Fractal.mp4", "the pixels").is_some());
        assert!(Terms::parse(" -- ").is_none());
    }

    #[test]
    fn a_name_is_found_by_itself() {
        for name in ["01 - Beyoncé & Jay-Z.mp3", "a a a", "東京タワー.txt", &"many words ".repeat(60)] {
            assert!(score(name, name, "").is_some(), "{name}");
        }
    }

    #[test]
    fn closer_matches_score_higher() {
        let best = score("julia fractal", "julia fractal", "");
        let longer = score("julia fractal", "julia fractal in colours", "");
        let by_tags = score("julia fractal", "fractal", "julia");
        let by_prefix = score("julia fractal", "julia fractals", "");
        assert!(best > longer && longer > by_tags && by_tags > by_prefix && by_prefix.is_some());
    }
}
