//! A net is made, and everybody joins it.

use std::time::Instant;

use futures_util::future::try_join_all;
use tokio::time::sleep;

use super::{
    super::{
        Failure,
        cast::{self, AUTHORITY, NET, ORDINARY, SUPERNODES},
        stage::Stage,
        story::{Story, seconds},
    },
    LOOK_EVERY, Nodes, PATIENCE,
};
use crate::control::api::{Invitation, Membership, Ready, Status};

pub(super) async fn play(stage: &mut Stage, story: &mut Story<'_>) -> Result<Nodes, Failure> {
    let mut nodes = Nodes::new();
    story.begin("Alice makes a net, and her node is its first supernode");
    story.command(&format!("nearmesh --profile {AUTHORITY} net create {NET} --user {AUTHORITY}"));
    stage.ask_one::<Membership>(AUTHORITY, &["net", "create", NET, "--user", AUTHORITY]).await?;
    story.command(&format!("nearmesh --profile {AUTHORITY} up --listen 127.0.0.1:0 --promote always"));
    let ready = stage.start(AUTHORITY, "always")?.ready().await?;
    story.line(&format!("It is up on {} after {}.", ready.listen, seconds(story.elapsed())));
    nodes.insert(AUTHORITY, ready.node_id.0);

    story.begin("She invites eight people, who join with their tickets");
    story.command("nearmesh --profile alice net invite bob");
    story.command("nearmesh --profile bob net join TICKET");
    let begun = Instant::now();
    let stage_now = &*stage;
    try_join_all(cast::all().skip(1).map(|who| join(stage_now, who))).await?;
    story.line(&format!("All eight have their certificates after {}.", seconds(begun.elapsed())));

    story.begin("Bob's and Carol's nodes are supernodes too, the other six ordinary");
    story.command("nearmesh --profile bob up --listen 127.0.0.1:0 --promote always");
    story.command("nearmesh --profile dave up --listen 127.0.0.1:0 --promote never");
    let begun = Instant::now();
    start(stage, &SUPERNODES[1..], "always", &mut nodes).await?;
    start(stage, &ORDINARY, "never", &mut nodes).await?;
    let stage_now = &*stage;
    let statuses = try_join_all(cast::all().map(|who| settled(stage_now, who, begun))).await?;
    let homes: Vec<String> = cast::all()
        .zip(&statuses)
        .skip(SUPERNODES.len())
        .map(|(who, status)| home_of(who, status, &nodes))
        .collect();
    story.line(&format!("After {} all nine know the three supernodes, and each ordinary node has chosen its home by measured round trip: {}.", seconds(begun.elapsed()), homes.join(", ")));
    Ok(nodes)
}

async fn join(stage: &Stage, who: &'static str) -> Result<(), Failure> {
    let (invitation, _) = stage.ask_one::<Invitation>(AUTHORITY, &["net", "invite", who]).await?;
    stage.ask_one::<Membership>(who, &["net", "join", &invitation.ticket]).await?;
    Ok(())
}

async fn start(
    stage: &mut Stage,
    names: &[&'static str],
    promote: &str,
    nodes: &mut Nodes,
) -> Result<(), Failure> {
    let starting = names.iter().map(|who| stage.start(who, promote)).collect::<Result<Vec<_>, _>>()?;
    let ready: Vec<Ready> = try_join_all(starting.into_iter().map(|node| node.ready())).await?;
    nodes.extend(names.iter().copied().zip(ready.iter().map(|ready| ready.node_id.0)));
    Ok(())
}

/// Waits until a node has a home and knows every supernode.
async fn settled(stage: &Stage, who: &'static str, begun: Instant) -> Result<Status, Failure> {
    loop {
        let (status, _) = stage.ask_one::<Status>(who, &["status"]).await?;
        if status.home.is_some() && status.supernodes as usize == SUPERNODES.len() {
            return Ok(status);
        }
        if begun.elapsed() > PATIENCE {
            let home = if status.home.is_some() { "a" } else { "no" };
            let known = status.supernodes;
            return Err(Failure::of(who, format!("{who} has {home} home and knows {known} supernodes of 3")));
        }
        sleep(LOOK_EVERY).await;
    }
}

fn home_of(who: &str, status: &Status, nodes: &Nodes) -> String {
    let home = status.home.map(|home| home.node_id.0);
    let name = nodes.iter().find(|(_, node)| Some(**node) == home).map_or("somebody", |(name, _)| name);
    format!("{who} {name}")
}
