//! Words: names, tags and queries are split in the same way everywhere, so that a file is found by any word of
//! its name.
//!
//! A word is a run of letters and digits of any script, in lower case, without accents: other alphabets become
//! Latin letters ("Чайковский" is `chaikovskii`), so a query finds a name in either spelling. `camelCase` and
//! `mp3` stay whole; a file's extension is a word like any other. What transliterates to nothing (a combining
//! accent, a soft hyphen) belongs to the run and vanishes, so composed and decomposed spellings are the same
//! word.
//!
//! Chinese and Japanese are written without spaces, so a run says nothing about words there: each ideograph and
//! each hiragana sign is a word of its own, and a query for two of them finds names that hold both. Katakana
//! and Hangul runs are words, as they stand: their Latin spellings are too ambiguous.
//!
//! The words of a word are that word; no input panics.

use deunicode::deunicode_char;

/// Longest word, in bytes; the rest of a longer one is ignored, in names and queries alike (guess: a SHA-256 in
/// hex fits).
pub const MAX_WORD_BYTES: usize = 64;

/// The words of a text, in their order, with repetitions.
pub fn words(text: &str) -> Words<'_> {
    Words { rest: text, word: String::new() }
}

/// What [`words`] returns.
#[derive(Clone, Debug)]
pub struct Words<'a> {
    rest: &'a str,
    word: String,
}

impl Words<'_> {
    /// The next word, in a buffer that the one after it overwrites: for those who read millions.
    pub fn next_word(&mut self) -> Option<&str> {
        loop {
            if let Some(run) = self.take_ascii_run() {
                if !run.bytes().any(|byte| byte.is_ascii_uppercase()) {
                    return Some(run);
                }
                self.word.clear();
                self.word.push_str(run);
                self.word.make_ascii_lowercase();
                return Some(&self.word);
            }
            let taken = read_run(self.rest, &mut self.word);
            self.rest = &self.rest[taken..];
            if !self.word.is_empty() {
                return Some(&self.word);
            }
            if self.rest.is_empty() {
                return None;
            }
        }
    }
}

impl<'a> Words<'a> {
    /// Most words of most names are plain ASCII, and need no look at each character.
    fn take_ascii_run(&mut self) -> Option<&'a str> {
        let separates = |byte: &u8| byte.is_ascii() && !byte.is_ascii_alphanumeric();
        let bytes = self.rest.as_bytes();
        let start = bytes.iter().take_while(|byte| separates(byte)).count();
        let run = bytes[start..].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        let end = start + run;
        if run == 0 || run > MAX_WORD_BYTES || !bytes.get(end).is_none_or(separates) {
            return None;
        }
        let taken = &self.rest[start..end];
        self.rest = &self.rest[end..];
        Some(taken)
    }
}

impl Iterator for Words<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        self.next_word().map(str::to_owned)
    }
}

/// What a character is to the run that it stands in.
enum Part {
    Letter,
    Alone,
    Nothing,
    Separator,
}

/// Reads one run into `word`, which may come out empty; returns how many bytes of `text` it took.
fn read_run(text: &str, word: &mut String) -> usize {
    word.clear();
    let mut full = false;
    for (at, char) in text.char_indices() {
        match part(char) {
            Part::Letter => full = full || !push_folded(char, word),
            Part::Nothing => {}
            Part::Alone if at == 0 => {
                word.push(char);
                return char.len_utf8();
            }
            Part::Alone => return at,
            Part::Separator => return at + char.len_utf8(),
        }
    }
    text.len()
}

fn part(char: char) -> Part {
    if char.is_ascii() {
        return if char.is_ascii_alphanumeric() { Part::Letter } else { Part::Separator };
    }
    match (char.is_alphanumeric(), deunicode_char(char)) {
        (true, _) if stands_alone(char) => Part::Alone,
        (true, _) => Part::Letter,
        (false, Some("")) => Part::Nothing,
        (false, _) => Part::Separator,
    }
}

