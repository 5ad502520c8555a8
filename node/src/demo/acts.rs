//! The demo, act by act. Each takes what it needs of the ones before and holds, or says why not.

mod failure;
mod fetching;
mod finding;
mod founding;
mod sharing;

use std::{collections::BTreeMap, time::Duration};

use nearmesh_common::NodeId;

use super::{
    Failure, Report, cast,
    documents::{self, Document, telling_words},
    stage::Stage,
    story::{Story, seconds},
};

/// How long the demo waits for something that the net does by itself (4 s to detect a failure, 2 s to mend it, and
/// as much again for a busy machine).
const PATIENCE: Duration = Duration::from_secs(15);
/// How often it looks (guess: small beside what is measured).
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Everybody's node, by name.
type Nodes = BTreeMap<&'static str, NodeId>;

/// A document that can be searched for.
#[derive(Clone)]
struct Target {
    owner: &'static str,
    words: String,
    document: Document,
}

/// The whole play.
pub(super) async fn play(stage: &mut Stage, story: &mut Story<'_>) -> Result<Report, Failure> {
    story.line(&format!(
        "Nine nodes on this machine, each a process of its own with a profile in {}. Type the commands there.",
        stage.directory().display()
    ));
    let folders: Vec<_> = cast::ORDINARY.iter().map(|who| stage.directory().join("docs").join(who)).collect();
    let collecting = stage.meanwhile(move || sharing::prepare(&folders));

    let nodes = founding::play(stage, story).await?;
    let net = story.elapsed();
    let prepared = collecting.await?;
    sharing::play(stage, story, &prepared).await?;
    let lookup = finding::a_person(stage, story, &nodes).await?;
    let targets = targets(&prepared.documents);
    let (found, search) = finding::a_file(stage, story, &targets).await?;
    let fetched = fetching::play(stage, story, &found, &prepared).await?;
    let mended = failure::play(stage, story, &nodes, &targets).await?;

    let total = story.elapsed();
    story.begin("The end");
    story.line(&format!("Every step held, in {}. All nodes are killed now.", seconds(total)));
    Ok(Report {
        nodes: nodes.len(),
        documents: prepared.documents.len(),
        net_ms: millis(net),
        lookup_ms: millis(lookup),
        search_ms: millis(search),
        small_get_ms: millis(fetched.small),
        large_get_ms: millis(fetched.large),
        large_get_rate: (documents::LARGE_BYTES as f64 / fetched.large.as_secs_f64()) as u64,
        lookup_again_ms: millis(mended.lookup),
        search_again_ms: millis(mended.search),
        total_ms: millis(total),
    })
}

/// One document for each owner who has any that can be told from the others.
fn targets(documents: &[Document]) -> Vec<Target> {
    let of = |(number, owner): (usize, &'static str)| {
        let mut own = documents.iter().filter(|document| document.owner == number);
        own.find_map(|document| {
            let words = telling_words(document, documents)?;
            Some(Target { owner, words, document: document.clone() })
        })
    };
    cast::ORDINARY.into_iter().enumerate().filter_map(of).collect()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
