//! What the node says of itself.

use nearmesh_common::NodeId;

use super::{node::Node, overlay::Overlay, people::millis};
use crate::{
    control::api::{
        Attachment, Bootstrap, BootstrapWay, Ready, Relaying, Role, SharedTotal, Status, Supernode,
    },
    proto::bootstrap::Way,
};

impl Node {
    /// How the node is.
    pub fn status(&self) -> Status {
        // One after the other: who holds a watch and waits for it again waits for ever if somebody wants to write in between.
        let reachability = self.whereabouts.borrow().tell(&self.port_mapping.borrow());
        let paths = self.paths();
        let overlay = self.overlay.borrow();
        let shared = self.shares.totals();
        Status {
            node_id: self.id.into(),
            user: self.address.clone(),
            net: self.address.net.clone(),
            role: if overlay.serving { Role::Supernode } else { Role::Ordinary },
            role_reason: overlay.why.clone(),
            listen: self.listen,
            home: home(&overlay),
            standby: overlay.standby.map(|node| attachment(&overlay, node)),
            children: u32::try_from(overlay.children).unwrap_or(u32::MAX),
            supernodes: u32::try_from(overlay.supernodes.len()).unwrap_or(u32::MAX),
            reachability,
            shared: SharedTotal { files: shared.files, bytes: shared.bytes },
            relaying: self.relaying(),
            bootstrap: self.ways_back(),
            paths,
            uptime_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            problems: self.problems(&overlay),
        }
    }

    /// What `up` prints once the node works.
    pub fn ready(&self) -> Ready {
        Ready {
            node_id: self.id.into(),
            user: self.address.clone(),
            listen: self.listen,
            control_socket: self.profile.control_socket(),
            home: home(&self.overlay.borrow()),
        }
    }

    /// The supernodes this node knows, nearest first.
    pub fn known_supernodes(&self) -> Vec<Supernode> {
        let overlay = self.overlay.borrow();
        let home = overlay.home.as_ref().map(|home| home.address.node);
        let mut known: Vec<Supernode> = overlay
            .supernodes
            .iter()
            .map(|supernode| Supernode {
                node_id: supernode.address.node.into(),
                addresses: supernode.address.addresses.clone(),
                children: supernode.load.map(|(children, _)| children),
                capacity: supernode.load.map(|(_, capacity)| capacity),
                rtt_ms: supernode.rtt.map(millis),
                home: home == Some(supernode.address.node),
            })
            .collect();
        known.sort_by(|a, b| {
            let distance = |supernode: &Supernode| supernode.rtt_ms.unwrap_or(f64::INFINITY);
            distance(a).total_cmp(&distance(b))
        });
        known
    }

    fn relaying(&self) -> Relaying {
        let counters = self.endpoint.forwarding().counters();
        Relaying {
            sessions: counters.sessions,
            bytes: counters.bytes,
            packets: counters.packets,
            refused: counters.refused,
            dropped: counters.dropped.total(),
        }
    }

    fn ways_back(&self) -> Vec<Bootstrap> {
        let count = |count| u32::try_from(count).unwrap_or(u32::MAX);
        let remembered = Bootstrap {
            way: BootstrapWay::Remembered,
            place: None,
            found: Some(count(self.remembered)),
            problem: None,
        };
        let asked = self.bootstrap.borrow();
        let others = asked.iter().map(|report| Bootstrap {
            way: match report.way {
                Way::List => BootstrapWay::List,
                Way::Name => BootstrapWay::Name,
                Way::Local => BootstrapWay::Local,
            },
            place: report.place.clone(),
            found: report.found.map(count),
            problem: report.problem.clone(),
        });
        std::iter::once(remembered).chain(others).collect()
    }

    fn problems(&self, overlay: &Overlay) -> Vec<String> {
        let homeless = overlay.home.is_none().then(|| {
            "no supernode answers: this node is looking for a home, and is not found by others meanwhile"
                .to_owned()
        });
        homeless.into_iter().chain(self.share_problems()).collect()
    }
}

fn home(overlay: &Overlay) -> Option<Attachment> {
    let home = overlay.home.as_ref()?;
    Some(Attachment {
        node_id: home.address.node.into(),
        address: home.address.addresses.first().copied(),
        rtt_ms: home.rtt.map(millis),
    })
}

fn attachment(overlay: &Overlay, node: NodeId) -> Attachment {
    let known = overlay.supernodes.iter().find(|supernode| supernode.address.node == node);
    Attachment {
        node_id: node.into(),
        address: known.and_then(|known| known.address.addresses.first().copied()),
        rtt_ms: known.and_then(|known| known.rtt).map(millis),
    }
}
