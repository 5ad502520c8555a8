//! The list in a file.

use std::{
    fs,
    io::{self, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{Answer, names};
use crate::bootstrap::{List, MAX_LIST_BYTES};

/// What tells one state of the file from another.
pub type Stamp = (SystemTime, u64);

/// The file's state; none if it is not there.
pub async fn stamp(path: PathBuf) -> Option<Stamp> {
    let look = move || {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    tokio::task::spawn_blocking(look).await.ok().flatten()
}

/// Reads the list, and resolves the names in it.
pub async fn ask(path: PathBuf, dns_server: Option<SocketAddr>) -> Answer {
    let read = tokio::task::spawn_blocking(move || read(&path)).await;
    let list = match read.unwrap_or_else(|error| Err(io::Error::other(error))) {
        Ok(text) => List::parse(&text),
        Err(error) => return Answer::failed(error.to_string()),
    };
    let problems = list.problems.iter().map(ToString::to_string);
    let (found, unresolved) = names::resolve(list.pointers, dns_server).await;
    let problems: Vec<String> = problems.chain(unresolved).collect();
    Answer { found, problem: (!problems.is_empty()).then(|| problems.join("; ")) }
}

/// The text of the file. What is too long is refused as a whole: half a line may be another supernode's.
fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_LIST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_LIST_BYTES {
        return Err(io::Error::other(format!("it is longer than {MAX_LIST_BYTES} bytes")));
    }
    // Comments may be in any encoding; pointers are ASCII.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use nearmesh_common::{NodeId, wire::NodeAddress};

    use super::*;

    #[tokio::test]
    async fn a_list_gives_its_supernodes_each_once_with_all_its_addresses() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hubs");
        let (hub, other) = (NodeId([1; 32]), NodeId([2; 32]));
        let text = format!(
            "{hub}@192.0.2.1:7\n{other}@192.0.2.2:7\n{hub}@[2001:db8::1]:7\n{hub}@224.0.0.1:7\nhub\n"
        );
        fs::write(&path, text).unwrap();
        let answer = ask(path.clone(), None).await;
        let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(
            answer.found,
            [
                NodeAddress { node: hub, addresses: addresses(&["192.0.2.1:7", "[2001:db8::1]:7"]) },
                NodeAddress { node: other, addresses: addresses(&["192.0.2.2:7"]) },
            ]
        );
        assert!(answer.problem.unwrap().starts_with("line 5: "));
    }

    #[tokio::test]
    async fn a_list_that_is_missing_or_too_long_is_told_as_such() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hubs");
        assert!(ask(path.clone(), None).await.problem.unwrap().contains("No such file"));
        assert_eq!(stamp(path.clone()).await, None);
        fs::write(&path, vec![b'#'; MAX_LIST_BYTES as usize + 1]).unwrap();
        assert!(ask(path.clone(), None).await.problem.unwrap().contains("longer than"));
        assert!(stamp(path).await.is_some());
    }
}
