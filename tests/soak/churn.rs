//! Who is killed, and when they come back.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};
use tokio::{
    task::{JoinSet, spawn_blocking},
    time::sleep,
};

use crate::cast::{Cast, Member};

/// Between two kills: a fifth of the sixty in a minute.
const EVERY: Duration = Duration::from_millis(2500);
/// One in so many is a supernode: in between there is time to see that nothing is lost when none was.
const SUPERNODE_EVERY: u64 = 8;
/// How long somebody stays away: shorter and longer than it takes the others to notice.
const AWAY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(10)];
/// Nobody is killed in the last seconds: who came back last has to be found too.
const END: Duration = Duration::from_secs(5);

/// What happened.
pub struct Churned {
    pub kills: u64,
    pub supernodes: u64,
}

/// Kills and starts until then.
pub async fn run(cast: Arc<Cast>, mut rng: StdRng, until: Instant) -> Churned {
    let mut churned = Churned { kills: 0, supernodes: 0 };
    let mut away = JoinSet::new();
    while Instant::now() + END < until {
        let supernode = churned.kills % SUPERNODE_EVERY == SUPERNODE_EVERY - 1;
        if let Some(number) = victim(&cast.members, supernode, &mut rng) {
            let wait = rng.random_range(AWAY[0]..=AWAY[1]);
            let cast = Arc::clone(&cast);
            away.spawn(async move {
                let killed = Arc::clone(&cast);
                spawn_blocking(move || killed.kill(number)).await.unwrap();
                sleep(wait).await;
                spawn_blocking(move || cast.members[number].start()).await.unwrap();
            });
            churned.kills += 1;
            churned.supernodes += u64::from(supernode);
        }
        sleep(EVERY).await;
    }
    while let Some(back) = away.join_next().await {
        back.unwrap();
    }
    churned
}

fn victim(members: &[Member], supernode: bool, rng: &mut StdRng) -> Option<usize> {
    let may_go = |member: &Member| !member.steady && member.supernode == supernode && member.life().up;
    let candidates: Vec<usize> = (0..members.len()).filter(|number| may_go(&members[*number])).collect();
    candidates.choose(rng).copied()
}

impl fmt::Display for Churned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "killed {} times, {} of them supernodes", self.kills, self.supernodes)
    }
}
