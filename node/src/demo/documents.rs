//! What is shared: documents that this machine has anyway, and one large file that is made.
//!
//! They are copied, never shared where they are: the demo must not depend on what happens to them meanwhile. Only
//! documentation that came with software is looked at, never a person's own folders.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use nearmesh_common::ContentHash;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Documents wanted: "a few hundred".
const WANTED: usize = 420;
/// Most from one place, so that several contribute.
const WANTED_FROM_ONE_PLACE: usize = 210;
/// Most of one name: every package has a README.
const MOST_OF_ONE_NAME: usize = 4;
/// Largest document, in bytes: hundreds of them stay small beside the large file.
const MAX_BYTES: u64 = 512 * 1024;
/// Folder entries looked at, in all (guess: a second of a slow disk).
const MAX_ENTRIES: usize = 60_000;
/// Folders inside folders (guess).
const MAX_DEPTH: usize = 8;
/// The large file, in bytes.
pub(super) const LARGE_BYTES: usize = 256 * 1024 * 1024;
/// The large file's name.
pub(super) const LARGE_NAME: &str = "white-noise-symphony.bin";
/// The large file is the same in every demo.
const LARGE_SEED: u64 = 0x6e65_6172;
const BLOCK_BYTES: usize = 1024 * 1024;

const PLACES: [&str; 5] =
    ["/usr/share/doc", "/usr/share/common-licenses", "/usr/share/man", "/usr/local/share", "/usr/share/info"];
const PLACES_AT_HOME: [&str; 2] = [".cargo/registry/src", ".rustup/toolchains"];
const ENDINGS: [&str; 11] = ["txt", "md", "rst", "html", "pdf", "ps", "gz", "1", "5", "7", "8"];
const BARE_NAMES: [&str; 8] =
    ["readme", "copying", "license", "copyright", "changelog", "news", "authors", "thanks"];

/// A document, copied.
#[derive(Clone, Debug)]
pub(super) struct Document {
    /// Whose it is: a position in the list of folders.
    pub owner: usize,
    /// The copy.
    pub path: PathBuf,
    /// BLAKE3 of its bytes.
    pub hash: ContentHash,
}

/// Copies documents of this machine into the folders, in turn.
pub(super) fn collect(folders: &[PathBuf]) -> io::Result<Vec<Document>> {
    let mut search = Search::default();
    for place in places() {
        let upto = WANTED.min(search.found.len() + WANTED_FROM_ONE_PLACE);
        search.walk(&place, MAX_DEPTH, upto);
    }
    let mut documents = Vec::new();
    for (number, source) in search.found.iter().enumerate() {
        let owner = number % folders.len();
        let (Some(name), Some(parent)) = (source.file_name(), source.parent().and_then(Path::file_name))
        else {
            continue;
        };
        let folder = folders[owner].join(parent);
        fs::create_dir_all(&folder)?;
        let path = folder.join(name);
        if path.exists() {
            continue;
        }
        // Read and written, so that the copy has none of the original's permissions.
        let Ok(bytes) = fs::read(source) else { continue };
        fs::write(&path, &bytes)?;
        documents.push(Document { owner, path, hash: ContentHash(*blake3::hash(&bytes).as_bytes()) });
    }
    Ok(documents)
}

/// Makes the large file.
pub(super) fn make_large(path: &Path) -> io::Result<ContentHash> {
    let mut random = ChaCha8Rng::seed_from_u64(LARGE_SEED);
    let mut hasher = blake3::Hasher::new();
    let mut file = fs::File::create(path)?;
    let mut block = vec![0; BLOCK_BYTES];
    for _ in 0..LARGE_BYTES / BLOCK_BYTES {
        random.fill_bytes(&mut block);
        hasher.update(&block);
        file.write_all(&block)?;
    }
    Ok(ContentHash(*hasher.finalize().as_bytes()))
}

