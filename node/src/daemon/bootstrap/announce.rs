//! A supernode tells its local network that it is there, for as long as it serves.

use std::sync::Arc;

use mdns_sd::{ServiceDaemon, ServiceInfo};
use tracing::{debug, info};

use super::{
    Node,
    local::{self, NET, NODE, SERVICE},
};

/// Announces the node whenever it is a supernode, until it ends.
pub async fn while_serving(node: Arc<Node>) {
    let mut stop = node.stop.subscribe();
    let mut overlay = node.overlay.clone();
    let mut announced: Option<ServiceDaemon> = None;
    let mut served = false;
    loop {
        let serving = overlay.borrow_and_update().serving;
        if serving != std::mem::replace(&mut served, serving) {
            if let Some(daemon) = announced.take() {
                // That says goodbye.
                let _ = daemon.shutdown();
            }
            announced = if serving { announce(&node) } else { None };
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            changed = overlay.changed() => if changed.is_err() { break },
        }
    }
    if let Some(daemon) = announced {
        let _ = daemon.shutdown();
    }
}

fn announce(node: &Node) -> Option<ServiceDaemon> {
    let begun = local::daemon(node.listen).and_then(|daemon| {
        daemon.register(service(node)?)?;
        Ok(daemon)
    });
    match begun {
        Ok(daemon) => {
            debug!("announced in the local network");
            Some(daemon)
        }
        Err(error) => {
            info!(%error, "the local network does not hear of this supernode");
            None
        }
    }
}

/// The node's announcement. The library fills in the addresses, and keeps them right.
fn service(node: &Node) -> Result<ServiceInfo, mdns_sd::Error> {
    let (id, net) = (node.id.to_string(), local::tag(node.keyring.membership().trust()));
    let properties = [(NET, net), (NODE, id.clone())];
    let host = format!("{id}.local.");
    let service = ServiceInfo::new(SERVICE, &id, &host, "", node.listen.port(), &properties[..])?;
    Ok(service.enable_addr_auto())
}
