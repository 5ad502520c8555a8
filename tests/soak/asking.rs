//! Questions from those who are up, and whether the answers are true.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use nearmesh::control::{
    api::{ApiError, Code, Lookup, SearchEvent, SearchRequest, SearchResult},
    client::Client,
};
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};
use tokio::time::{sleep, timeout};

use crate::cast::{COMMON, Cast, Life, Member};

/// Who has been up for so long has settled: attached, and with all files registered (guess: on two busy cores).
const SETTLED: Duration = Duration::from_secs(6);
/// How long after a supernode's death its children, and what it held for others, may be missing: 4.8 s until its peers notice, and the
/// network's promise of two seconds after that; three more because everything runs on two cores.
pub const RECOVERY: Duration = Duration::from_secs(10);
/// How long somebody who was killed may still be taken for online: until the home notices, or the home's death is noticed.
const STALE: Duration = Duration::from_secs(15);
/// Between two questions of one asker.
const EVERY: Duration = Duration::from_millis(80);
/// Between two tries for somebody who was not found.
const AGAIN: Duration = Duration::from_millis(500);
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came of it.
#[derive(Debug, Default)]
pub struct Tally {
    pub lookups: u64,
    pub searches: u64,
    /// Not found at first, while a supernode's death was being repaired.
    pub late: u64,
    /// The longest time until one of those was found.
    pub latest: Duration,
    /// Searches that said themselves that not everybody whom they asked had answered.
    pub incomplete: u64,
    /// Answers that came while who was meant, or who asked, was killed or started: they prove nothing.
    pub void: u64,
    pub lost: Vec<String>,
    pub wrong: Vec<String>,
    took: Vec<Duration>,
}

/// What an answer is worth.
enum Verdict {
    Right,
    /// By its own word.
    Incomplete,
    Missing(String),
    Wrong(String),
}

/// Asks until then.
pub async fn run(cast: Arc<Cast>, mut rng: StdRng, until: Instant) -> Tally {
    let mut tally = Tally::default();
    while Instant::now() < until {
        sleep(EVERY).await;
        let settled: Vec<&Member> =
            cast.members.iter().filter(|member| member.has_been_up(SETTLED)).collect();
        let (Some(asker), Some(whom)) = (settled.choose(&mut rng), settled.choose(&mut rng)) else {
            continue;
        };
        match rng.random_range(0..8) {
            0 => everybody(&cast, asker, &mut tally).await,
            1 | 2 => find(&cast, asker, whom, &mut tally, false).await,
            3 => gone(&cast, asker, &mut rng, &mut tally).await,
            _ => find(&cast, asker, whom, &mut tally, true).await,
        }
    }
    tally
}

/// One who has settled, by name or by a file that only they have.
async fn find(cast: &Cast, asker: &Member, whom: &Member, tally: &mut Tally, by_name: bool) {
    let (begun, lives) = (Instant::now(), (asker.life(), whom.life()));
    for tries in 0.. {
        let asked = Instant::now();
        let verdict = if by_name { lookup(asker, whom).await } else { search(asker, whom).await };
        if (asker.life(), whom.life()) != lives {
            tally.void += 1;
            return;
        }
        if by_name {
            tally.lookups += 1;
        } else {
            tally.searches += 1;
        }
        let said = |why: String| format!("{} asked for {}: {why}", asker.name, whom.name);
        match verdict {
            Verdict::Right => {
                tally.took.push(asked.elapsed());
                if tries > 0 {
                    tally.latest = tally.latest.max(begun.elapsed());
                }
                return;
            }
            Verdict::Wrong(why) => return tally.wrong.push(said(why)),
            // It is asked again, once: twice in a row is no accident.
            Verdict::Incomplete if tries == 0 => tally.incomplete += 1,
            Verdict::Incomplete => return tally.lost.push(said("incomplete, twice".to_owned())),
            Verdict::Missing(why) => {
                let since_loss = cast.last_loss().map(|loss| loss.elapsed());
                if since_loss.is_none_or(|since| since > RECOVERY + (asked.elapsed())) {
                    let since = since_loss.map_or("no supernode is down".to_owned(), |since| {
                        format!("{since:.1?} after the last supernode's death")
                    });
                    return tally.lost.push(said(format!("{why}, {since}")));
                }
                tally.late += 1;
                sleep(AGAIN).await;
            }
        }
    }
}

async fn lookup(asker: &Member, whom: &Member) -> Verdict {
    match timeout(PATIENCE, Client::new(&asker.profile).lookup(&whom.user())).await {
        Err(_) => Verdict::Missing("no answer".to_owned()),
        Ok(Err(error)) => Verdict::Missing(error.to_string()),
        Ok(Ok(found)) => judge(&found, whom),
    }
}

fn judge(found: &Lookup, whom: &Member) -> Verdict {
    let id = whom.id();
    match found.nodes.as_slice() {
        [node] if node.node_id.0.to_string() != id => Verdict::Wrong(format!("{found:?}")),
        [node] if node.online => Verdict::Right,
        [_] => Verdict::Missing("said to be offline".to_owned()),
        [] => Verdict::Missing("nothing is known".to_owned()),
        _ => Verdict::Wrong(format!("{found:?}")),
    }
}

