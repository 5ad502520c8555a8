//! Names from the network, made harmless. They never decide where a byte is written: what comes out is one plain file
//! name for every common file system, visible, without separators, and never one of our own working files (those begin
//! with a dot).

/// Longest file name, in bytes (Linux, macOS and Windows file systems).
pub const MAX_FILE_NAME_BYTES: usize = 255;
/// Longest extension that is kept when a name is shortened, in bytes (guess: `.torrent`, `.tar.zst` and then some).
const MAX_EXTENSION_BYTES: usize = 16;
/// What a name becomes of which nothing is left.
const UNNAMED: &str = "unnamed";
/// Names of devices on Windows, with any extension, in any case.
const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];

/// The nearest harmless file name; the same name again if it already is one.
///
/// At most [`MAX_FILE_NAME_BYTES`] long; [`numbered`] keeps that bound too.
pub fn safe_file_name(wish: &str) -> String {
    let replaced: String = wish.chars().filter(|c| !is_invisible(*c)).map(replace).collect();
    let mut name = trim(&replaced).to_owned();
    if is_device(&name) {
        name.insert(0, '_');
    }
    let name = shortened(&name, "");
    if name.is_empty() { UNNAMED.to_owned() } else { name }
}

/// The name's next variant, for when it is taken: `song.mp3` becomes `song (1).mp3`.
pub fn numbered(name: &str, number: u32) -> String {
    shortened(name, &format!(" ({number})"))
}

/// The longest beginning of `text` that has at most `bytes` bytes.
pub(crate) fn prefix(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// `stem + insert + extension` in at most [`MAX_FILE_NAME_BYTES`], at the expense of the stem.
fn shortened(name: &str, insert: &str) -> String {
    let (stem, extension) = split_extension(name);
    let room = MAX_FILE_NAME_BYTES - insert.len() - extension.len();
    let cut = prefix(stem, room);
    // A cut may bare a space or a dot at the end; one that was there before a kept extension stays.
    let cut = if cut.len() < stem.len() || extension.is_empty() { trim_end(cut) } else { cut };
    format!("{cut}{insert}{extension}")
}

fn split_extension(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot <= MAX_EXTENSION_BYTES => name.split_at(dot),
        _ => (name, ""),
    }
}

fn trim(name: &str) -> &str {
    trim_end(name.trim_start_matches(|c: char| c == '.' || c.is_whitespace()))
}

fn trim_end(name: &str) -> &str {
    name.trim_end_matches(|c: char| c == '.' || c.is_whitespace())
}

/// Characters that separate, that some file system refuses, or that would break a line.
fn replace(c: char) -> char {
    match c {
        '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' => '_',
        '\u{2028}' | '\u{2029}' => '_',
        c if c.is_control() => '_',
        c => c,
    }
}

/// Characters that show nothing, or turn the direction of what follows: they make one name look like another.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{00AD}' | '\u{061C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}

fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end().to_uppercase();
    let mut end = stem.chars();
    let numbered =
        matches!(end.next_back(), Some('0'..='9' | '¹' | '²' | '³')) && matches!(end.as_str(), "COM" | "LPT");
    numbered || DEVICES.contains(&stem.as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_names_stay_as_they_are() {
        for name in
            ["song.mp3", "Jürgen – Urlaub (2).jpg", "a", "日本語.txt", "archive.tar.gz", "no extension"]
        {
            assert_eq!(safe_file_name(name), name);
        }
    }

    #[test]
    fn names_that_point_elsewhere_become_plain_ones() {
        let cases = [
            ("../../etc/passwd", "_.._etc_passwd"),
            ("/etc/passwd", "_etc_passwd"),
            (r"C:\Windows\system.ini", "C__Windows_system.ini"),
            ("..", "unnamed"),
            ("", "unnamed"),
            (" . ", "unnamed"),
            (".bashrc", "bashrc"),
            ("file.txt. . ", "file.txt"),
            ("two\nlines\0.txt", "two_lines_.txt"),
            ("gpj.\u{202e}exe.txt", "gpj.exe.txt"),
            ("nul", "_nul"),
            ("Com1.tar.gz", "_Com1.tar.gz"),
            ("aux .txt", "_aux .txt"),
            ("console.txt", "console.txt"),
        ];
        for (wish, name) in cases {
            assert_eq!(safe_file_name(wish), name, "for {wish:?}");
        }
    }

    #[test]
    fn a_long_name_keeps_its_extension() {
        let name = safe_file_name(&format!("{}.flac", "é".repeat(200)));
        assert!(name.len() <= MAX_FILE_NAME_BYTES && name.ends_with("é.flac"));
        assert_eq!(numbered("song.mp3", 1), "song (1).mp3");
        let next = numbered(&name, 12);
        assert!(next.len() <= MAX_FILE_NAME_BYTES && next.ends_with("é (12).flac"));
    }

    proptest! {
        #[test]
        fn whatever_is_wished_one_harmless_name_comes_out(
            wish in proptest::string::string_regex("(?s).{0,400}|[./\\\\ :a\u{202e}é\n]{0,20}|(?i)(con|nul|com1)[. a]{0,3}").unwrap(),
            number in 1u32..10_000,
        ) {
            let safe = safe_file_name(&wish);
            for name in [safe.clone(), numbered(&safe, number)] {
                prop_assert!(!name.is_empty() && name.len() <= MAX_FILE_NAME_BYTES);
                prop_assert!(!name.starts_with('.') && !name.ends_with('.') && !name.ends_with(' '));
                let harmful = ['/', '\\', '\0', '\n', '\u{202e}'];
                prop_assert!(!name.contains(harmful));
                prop_assert!(!is_device(&name));
                let path = std::path::Path::new("inbox").join(&name);
                prop_assert_eq!(path.parent(), Some(std::path::Path::new("inbox")));
            }
            prop_assert_eq!(safe_file_name(&safe), safe, "a safe name is left alone");
        }
    }
}
