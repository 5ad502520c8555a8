//! What an audio file says of itself: title, artist and album, so that it is found by them too.
//!
//! The files come from anywhere, so reading is bounded ([`MAX_READ_BYTES`], [`MAX_ITEM_BYTES`]) and a file that makes no sense has no
//! tags; it is shared all the same.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use lofty::{
    config::{GlobalOptions, ParseOptions, apply_global_options},
    file::TaggedFileExt,
    probe::Probe,
    tag::{Accessor, Tag},
};
use nearmesh_common::wire::file::{MAX_TAG_BYTES, Tags};

/// Most bytes of a file that are read for its tags (guess: a large cover picture, which stands before the text, and then some).
pub const MAX_READ_BYTES: u64 = 32 * 1024 * 1024;
/// Most memory for one item of a tag, in bytes (guess: pictures are larger, but nobody looks at them here).
pub const MAX_ITEM_BYTES: usize = 4 * 1024 * 1024;

/// The tags of an audio file; `None` if it has none that can be read. Blocking.
pub fn read_tags(path: &Path) -> Option<Tags> {
    apply_global_options(GlobalOptions::new().allocation_limit(MAX_ITEM_BYTES));
    let reader = BufReader::new(Bounded { file: File::open(path).ok()?, left: MAX_READ_BYTES });
    let options = ParseOptions::new().read_properties(false).read_cover_art(false);
    let tagged = Probe::new(reader).options(options).guess_file_type().ok()?.read().ok()?;
    let tags = Tags {
        title: first(tagged.tags(), |tag| tag.title()),
        artist: first(tagged.tags(), |tag| tag.artist()),
        album: first(tagged.tags(), |tag| tag.album()),
    };
    (tags != Tags::default()).then_some(tags)
}

/// The first that says something: a file may have an ID3v2 tag, an APE tag and an ID3v1 tag, each with parts.
fn first<'a>(tags: &'a [Tag], item: impl Fn(&'a Tag) -> Option<std::borrow::Cow<'a, str>>) -> Box<str> {
    let text = tags.iter().filter_map(item).find(|text| !text.trim().is_empty()).unwrap_or_default();
    let text = text.trim();
    text[..text.floor_char_boundary(MAX_TAG_BYTES)].into()
}

/// A file of which only so much can be read.
struct Bounded {
    file: File,
    left: u64,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other("more than tags may take"));
        }
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.file.read(&mut buffer[..most])?;
        self.left -= count as u64;
        Ok(count)
    }
}

impl Seek for Bounded {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    /// One silent frame of MPEG 1 layer III, 128 kbit/s at 44.1 kHz.
    fn silence() -> Vec<u8> {
        let mut frame = vec![0; 417];
        frame[..4].copy_from_slice(&[0xff, 0xfb, 0x90, 0x00]);
        frame
    }

    /// A tiny MP3 with an ID3v2.4 tag.
    pub fn tiny_mp3(title: &str, artist: &str, album: &str) -> Vec<u8> {
        let mut frames = Vec::new();
        for (id, text) in [(b"TIT2", title), (b"TPE1", artist), (b"TALB", album)] {
            frames.extend_from_slice(id);
            frames.extend_from_slice(&syncsafe(text.len() + 1));
            // No flags; the text is UTF-8.
            frames.extend_from_slice(&[0, 0, 3]);
            frames.extend_from_slice(text.as_bytes());
        }
        let mut file = b"ID3\x04\x00\x00".to_vec();
        file.extend_from_slice(&syncsafe(frames.len()));
        file.extend_from_slice(&frames);
        for _ in 0..4 {
            file.extend_from_slice(&silence());
        }
        file
    }

    fn syncsafe(size: usize) -> [u8; 4] {
        [21, 14, 7, 0].map(|shift| (size >> shift & 0x7f) as u8)
    }

    fn tags_of(bytes: &[u8]) -> Option<Tags> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        read_tags(file.path())
    }

    #[test]
    fn an_mp3_tells_its_title_artist_and_album() {
        let tags = tags_of(&tiny_mp3("Fractal Dreams", "Julia Färber", "Sets")).unwrap();
        assert_eq!((&*tags.title, &*tags.artist, &*tags.album), ("Fractal Dreams", "Julia Färber", "Sets"));
    }

    #[test]
    fn an_old_mp3_tells_them_at_its_end() {
        let mut file: Vec<u8> = std::iter::repeat_with(silence).take(4).flatten().collect();
        let mut tag = [0; 128];
        tag[..3].copy_from_slice(b"TAG");
        tag[3..11].copy_from_slice(b"Old Song");
        tag[33..36].copy_from_slice(b"Bob");
        file.extend_from_slice(&tag);
        let tags = tags_of(&file).unwrap();
        assert_eq!((&*tags.title, &*tags.artist, &*tags.album), ("Old Song", "Bob", ""));
    }

    #[test]
    fn a_long_tag_is_cut_between_characters() {
        let tags = tags_of(&tiny_mp3(&format!("x{}", "é".repeat(500)), "a", "b")).unwrap();
        assert_eq!(&*tags.title, format!("x{}", "é".repeat((MAX_TAG_BYTES - 1) / 2)));
        assert_eq!(tags.title.len(), MAX_TAG_BYTES - 1);
    }

    #[test]
    fn a_file_without_tags_or_sense_has_none() {
        assert_eq!(tags_of(b""), None);
        assert_eq!(tags_of(&silence()), None);
        assert_eq!(tags_of(b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f and nothing"), None);
        assert_eq!(read_tags(Path::new("/nonexistent/song.mp3")), None);
    }

    proptest! {
        #[test]
        fn a_broken_file_never_panics(
            head in 0usize..6,
            at in 0usize..80,
            with in proptest::collection::vec(any::<u8>(), 1..40),
            cut in 0usize..1200,
        ) {
            let heads: [&[u8]; 6] =
                [b"", b"fLaC", b"OggS", b"RIFF....WAVEfmt ", b"\0\0\0\x20ftypM4A ", b"FORM....AIFFCOMM"];
            let mut bytes = heads[head].to_vec();
            bytes.extend(tiny_mp3("Fractal Dreams", "Julia", "Sets"));
            bytes.splice(at..at + with.len(), with);
            bytes.truncate(cut);
            let _ = tags_of(&bytes);
        }
    }
}
