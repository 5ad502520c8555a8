//! The host cache on disk: supernodes that were alive, so that a node finds its net again without its ticket.

use std::{net::SocketAddr, path::Path, time::Duration};

use nearmesh_common::{NodeId, UnixMillis, wire::NodeAddress};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::{
    control::api::AsText,
    durable,
    proto::{Candidate, Load},
};

/// One line of the file.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    node_id: AsText<NodeId>,
    addresses: Vec<SocketAddr>,
    rtt_ms: Option<f64>,
    heard: Option<UnixMillis>,
    children: Option<u32>,
    capacity: Option<u32>,
}

/// The candidates in the file; none if it is missing or unreadable, which costs a node only time.
pub fn load(path: &Path) -> Vec<Candidate> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            warn!(path = %path.display(), %error, "the host cache is not used");
            return Vec::new();
        }
    };
    serde_json::from_slice::<Vec<Row>>(&text)
        .inspect_err(|error| warn!(path = %path.display(), %error, "the host cache is not used"))
        .map(|rows| rows.into_iter().map(Candidate::from).collect())
        .unwrap_or_default()
}

/// Writes the candidates down.
///
/// # Errors
/// If the profile cannot be written.
pub fn save(path: &Path, candidates: Vec<Candidate>) -> std::io::Result<()> {
    let rows: Vec<Row> = candidates.into_iter().map(Row::from).collect();
    durable::replace(path, &serde_json::to_vec_pretty(&rows).expect("rows are plain data"))
}

impl From<Row> for Candidate {
    fn from(row: Row) -> Self {
        let load = row.children.zip(row.capacity);
        Self {
            address: NodeAddress { node: row.node_id.0, addresses: row.addresses },
            rtt: row.rtt_ms.and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok()),
            heard: row.heard,
            load: load.map(|(children, capacity)| Load { children, capacity }),
        }
    }
}

impl From<Candidate> for Row {
    fn from(candidate: Candidate) -> Self {
        Self {
            node_id: candidate.address.node.into(),
            addresses: candidate.address.addresses,
            rtt_ms: candidate.rtt.map(super::people::millis),
            heard: candidate.heard,
            children: candidate.load.map(|load| load.children),
            capacity: candidate.load.map(|load| load.capacity),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_survive_a_restart_and_a_broken_file_costs_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hosts");
        assert_eq!(load(&path), []);
        let candidate = Candidate {
            address: NodeAddress { node: NodeId([7; 32]), addresses: vec!["127.0.0.1:9".parse().unwrap()] },
            rtt: Some(Duration::from_millis(20)),
            heard: Some(UnixMillis(5)),
            load: Some(Load { children: 3, capacity: 300 }),
        };
        save(&path, vec![candidate.clone()]).unwrap();
        assert_eq!(load(&path), [candidate]);
        std::fs::write(&path, b"not a list").unwrap();
        assert_eq!(load(&path), []);
    }
}
