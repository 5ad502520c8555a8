//! Where the control socket of a profile is.
//!
//! In the profile's directory, unless its path is too long for a socket's name. Then the node makes a private
//! directory with a short name and leaves a note in the profile that says where, so that a client finds it whatever
//! its own environment is.

use std::{
    env, fs, io,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt, net::UnixListener},
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::{PRIVATE_DIRECTORY, Profile, ProfileLock};

/// Longest name of a Unix socket, in bytes: 103 on macOS and the BSDs, 107 on Linux; the smaller, for all.
const MAX_SOCKET_PATH_BYTES: usize = 103;
const SOCKET: &str = "control.sock";
const NOTE: &str = "control.path";
/// Nobody but the owner.
const PRIVATE_SOCKET: u32 = 0o600;

/// A control socket that this process listens on; gone from the disk when dropped.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    note: Option<PathBuf>,
}

/// Why there is no control socket.
#[derive(Debug, Error)]
#[error("the control socket {path:?} cannot be made: {source}")]
pub struct SocketError {
    path: PathBuf,
    source: io::Error,
}

impl Profile {
    /// Where a client finds the running node's socket.
    pub fn control_socket(&self) -> PathBuf {
        let usual = self.directory.join(SOCKET);
        if fits(&usual) {
            return usual;
        }
        match fs::read(self.directory.join(NOTE)) {
            Ok(path) => Path::new(std::ffi::OsStr::from_bytes(&path)).to_owned(),
            Err(_) => usual,
        }
    }

    /// Listens on the control socket, in place of any that a crashed node left.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn bind_control(&self, _lock: &ProfileLock) -> Result<(UnixListener, ControlSocket), SocketError> {
        let left = self.control_socket();
        let _ = fs::remove_file(&left);
        let usual = self.directory.join(SOCKET);
        let socket = if fits(&usual) {
            ControlSocket { path: usual, note: None }
        } else {
            remove_short_directory(&left);
            let failed = |source| SocketError { path: usual, source };
            let path = make_short_directory().map_err(failed.clone())?.join(SOCKET);
            let note = self.directory.join(NOTE);
            fs::write(&note, path.as_os_str().as_bytes()).map_err(failed)?;
            ControlSocket { path, note: Some(note) }
        };
        let failed = |source| SocketError { path: socket.path.clone(), source };
        let listener = UnixListener::bind(&socket.path).map_err(failed)?;
        fs::set_permissions(&socket.path, fs::Permissions::from_mode(PRIVATE_SOCKET)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        Ok((listener, socket))
    }
}

impl ControlSocket {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
        if let Some(note) = &self.note {
            let _ = fs::remove_file(note);
            remove_short_directory(&self.path);
        }
    }
}

fn fits(path: &Path) -> bool {
    path.as_os_str().len() <= MAX_SOCKET_PATH_BYTES
}

fn make_short_directory() -> io::Result<PathBuf> {
    let base = env::var_os("XDG_RUNTIME_DIR").map_or_else(env::temp_dir, PathBuf::from);
    let base = if base.is_dir() { base } else { env::temp_dir() };
    let private = fs::Permissions::from_mode(PRIVATE_DIRECTORY);
    Ok(tempfile::Builder::new().prefix("nearmesh-").permissions(private).tempdir_in(base)?.keep())
}

/// Only an empty directory is removed: the note is a file that its owner could have changed.
fn remove_short_directory(socket: &Path) {
    if let Some(directory) = socket.parent()
        && directory.file_name().is_some_and(|name| name.as_bytes().starts_with(b"nearmesh-"))
    {
        let _ = fs::remove_dir(directory);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn profile(name: &str) -> (tempfile::TempDir, Profile) {
        let home = tempfile::tempdir().unwrap();
        let profile = Profile::locate(Some(&home.path().join(name))).unwrap();
        profile.create().unwrap();
        (home, profile)
    }

    #[test]
    fn only_the_owner_can_open_the_socket_and_it_goes_with_the_node() {
        let (_home, alice) = profile("alice");
        let lock = alice.lock().unwrap();
        let (_listener, socket) = alice.bind_control(&lock).unwrap();
        assert_eq!(fs::metadata(socket.path()).unwrap().permissions().mode() & 0o777, 0o600);
        drop(socket);
        assert!(!alice.control_socket().exists());
    }

    #[test]
    fn the_stale_socket_of_a_crashed_node_is_replaced() {
        let (_home, alice) = profile("alice");
        drop(UnixListener::bind(alice.control_socket()).unwrap());
        assert!(UnixStream::connect(alice.control_socket()).is_err(), "nobody listens there any more");
        let lock = alice.lock().unwrap();
        let (_listener, _socket) = alice.bind_control(&lock).unwrap();
        UnixStream::connect(alice.control_socket()).unwrap();
    }

    #[test]
    fn a_profile_with_a_long_path_has_its_socket_elsewhere_and_clients_find_it() {
        let (_home, alice) = profile(&"a".repeat(120));
        let lock = alice.lock().unwrap();
        for _restart_after_a_crash in 0..2 {
            let (listener, socket) = alice.bind_control(&lock).unwrap();
            UnixStream::connect(alice.control_socket()).unwrap();
            assert_eq!(alice.control_socket(), socket.path());
            let directory = socket.path().parent().unwrap();
            assert_eq!(fs::metadata(directory).unwrap().permissions().mode() & 0o777, 0o700);
            drop(listener);
            std::mem::forget(socket);
        }
        let (_listener, socket) = alice.bind_control(&lock).unwrap();
        let directory = socket.path().parent().unwrap().to_owned();
        drop(socket);
        assert!(!directory.exists(), "nothing is left behind");
    }
}
