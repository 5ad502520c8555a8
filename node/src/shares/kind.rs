//! What sort of file it is, told from its extension: people search by it, nothing else depends on it.

use nearmesh_common::wire::file::Kind;

/// Extensions by kind, in lower case: the common ones of the media types that IANA registers, and of what file sharing knows.
const EXTENSIONS: [(Kind, &[&str]); 5] = [
    (
        Kind::Audio,
        &[
            "aac", "aif", "aiff", "alac", "amr", "ape", "au", "flac", "m4a", "m4b", "mid", "midi", "mka",
            "mp2", "mp3", "mpc", "oga", "ogg", "opus", "ra", "spx", "wav", "wma", "wv",
        ],
    ),
    (
        Kind::Video,
        &[
            "3gp", "asf", "avi", "divx", "flv", "m2ts", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "ogm",
            "ogv", "rm", "rmvb", "vob", "webm", "wmv",
        ],
    ),
    (
        Kind::Image,
        &[
            "avif", "bmp", "cr2", "dng", "gif", "heic", "heif", "ico", "jpeg", "jpg", "jxl", "nef", "png",
            "ppm", "psd", "raw", "svg", "tga", "tif", "tiff", "webp", "xcf",
        ],
    ),
    (
        Kind::Document,
        &[
            "azw3", "bib", "cbr", "cbz", "csv", "djvu", "doc", "docx", "epub", "htm", "html", "json", "log",
            "md", "mobi", "odp", "ods", "odt", "pdf", "ppt", "pptx", "ps", "rst", "rtf", "tex", "toml",
            "tsv", "txt", "xls", "xlsx", "xml", "yaml", "yml",
        ],
    ),
    (
        Kind::Archive,
        &[
            "7z", "apk", "br", "bz2", "cab", "cpio", "deb", "dmg", "gz", "img", "iso", "jar", "lz", "lz4",
            "lzma", "rar", "rpm", "tar", "tbz2", "tgz", "txz", "xz", "zip", "zst",
        ],
    ),
];

/// The kind of a file with this name. A name without extension, or with an unknown one, is of kind other.
pub fn kind_of(name: &str) -> Kind {
    let Some((stem, extension)) = name.rsplit_once('.') else { return Kind::Other };
    if stem.is_empty() {
        return Kind::Other;
    }
    let is_it = |known: &&str| known.eq_ignore_ascii_case(extension);
    EXTENSIONS.iter().find(|(_, known)| known.iter().any(is_it)).map_or(Kind::Other, |(kind, _)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_extension_tells_the_kind_whatever_its_case() {
        let expected = [
            ("Julia.FLAC", Kind::Audio),
            ("holiday.Mp4", Kind::Video),
            ("a.b.c.jpeg", Kind::Image),
            ("thesis.pdf", Kind::Document),
            ("source.tar.gz", Kind::Archive),
            ("README", Kind::Other),
            ("mp3", Kind::Other),
            (".mp3", Kind::Other),
            ("trailing.", Kind::Other),
            ("strange.mp3\n", Kind::Other),
            ("", Kind::Other),
        ];
        for (name, kind) in expected {
            assert_eq!(kind_of(name), kind, "{name:?}");
        }
    }

    #[test]
    fn no_extension_has_two_kinds() {
        let mut all: Vec<&str> = EXTENSIONS.iter().flat_map(|(_, list)| list.iter().copied()).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
