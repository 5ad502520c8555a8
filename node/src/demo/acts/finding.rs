//! A person is found, and a file.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{
    super::{
        Failure,
        cast::NET,
        stage::Stage,
        story::{Story, seconds},
    },
    LOOK_EVERY, Nodes, PATIENCE, Target,
};
use crate::control::api::{Lookup, SearchResult};

const ASKER: &str = "ivan";
const SOUGHT: &str = "dave";
/// Who searches. Its own files are not searched for.
pub(super) const SEARCHER: &str = "grace";

pub(super) async fn a_person(
    stage: &Stage,
    story: &mut Story<'_>,
    nodes: &Nodes,
) -> Result<Duration, Failure> {
    story.begin("Ivan looks for a person");
    let user = format!("{SOUGHT}@{NET}");
    story.command(&format!("nearmesh --profile {ASKER} lookup {user}"));
    let begun = Instant::now();
    loop {
        let answer = stage.ask::<Lookup>(ASKER, &["lookup", &user]).await?;
        let node =
            answer.objects.first().filter(|lookup| lookup.online).and_then(|lookup| {
                lookup.nodes.iter().find(|node| nodes.get(SOUGHT) == Some(&node.node_id.0))
            });
        if let Some(node) = node {
            let address = node.addresses.first().map_or_else(|| "?".to_owned(), ToString::to_string);
            story.line(&format!(
                "{user} is online at {address}: found in {}, signed by Dave's node and verified by Ivan's.",
                seconds(answer.took)
            ));
            return Ok(answer.took);
        }
        if begun.elapsed() > PATIENCE {
            return Err(Failure::of(ASKER, format!("{user} was not found from {ASKER}")));
        }
        sleep(LOOK_EVERY).await;
    }
}

/// A file that was found, and by which number `get` knows it.
pub(super) struct Found {
    pub target: Target,
    pub number: u32,
}

pub(super) async fn a_file(
    stage: &Stage,
    story: &mut Story<'_>,
    targets: &[Target],
) -> Result<(Found, Duration), Failure> {
    story.begin("Grace looks for a file that only one of the others has");
    let target = targets.iter().find(|target| target.owner != SEARCHER);
    let target =
        target.ok_or_else(|| Failure::of(SEARCHER, "this machine has no documents to search for"))?;
    story.command(&format!("nearmesh --profile {SEARCHER} search {}", target.words));
    let begun = Instant::now();
    let (result, took) = loop {
        if let Some(found) = find(stage, SEARCHER, target).await? {
            break found;
        }
        if begun.elapsed() > PATIENCE {
            let what = format!("`{}` of {} was not found from {SEARCHER}", target.words, target.owner);
            return Err(Failure::of(SEARCHER, what));
        }
        sleep(LOOK_EVERY).await;
    };
    story.line(&format!(
        "Result {}: {}, {} bytes, from {}@{NET}; found in {}.",
        result.number,
        result.name,
        result.size,
        target.owner,
        seconds(took)
    ));
    Ok((Found { target: target.clone(), number: result.number }, took))
}

/// One search; the result that is the target, shared by its owner.
pub(super) async fn find(
    stage: &Stage,
    who: &'static str,
    target: &Target,
) -> Result<Option<(SearchResult, Duration)>, Failure> {
    let mut arguments = vec!["search"];
    arguments.extend(target.words.split(' '));
    let answer = stage.ask::<SearchResult>(who, &arguments).await?;
    let of_owner =
        |result: &SearchResult| result.sources.iter().any(|source| source.user.user.as_str() == target.owner);
    let found =
        answer.objects.into_iter().find(|result| result.hash.0 == target.document.hash && of_owner(result));
    Ok(found.map(|result| (result, answer.took)))
}