/// BLAKE3 of a file's bytes.
pub(super) fn hash(path: &Path) -> io::Result<ContentHash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(fs::File::open(path)?)?;
    Ok(ContentHash(*hasher.finalize().as_bytes()))
}

/// Words that find this document and no other: those of its name, if no other document shares name or content.
pub(super) fn telling_words(document: &Document, all: &[Document]) -> Option<String> {
    let unique = all
        .iter()
        .filter(|other| other.hash == document.hash || other.path.file_name() == document.path.file_name())
        .count()
        == 1;
    let words = words(&document.path);
    let enough = (2..=4).contains(&words.len()) && words.iter().all(|word| word.len() > 2);
    (unique && enough).then(|| words.join(" "))
}

fn words(path: &Path) -> Vec<String> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let plain = stem.chars().all(|c| c.is_ascii_lowercase() || c == '-' || c == '_');
    if plain {
        stem.split(['-', '_']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    } else {
        Vec::new()
    }
}

fn places() -> Vec<PathBuf> {
    let home = env::var_os("HOME").map(PathBuf::from);
    let at_home = home.iter().flat_map(|home| PLACES_AT_HOME.iter().map(|place| home.join(place)));
    PLACES.iter().map(PathBuf::from).chain(at_home).collect()
}

#[derive(Default)]
struct Search {
    found: Vec<PathBuf>,
    of_name: BTreeMap<String, usize>,
    entries: usize,
}

impl Search {
    fn walk(&mut self, folder: &Path, depth: usize, upto: usize) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        let mut entries: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        entries.sort();
        for path in entries {
            self.entries += 1;
            if self.found.len() >= upto || self.entries > MAX_ENTRIES {
                return;
            }
            // Links are not followed: they lead in circles and out of the place.
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            if metadata.is_dir() && depth > 0 {
                self.walk(&path, depth - 1, upto);
            } else if metadata.is_file() && (1..=MAX_BYTES).contains(&metadata.len()) {
                self.consider(path);
            }
        }
    }

    fn consider(&mut self, path: PathBuf) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()).map(str::to_lowercase) else {
            return;
        };
        let (stem, ending) = name.rsplit_once('.').unwrap_or((&name, ""));
        let bare = BARE_NAMES.iter().any(|known| stem.starts_with(known));
        let hidden = name.starts_with('.');
        if hidden || !bare && !ENDINGS.contains(&ending) {
            return;
        }
        let count = self.of_name.entry(name).or_default();
        if *count < MOST_OF_ONE_NAME {
            *count += 1;
            self.found.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(name: &str, hash: u8) -> Document {
        Document { owner: 0, path: PathBuf::from("/doc").join(name), hash: ContentHash([hash; 32]) }
    }

    #[test]
    fn a_document_is_searched_by_words_that_no_other_has() {
        let all = [document("julia-fractal.txt", 1), document("copyright", 2), document("new-license.md", 3)];
        let copy = [document("julia-fractal.txt", 1), document("other-name.txt", 1)];
        assert_eq!(telling_words(&all[0], &all), Some("julia fractal".to_owned()));
        assert_eq!(telling_words(&all[1], &all), None, "one word finds too much");
        assert_eq!(telling_words(&copy[0], &copy), None, "the same content under two names is one result");
    }

    #[test]
    fn only_documents_are_collected_and_few_of_one_name() {
        let place = tempfile::tempdir().unwrap();
        for package in 0..9 {
            let folder = place.path().join(format!("package-{package}"));
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("README.md"), "read me").unwrap();
            fs::write(folder.join("program"), "not a document").unwrap();
            fs::write(folder.join("empty.txt"), "").unwrap();
            std::os::unix::fs::symlink("/etc/passwd", folder.join("link.txt")).unwrap();
        }
        let mut search = Search::default();
        search.walk(place.path(), MAX_DEPTH, WANTED);
        assert_eq!(search.found.len(), MOST_OF_ONE_NAME);
        assert!(search.found.iter().all(|path| path.ends_with("README.md")));
    }
}
