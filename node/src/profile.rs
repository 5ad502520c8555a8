//! The profile: the directory that holds everything of one node, and that only its owner can open.
//!
//! One process at a time runs a profile: it holds the [`ProfileLock`], which the system takes back when the process
//! ends, however it ends. So whoever has the lock may replace a control socket that is in the way: nobody listens there.

mod socket;

use std::{
    ffi::OsStr,
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::control::api::ApiError;

pub use socket::{ControlSocket, SocketError};

/// Nobody but the owner.
const PRIVATE_DIRECTORY: u32 = 0o700;
/// What makes a directory with files in it a profile.
const MARKS: [&str; 3] = ["lock", "membership", "authority"];

/// Where one node keeps everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    directory: PathBuf,
}

/// Proof that no other process runs this profile.
#[derive(Debug)]
pub struct ProfileLock {
    _file: File,
}

/// Why there is no profile.
#[derive(Debug, Error)]
pub enum ProfileError {
    /// The platform does not say where data belongs.
    #[error("this account has no home directory to keep a profile in")]
    NoHome,
    /// The directory cannot be made or opened.
    #[error("the profile {path:?} cannot be used: {source}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A directory of somebody else's things, that others may read.
    #[error("{0:?} holds other things and others can open it: it is no profile")]
    NotAProfile(PathBuf),
    /// Another process has it.
    #[error("a node is already running for the profile {0:?}")]
    Locked(PathBuf),
}

impl From<ProfileError> for ApiError {
    fn from(error: ProfileError) -> Self {
        let message = error.to_string();
        match error {
            ProfileError::Locked(_) => ApiError::refused(message)
                .hint("use it as it is, end it with `nearmesh down`, or choose another with `--profile DIR`"),
            ProfileError::NotAProfile(_) => {
                ApiError::refused(message).hint("choose a new or empty one with `--profile DIR`")
            }
            ProfileError::NoHome => ApiError::failed(message).hint("choose one with `--profile DIR`"),
            ProfileError::Directory { .. } => ApiError::failed(message),
        }
    }
}

impl Profile {
    /// The profile in `directory`, or in the platform's data directory. Touches nothing.
    ///
    /// # Errors
    /// If the platform has no such directory, or the current one is gone.
    pub fn locate(directory: Option<&Path>) -> Result<Self, ProfileError> {
        let directory = match directory {
            Some(given) => given.to_owned(),
            None => directories::ProjectDirs::from("", "", "nearmesh")
                .ok_or(ProfileError::NoHome)?
                .data_local_dir()
                .to_owned(),
        };
        match std::path::absolute(&directory) {
            Ok(directory) => Ok(Self { directory }),
            Err(source) => Err(ProfileError::Directory { path: directory, source }),
        }
    }

    /// Makes the directory if it is not there, and closes it to others.
    ///
    /// # Errors
    /// If it cannot be made, or is a directory of other things.
    pub fn create(&self) -> Result<(), ProfileError> {
        let failed = |source| ProfileError::Directory { path: self.directory.clone(), source };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(PRIVATE_DIRECTORY)
            .create(&self.directory)
            .map_err(failed)?;
        let open_to = fs::metadata(&self.directory).map_err(failed)?.permissions().mode() & 0o077;
        if open_to == 0 {
            return Ok(());
        }
        if !self.is_empty_or_ours().map_err(failed)? {
            return Err(ProfileError::NotAProfile(self.directory.clone()));
        }
        fs::set_permissions(&self.directory, fs::Permissions::from_mode(PRIVATE_DIRECTORY)).map_err(failed)
    }

    /// Takes the profile for this process.
    ///
    /// # Errors
    /// If another process has it, or the directory cannot be written.
    pub fn lock(&self) -> Result<ProfileLock, ProfileError> {
        let failed = |source| ProfileError::Directory { path: self.directory.clone(), source };
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.directory.join("lock"))
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(ProfileLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(ProfileError::Locked(self.directory.clone())),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// The directory itself.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The node's key and certificates.
    pub fn membership(&self) -> PathBuf {
        self.directory.join("membership")
    }

    /// The net's root key and books, on the machine that is its authority.
    pub fn authority(&self) -> PathBuf {
        self.directory.join("authority")
    }

    /// What is shared: the store of files and their hashes.
    pub fn shares(&self) -> PathBuf {
        self.directory.join("shares.redb")
    }

    /// The hash trees of shared files.
    pub fn outboards(&self) -> PathBuf {
        self.directory.join("outboards")
    }

    /// Supernodes that were alive.
    pub fn host_cache(&self) -> PathBuf {
        self.directory.join("hosts")
    }

    /// Downloads that nobody wanted elsewhere, and the state of all.
    pub fn downloads(&self) -> PathBuf {
        self.directory.join("downloads")
    }

    /// Files that others sent.
    pub fn inbox(&self) -> PathBuf {
        self.directory.join("inbox")
    }

    fn is_empty_or_ours(&self) -> io::Result<bool> {
        let mut empty = true;
        for entry in fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            if MARKS.iter().any(|mark| OsStr::new(mark) == name) {
                return Ok(true);
            }
            empty = false;
        }
        Ok(empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alices() -> (tempfile::TempDir, Profile) {
        let home = tempfile::tempdir().unwrap();
        let profile = Profile::locate(Some(&home.path().join("alice"))).unwrap();
        (home, profile)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_new_profile_is_closed_to_others() {
        let (_home, profile) = alices();
        profile.create().unwrap();
        assert_eq!(mode(profile.directory()), 0o700);
    }

    #[test]
    fn an_empty_directory_that_others_can_open_is_closed() {
        let (_home, profile) = alices();
        fs::create_dir(profile.directory()).unwrap();
        fs::set_permissions(profile.directory(), fs::Permissions::from_mode(0o755)).unwrap();
        profile.create().unwrap();
        assert_eq!(mode(profile.directory()), 0o700);
    }

    #[test]
    fn a_directory_of_other_things_is_left_alone() {
        let (_home, profile) = alices();
        fs::create_dir(profile.directory()).unwrap();
        fs::set_permissions(profile.directory(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(profile.directory().join("diary.txt"), "dear diary").unwrap();
        assert!(matches!(profile.create(), Err(ProfileError::NotAProfile(_))));
        assert_eq!(mode(profile.directory()), 0o755);
    }

    #[test]
    fn a_second_node_is_refused_until_the_first_has_ended() {
        let (_home, profile) = alices();
        profile.create().unwrap();
        let first = profile.lock().unwrap();
        assert!(matches!(profile.lock(), Err(ProfileError::Locked(_))));
        drop(first);
        profile.lock().unwrap();
    }
}
