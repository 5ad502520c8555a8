//! Small files that must be whole or absent.

use std::{fs, io, path::Path};

/// Replaces a file by one with these bytes: a crash leaves the old one or the new one.
///
/// # Errors
/// If the folder cannot be written.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    io::Write::write_all(&mut new, bytes)?;
    new.as_file().sync_data()?;
    new.persist(path).map(|_| ()).map_err(|error| error.error)
}
