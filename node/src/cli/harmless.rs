//! Text from the network, made harmless before a terminal sees it.
//!
//! A name may hold what moves the cursor, changes colours, or turns the direction of writing so that `gpj.exe` reads as
//! `exe.jpg`. For people such characters become U+FFFD; in JSON they are escaped, so that nothing is lost.

use std::{borrow::Cow, fmt::Write};

/// What stands for a character that is not shown.
const REPLACEMENT: char = '\u{fffd}';

/// The text without anything that acts on a terminal or deceives its reader.
pub(super) fn harmless(text: &str) -> Cow<'_, str> {
    if text.contains(acts) {
        Cow::Owned(text.replace(acts, &REPLACEMENT.to_string()))
    } else {
        Cow::Borrowed(text)
    }
}

/// The same JSON, with such characters as escapes. Outside of strings JSON has none of them.
pub(super) fn escape_json(json: &str) -> Cow<'_, str> {
    if !json.contains(acts) {
        return Cow::Borrowed(json);
    }
    let mut escaped = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        if !acts(character) {
            escaped.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "\\u{unit:04x}");
        }
    }
    Cow::Owned(escaped)
}

/// Control characters, line and paragraph separators, marks of direction, invisible spaces, tags. The joiners (U+200C,
/// U+200D) stay: Persian and emoji need them.
fn acts(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{061c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_would_move_the_cursor_is_shown_without_its_power() {
        assert_eq!(harmless("a\u{1b}[2Jb\nc\u{9b}d\re"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d\u{fffd}e");
    }

    #[test]
    fn a_name_that_turns_the_direction_of_writing_is_shown_as_it_is_stored() {
        assert_eq!(harmless("photo\u{202e}gpj.exe"), "photo\u{fffd}gpj.exe");
    }

    #[test]
    fn ordinary_names_of_all_languages_stay_as_they_are() {
        for name in ["Zażółć gęślą jaźń.txt", "می\u{200c}خواهم.pdf", "ファイル.zip", "👩\u{200d}🚀.png"]
        {
            assert_eq!(harmless(name), name);
        }
    }

    #[test]
    fn json_keeps_every_character_and_shows_none_that_acts() {
        let name = "a\u{1b}[2J\u{202e}\u{9b}\u{e0041}\nend";
        let json = serde_json::to_string(name).unwrap();
        let escaped = escape_json(&json);
        assert!(escaped.is_ascii(), "{escaped}");
        assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), name);
    }
}