fn stands_alone(char: char) -> bool {
    matches!(char, '\u{3005}'..='\u{3007}' | '\u{3041}'..='\u{309f}' | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

fn stands_as_it_is(char: char) -> bool {
    matches!(char, '\u{30a0}'..='\u{30ff}' | '\u{ac00}'..='\u{d7a3}')
}

/// Whether it still fitted.
fn push_folded(char: char, word: &mut String) -> bool {
    if char.is_ascii() {
        return push(char.to_ascii_lowercase(), word);
    }
    if stands_as_it_is(char) {
        return push(char, word);
    }
    match deunicode_char(char) {
        Some(latin) => latin
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .all(|letter| push(letter.to_ascii_lowercase(), word)),
        None => char
            .to_lowercase()
            .filter(|lower| lower.is_alphanumeric())
            .all(|lower| if lower == char { push(lower, word) } else { push_folded(lower, word) }),
    }
}

fn push(char: char, word: &mut String) -> bool {
    let fits = word.len() + char.len_utf8() <= MAX_WORD_BYTES;
    if fits {
        word.push(char);
    }
    fits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(text: &str) -> Vec<String> {
        words(text).collect()
    }

    #[test]
    fn a_file_name_is_split_at_everything_but_letters_and_digits() {
        assert_eq!(split("01 - Julia_Fractal (HD).webM"), ["01", "julia", "fractal", "hd", "webm"]);
        assert_eq!(split("myFile2.tar.gz"), ["myfile2", "tar", "gz"]);
        assert!(split(" ..// - \n").is_empty());
    }

    #[test]
    fn accents_and_case_make_no_difference() {
        assert_eq!(split("Beyoncé ÆTHER Straße"), ["beyonce", "aether", "strasse"]);
        assert_eq!(split("Beyonce\u{301}"), ["beyonce"]);
        assert_eq!(split("Чайковский"), split("chaikovskii"));
        assert_eq!(split("ＡＢＣ"), ["abc"]);
    }

    #[test]
    fn each_ideograph_is_a_word_and_katakana_stay_together() {
        assert_eq!(split("東京タワー.mp3"), ["東", "京", "タワー", "mp3"]);
        assert_eq!(split("한국어 노래"), ["한국어", "노래"]);
    }

    #[test]
    fn a_long_word_is_cut_in_names_and_queries_alike() {
        let long = "x".repeat(MAX_WORD_BYTES + 20);
        assert_eq!(split(&long), [&long[..MAX_WORD_BYTES]]);
        assert_eq!(split(&format!("{}ル", "x".repeat(MAX_WORD_BYTES - 1))), ["x".repeat(MAX_WORD_BYTES - 1)]);
    }

    fn any_text() -> impl Strategy<Value = String> {
        prop_oneof![
            "\\PC{0,40}",
            proptest::collection::vec(any::<char>(), 0..60).prop_map(String::from_iter),
            "[a-zA-Zà-ÿА-я一-丕ァ-ン가-깋 ._\u{300}-\u{310}½ŉİ]{0,60}",
        ]
    }

    proptest! {
        #[test]
        fn the_words_of_words_are_those_words(text in any_text()) {
            let once = split(&text);
            prop_assert_eq!(&split(&once.join(" ")), &once);
            for word in once {
                prop_assert!(!word.is_empty() && word.len() <= MAX_WORD_BYTES);
                prop_assert_eq!(split(&word), vec![word]);
            }
        }

        #[test]
        fn a_part_between_separators_has_the_words_it_has_in_the_whole(left in any_text(), right in any_text()) {
            let mut both = split(&left);
            both.extend(split(&right));
            prop_assert_eq!(split(&format!("{left} {right}")), both);
        }
    }

    #[test]
    fn every_character_alone_is_its_own_words() {
        for char in (0..=u32::from(char::MAX)).filter_map(char::from_u32) {
            for word in words(char.encode_utf8(&mut [0; 4])) {
                assert_eq!(split(&word), [word], "{char:?}");
            }
        }
    }
}
