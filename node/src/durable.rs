//! Files that are there completely or not at all, also after a power cut.
//!
//! A file, or a directory of them, is made under another name, synced, and renamed.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Makes an empty directory, open to its owner alone, that [`finish_dir`] will turn into `dir`. What an earlier
/// attempt left is removed.
pub(crate) fn begin_dir(dir: &Path) -> io::Result<PathBuf> {
    let unfinished = beside(dir);
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&unfinished)?;
    Ok(unfinished)
}

/// Gives the directory its name.
pub(crate) fn finish_dir(unfinished: &Path, dir: &Path) -> io::Result<()> {
    sync_dir(unfinished)?;
    fs::rename(unfinished, dir)?;
    sync_dir(parent(dir))
}

/// Writes a new file. Never overwrites one.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Writes a file or replaces it.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = beside(path);
    let mut file = File::create(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    sync_dir(parent(path))
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".unfinished");
    path.with_file_name(name)
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(unix)]
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(not(unix))]
fn sync_dir(_: &Path) -> io::Result<()> {
    Ok(())
}
