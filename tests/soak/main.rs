//! Sixty real processes under fire: supernodes and nodes are killed with -9 and come back, while those who are up look for one another
//! and for one another's files all the time (rung 4, for as long as `NEARMESH_SOAK_SECONDS` says; a minute by default).
//!
//! What is true is known here, because nobody else starts and kills them. Each question is checked against it: who is up and has
//! settled is found, at once as long as no supernode died a moment ago and within [`RECOVERY`](asking::RECOVERY) otherwise; nobody is
//! found where they are not. The memory and the descriptors of those that live through it all stay what they were, and in the end
//! everybody goes when asked. `NEARMESH_SOAK_SEED` repeats the order of a run.
#![allow(clippy::unwrap_used)] // All of this is test.

mod asking;
mod cast;
mod churn;
mod health;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cast::Cast;
use health::Health;
use rand::{SeedableRng, rngs::StdRng};
use tokio::time::sleep;

const PROGRAM: &str = env!("CARGO_BIN_EXE_nearmesh-under-test");
/// Who asks at a time.
const ASKERS: u64 = 3;
/// How long everybody may take to settle before it begins.
const CALM: Duration = Duration::from_secs(10);

#[test]
fn sixty_processes_lose_nobody_while_some_of_them_are_killed() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("NEARMESH_SOAK_SEED").unwrap_or_else(rand::random);
    let lasting = Duration::from_secs(number("NEARMESH_SOAK_SECONDS").unwrap_or(60));
    println!("NEARMESH_SOAK_SEED={seed}, {lasting:?}");
    let begun = Instant::now();
    let cast = Arc::new(Cast::start(PROGRAM));
    println!("{} processes are up after {:.1?}", cast.members.len(), begun.elapsed());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(soak(&cast, seed, lasting));
    let exits = cast.stop();
    let bad: Vec<_> = exits.iter().filter(|(_, exit)| *exit != 0).collect();
    assert!(bad.is_empty(), "they did not end as they should: {bad:?}");
    assert_eq!(cast.panics(), Vec::<String>::new());
}

async fn soak(cast: &Arc<Cast>, seed: u64, lasting: Duration) {
    sleep(CALM).await;
    let until = Instant::now() + lasting;
    let churning = tokio::spawn(churn::run(Arc::clone(cast), StdRng::seed_from_u64(seed), until));
    let asking: Vec<_> = (1..=ASKERS)
        .map(|asker| {
            tokio::spawn(asking::run(
                Arc::clone(cast),
                StdRng::seed_from_u64(seed.wrapping_add(asker)),
                until,
            ))
        })
        .collect();
    let health = tokio::spawn(Health::watch(Arc::clone(cast), until));

    let churned = churning.await.unwrap();
    let mut tally = asking::Tally::default();
    for asker in asking {
        tally.add(asker.await.unwrap());
    }
    let health = health.await.unwrap();
    println!("{churned}\n{tally}\n{health}");
    assert!(tally.wrong.is_empty(), "wrong answers: {:#?}", tally.wrong);
    assert!(tally.lost.is_empty(), "lost: {:#?}", tally.lost);
    assert!(
        tally.lookups > lasting.as_secs() && tally.searches > lasting.as_secs() / 2,
        "hardly anything was asked"
    );
    assert!(churned.kills > lasting.as_secs() / 6, "hardly anybody was killed");
    health.assert_flat();
}
