//! A home dies.

use std::time::{Duration, Instant};

use nearmesh_common::NodeId;
use tokio::time::sleep;

use super::{
    super::{
        Failure,
        cast::{AUTHORITY, NET, SUPERNODES},
        stage::Stage,
        story::{Story, seconds},
    },
    LOOK_EVERY, Nodes, PATIENCE, Target,
    finding::find,
};
use crate::control::api::{Lookup, Status};

/// How long it took, from the kill.
pub(super) struct Mended {
    pub lookup: Duration,
    pub search: Duration,
}

/// Who loses the home, whose node it is, and who asks.
struct Roles<'a> {
    target: &'a Target,
    victim: &'static str,
    asker: &'static str,
}

pub(super) async fn play(
    stage: &mut Stage,
    story: &mut Story<'_>,
    nodes: &Nodes,
    targets: &[Target],
) -> Result<Mended, Failure> {
    let roles = choose(stage, nodes, targets).await?;
    let Roles { target, victim, asker } = roles;
    let orphan = target.owner;
    story.begin(&format!("The home of {orphan}'s node, which is {victim}'s, dies without a word"));
    let process = stage.process(victim).map_or_else(|| "PID".to_owned(), |process| process.to_string());
    story.command(&format!("kill -9 {process}"));
    let killed = stage.kill(victim).await?;

    let user = format!("{orphan}@{NET}");
    story.command(&format!("nearmesh --profile {asker} lookup {user}"));
    let old = nodes.get(victim).copied();
    let home = wait_for_new_home(stage, asker, &user, old, killed).await?;
    let lookup = killed.elapsed();
    let new = nodes.iter().find(|(_, node)| **node == home).map_or("another node", |(name, _)| name);
    story.line(&format!("{} after the kill {user} is found at a new home, {new}'s.", seconds(lookup)));

    story.command(&format!("nearmesh --profile {asker} search {}", target.words));
    while find(stage, asker, target).await?.is_none() {
        if killed.elapsed() > PATIENCE {
            return Err(Failure::of(orphan, format!("{orphan}'s files were not found again from {asker}")));
        }
        sleep(LOOK_EVERY).await;
    }
    let search = killed.elapsed();
    story.line(&format!("{} after the kill {orphan}'s files are found again.", seconds(search)));
    Ok(Mended { lookup, search })
}

/// The authority's node is spared if another home has children: without it nobody could join any more.
async fn choose<'a>(stage: &Stage, nodes: &Nodes, targets: &'a [Target]) -> Result<Roles<'a>, Failure> {
    let mut spared = None;
    for target in targets {
        let (status, _) = stage.ask_one::<Status>(target.owner, &["status"]).await?;
        let home = status.home.map(|home| home.node_id.0);
        let victim = SUPERNODES.into_iter().find(|name| nodes.get(name).copied() == home);
        let Some(victim) = victim else { continue };
        let asker = SUPERNODES.into_iter().find(|name| *name != victim).unwrap_or(AUTHORITY);
        let roles = Roles { target, victim, asker };
        if victim != AUTHORITY {
            return Ok(roles);
        }
        spared = Some(roles);
    }
    spared.ok_or_else(|| Failure::of(AUTHORITY, "no ordinary node has a supernode as its home"))
}

async fn wait_for_new_home(
    stage: &Stage,
    asker: &'static str,
    user: &str,
    old: Option<NodeId>,
    killed: Instant,
) -> Result<NodeId, Failure> {
    loop {
        let answer = stage.ask::<Lookup>(asker, &["lookup", user]).await?;
        let nodes = answer.objects.iter().filter(|lookup| lookup.online).flat_map(|lookup| &lookup.nodes);
        if let Some(node) = nodes.into_iter().find(|node| node.online && Some(node.home.0) != old) {
            return Ok(node.home.0);
        }
        if killed.elapsed() > PATIENCE {
            return Err(Failure::of(asker, format!("{user} was not found again from {asker}")));
        }
        sleep(LOOK_EVERY).await;
    }
}