async fn search(asker: &Member, whom: &Member) -> Verdict {
    match results(asker, &format!("only {}", whom.name)).await {
        Err(why) => Verdict::Missing(why),
        Ok((results, whole)) => match results.as_slice() {
            [] if !whole => Verdict::Incomplete,
            [] => Verdict::Missing("no file".to_owned()),
            [one] if belongs(one, whom) => Verdict::Right,
            _ => Verdict::Wrong(format!("{results:?}")),
        },
    }
}

fn belongs(result: &SearchResult, whom: &Member) -> bool {
    let sources = &result.sources;
    sources.len() == 1
        && sources[0].user == whom.user()
        && result.name.contains(&format!("only {}", whom.name))
}

/// A file of which everybody has one of their own: all who have settled are there, and nobody who is long gone.
async fn everybody(cast: &Cast, asker: &Member, tally: &mut Tally) {
    let before: Vec<Life> = cast.members.iter().map(Member::life).collect();
    let asker_before = asker.life();
    let begun = Instant::now();
    let outcome = results(asker, COMMON).await;
    let calm = cast.last_loss().is_none_or(|loss| loss.elapsed() > RECOVERY + begun.elapsed());
    if asker.life() != asker_before || !calm {
        tally.void += 1;
        return;
    }
    tally.searches += 1;
    let results = match outcome {
        Ok((results, true)) => results,
        Ok((_, false)) => return tally.incomplete += 1,
        Err(why) => return tally.lost.push(format!("{} asked for everybody: {why}", asker.name)),
    };
    for (member, before) in cast.members.iter().zip(before) {
        let there = results.iter().any(|result| belongs(result, member));
        if member.life() != before {
            continue;
        }
        let lasted = begun.saturating_duration_since(before.since);
        if before.up && lasted >= SETTLED && !there {
            tally.lost.push(format!("{} asked for everybody, and {} was not there", asker.name, member.name));
        }
        if !before.up && lasted >= STALE && there {
            tally
                .wrong
                .push(format!("{} is gone since {lasted:.1?}, and {} found a file", member.name, asker.name));
        }
    }
}

/// One who was killed a while ago is not said to be online.
async fn gone(cast: &Cast, asker: &Member, rng: &mut StdRng, tally: &mut Tally) {
    let gone = |member: &&Member| !member.life().up && member.life().since.elapsed() >= STALE;
    let gone: Vec<&Member> = cast.members.iter().filter(gone).collect();
    let Some(whom) = gone.choose(rng) else { return };
    let life = whom.life();
    let found = timeout(PATIENCE, Client::new(&asker.profile).lookup(&whom.user())).await;
    if whom.life() != life {
        return;
    }
    tally.lookups += 1;
    if let Ok(Ok(found)) = found
        && found.online
    {
        tally.wrong.push(format!(
            "{} is gone since {:.1?}, and online for {}",
            whom.name,
            life.since.elapsed(),
            asker.name
        ));
    }
}

/// What was found, and whether everybody who was asked answered.
async fn results(asker: &Member, words: &str) -> Result<(Vec<SearchResult>, bool), String> {
    let request =
        SearchRequest { words: words.to_owned(), limit: 200, min_size: None, max_size: None, kind: None };
    let asked = async {
        let mut events = Client::new(&asker.profile).search(&request).await?;
        let mut results: Vec<SearchResult> = Vec::new();
        loop {
            match events.next().await? {
                SearchEvent::Result(result) => {
                    results.retain(|earlier| earlier.number != result.number);
                    results.push(result);
                }
                SearchEvent::Done(how) => return Ok::<_, ApiError>((results, how.asked == how.answered)),
            }
        }
    };
    match timeout(PATIENCE, asked).await {
        Err(_) => Err("no answer".to_owned()),
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) if error.code == Code::NotFound => Ok((Vec::new(), true)),
        Ok(Err(error)) => Err(error.to_string()),
    }
}

impl Tally {
    /// Adds another asker's.
    pub fn add(&mut self, other: Self) {
        self.lookups += other.lookups;
        self.searches += other.searches;
        self.late += other.late;
        self.latest = self.latest.max(other.latest);
        self.incomplete += other.incomplete;
        self.void += other.void;
        self.lost.extend(other.lost);
        self.wrong.extend(other.wrong);
        self.took.extend(other.took);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut took = self.took.clone();
        took.sort();
        let at = |part: usize| took.get(took.len() * part / 100).copied().unwrap_or_default();
        write!(
            f,
            "{} lookups, {} searches, p50 {:.1?}, p99 {:.1?}; {} wrong, {} lost, {} incomplete by their own word, {} had to be asked again after a supernode's death (the \
             last of them for {:.1?}), {} void",
            self.lookups,
            self.searches,
            at(50),
            at(99),
            self.wrong.len(),
            self.lost.len(),
            self.incomplete,
            self.late,
            self.latest,
            self.void
        )
    }
}
