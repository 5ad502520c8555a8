//! Ways back into the net when neither ticket nor host cache leads there: a list in a file, a DNS name, the local network.
//!
//! When each is asked is decided by [`proto::bootstrap`](crate::proto::bootstrap). Whatever they say becomes candidates of the overlay, and
//! nothing else: who is a supernode of the net shows when it is dialled. Each question has an end in time ([`ASK_TIMEOUT`]) and an
//! answer of at most [`MAX_POINTERS`] supernodes.

mod announce;
mod list;
mod local;
mod names;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use nearmesh_common::wire::NodeAddress;
use tokio::{
    sync::{mpsc, watch},
    time::{Interval, interval, sleep_until, timeout},
};
use tracing::{debug, info};

use super::{
    clock::now,
    node::Node,
    overlay::{Command, Overlay},
};
use crate::{
    bootstrap::{HostName, MAX_POINTERS},
    proto::bootstrap::{Bootstrap, Input, Need, Way},
};

/// How long a way may take to answer, with all the names that it leads to (guess: three tries of a slow resolver).
const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the list's file is looked at while it is needed: one system call (guess).
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long this task sleeps when it has nothing to wait for.
const NOTHING_DUE: Duration = Duration::from_secs(3600);
/// Answers that wait for the task: it asks three ways, and the local network answers bit by bit.
const QUEUE: usize = 16;

/// How a way did, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which.
    pub way: Way,
    /// Where it is asked: a path or a name.
    pub place: Option<String>,
    /// How many supernodes it named last; none if it was not asked.
    pub found: Option<usize>,
    /// What went wrong, or is wrong with what it says.
    pub problem: Option<String>,
}

/// What a way said.
#[derive(Debug, Default)]
struct Answer {
    found: Vec<NodeAddress>,
    problem: Option<String>,
}

/// What reaches the task from a question.
enum News {
    /// Some supernodes; more may follow.
    Found(Vec<NodeAddress>),
    /// All has been said: so many in all.
    Ended(Way, usize, Option<String>),
}

/// The task's own state.
struct Task {
    node: Arc<Node>,
    machine: Bootstrap,
    news: mpsc::Sender<News>,
    stamp: Option<list::Stamp>,
}

/// Begins to look after the ways that the settings name. `remembers` tells whether there are other candidates.
pub fn spawn(node: &Arc<Node>, remembers: bool) {
    let local = node.settings.bootstrap.local && local::makes_sense(node.listen);
    let settings = &node.settings.bootstrap;
    let ways: Vec<(Way, Option<String>)> = [
        settings.list.as_ref().map(|path| (Way::List, Some(path.display().to_string()))),
        settings.name.as_ref().map(|name| (Way::Name, Some(name.to_string()))),
        local.then_some((Way::Local, None)),
    ]
    .into_iter()
    .flatten()
    .collect();
    if ways.is_empty() {
        return;
    }
    let machine = Bootstrap::new(ways.iter().map(|(way, _)| *way), remembers, rand::random());
    let report = |(way, place)| Report { way, place, found: None, problem: None };
    node.bootstrap.send_replace(ways.into_iter().map(report).collect());
    let (news, coming) = mpsc::channel(QUEUE);
    let task = Task { node: Arc::clone(node), machine, news, stamp: None };
    tokio::spawn(task.run(node.overlay.clone(), coming));
    if local {
        tokio::spawn(announce::while_serving(Arc::clone(node)));
    }
}

impl Task {
    async fn run(mut self, mut overlay: watch::Receiver<Overlay>, mut coming: mpsc::Receiver<News>) {
        let mut stop = self.node.stop.subscribe();
        let mut look = interval(LOOK_EVERY);
        self.stamp = self.next_look(&mut look).await;
        let mut need = need(&overlay.borrow_and_update());
        self.machine.handle(Input::Need(need), now());
        loop {
            while let Some(way) = self.machine.poll_output() {
                self.ask(way);
            }
            let wake = self.machine.poll_timeout().unwrap_or_else(|| now().instant + NOTHING_DUE);
            let input = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                Ok(()) = overlay.changed() => {
                    need = self::need(&overlay.borrow_and_update());
                    Some(Input::Need(need))
                }
                Some(news) = coming.recv() => self.on_news(news),
                stamp = self.next_look(&mut look), if need != Need::Nothing => self.on_look(stamp),
                () = sleep_until(wake.into()) => Some(Input::Timeout),
            };
            if let Some(input) = input {
                self.machine.handle(input, now());
            }
        }
    }

    fn on_news(&self, news: News) -> Option<Input> {
        match news {
            News::Found(found) => {
                if self.node.commands.try_send(Command::Candidates(found)).is_err() {
                    debug!("the overlay is busy: supernodes that were found are dropped");
                }
                None
            }
            News::Ended(way, count, problem) => {
                if let Some(problem) = &problem {
                    info!(?way, problem, "a way to supernodes has a problem");
                }
                debug!(?way, count, "supernodes named");
                self.node.bootstrap.send_modify(|reports| {
                    for report in reports.iter_mut().filter(|report| report.way == way) {
                        report.found = Some(count);
                        report.problem.clone_from(&problem);
                    }
                });
                Some(Input::Answered(way))
            }
        }
    }

    /// The state of the list, a little later.
    async fn next_look(&self, look: &mut Interval) -> Option<list::Stamp> {
        look.tick().await;
        list::stamp(self.node.settings.bootstrap.list.clone()?).await
    }

    /// Whether the list is another one.
    fn on_look(&mut self, stamp: Option<list::Stamp>) -> Option<Input> {
        (stamp != std::mem::replace(&mut self.stamp, stamp)).then_some(Input::ListChanged)
    }

    fn ask(&self, way: Way) {
        let (node, news) = (Arc::clone(&self.node), self.news.clone());
        tokio::spawn(async move {
            if way == Way::Local {
                let (count, problem) = local::browse(&node, &news).await;
                let _ = news.send(News::Ended(way, count, problem)).await;
                return;
            }
            let settings = &node.settings.bootstrap;
            let asked = timeout(ASK_TIMEOUT, async {
                match way {
                    Way::List => {
                        list::ask(settings.list.clone().unwrap_or_default(), settings.dns_server).await
                    }
                    Way::Name => ask_name(settings.name.as_ref(), settings.dns_server).await,
                    Way::Local => Answer::default(),
                }
            });
            let Answer { mut found, problem } = asked
                .await
                .unwrap_or_else(|_| Answer::failed(format!("no answer within {} s", ASK_TIMEOUT.as_secs())));
            found.truncate(MAX_POINTERS);
            let count = found.len();
            if count > 0 {
                let _ = news.send(News::Found(found)).await;
            }
            let _ = news.send(News::Ended(way, count, problem)).await;
        });
    }
}

impl Answer {
    fn failed(problem: String) -> Self {
        Self { found: Vec::new(), problem: Some(problem) }
    }
}

async fn ask_name(name: Option<&HostName>, server: Option<SocketAddr>) -> Answer {
    let Some(name) = name else { return Answer::default() };
    match names::Names::new(server) {
        Ok(names) => names.ask(name).await,
        Err(error) => Answer::failed(error.to_string()),
    }
}

/// What a node lacks that sees the overlay so.
fn need(overlay: &Overlay) -> Need {
    match overlay {
        Overlay { serving: true, supernodes, .. } if supernodes.len() <= 1 => Need::Company,
        Overlay { serving: true, .. } | Overlay { home: Some(_), .. } => Need::Nothing,
        _ => Need::Home,
    }
}
