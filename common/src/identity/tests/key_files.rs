use std::{
    fs, io,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use crate::identity::{LoadKeyError, NetRoot, NodeKey, ParseKeyError};

/// A directory that goes away with its test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("nearmesh-keys-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_key_survives_its_file() {
    let scratch = Scratch::new();
    let path = scratch.0.join("node.key");
    let key = NodeKey::generate();
    key.save(&path).unwrap();
    assert_eq!(NodeKey::load(&path).unwrap().node_id(), key.node_id());
}

#[test]
#[cfg(unix)]
fn a_key_file_is_its_owners_alone_and_an_exposed_one_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new();
    let path = scratch.0.join("node.key");
    NodeKey::generate().save(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    for mode in [0o640, 0o604, 0o620] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = NodeKey::load(&path).unwrap_err();
        assert!(matches!(error, LoadKeyError::Exposed { mode: found } if found == mode));
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
}

#[test]
fn a_key_never_overwrites_another() {
    let scratch = Scratch::new();
    let path = scratch.0.join("node.key");
    let first = NodeKey::generate();
    first.save(&path).unwrap();
    assert_eq!(NodeKey::generate().save(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(NodeKey::load(&path).unwrap().node_id(), first.node_id());
}

#[test]
fn a_file_that_holds_no_ed25519_key_is_refused() {
    assert!(matches!(NodeKey::from_pem("hello"), Err(ParseKeyError::Malformed(_))));
    let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    assert!(matches!(NodeKey::from_pem(&other.serialize_pem()), Err(ParseKeyError::Algorithm)));
}

#[test]
fn a_root_is_loaded_with_its_own_certificate_only() {
    let scratch = Scratch::new();
    let path = scratch.0.join("root.key");
    let wall = super::wall();
    let lab = NetRoot::create("lab".parse().unwrap(), wall).unwrap();
    let other = NetRoot::create("lab".parse().unwrap(), wall).unwrap();
    lab.save_key(&path).unwrap();
    let again = NetRoot::load(&path, lab.certificate()).unwrap();
    assert_eq!(again.trust().root(), lab.trust().root());
    assert!(matches!(NetRoot::load(&path, other.certificate()), Err(LoadKeyError::File(_))));
}

#[test]
fn a_key_is_never_printed() {
    let key = NodeKey::generate();
    assert_eq!(format!("{key:?}"), format!("NodeKey({})", key.node_id().short()));
}
