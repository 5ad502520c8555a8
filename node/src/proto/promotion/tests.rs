//! What a net of such machines does, and what one of them says.

use std::time::Duration;

use nearmesh_common::{Now, wire::home::Neighbourhood};

use super::{
    Config, Facts, Input, Output, Promotion, Reached, Unfit, Waits, Why,
    population::{CAPACITY, Net},
};
use crate::{config::Promote, proto::tests::the_beginning};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// How far the number of supernodes is from what so many nodes ask for, as a part of that.
fn excess(supernodes: usize, nodes: usize) -> f64 {
    let ideal = nodes as f64 / (f64::from(CAPACITY) * super::TARGET);
    supernodes as f64 / ideal - 1.0
}

fn a_crowd_settles(seed: u64, reachable: f64, liars: u32) -> Net {
    let mut net = Net::new(seed);
    net.join(20_000, 5 * MINUTE, reachable);
    for _ in 0..liars {
        net.lie(u32::MAX);
        net.run(MINUTE);
    }
    net.run(10 * MINUTE);
    let supernodes = net.supernodes().len();
    println!(
        "seed {seed}: {supernodes} supernodes, fullest {}, waited {:?}",
        net.fullest(),
        net.longest_wait
    );
    assert_eq!(net.homeless(), 0, "seed {seed}");
    assert!(excess(supernodes, 20_001).abs() <= 0.2, "seed {seed}: {supernodes} supernodes");
    net
}

#[test]
fn a_flash_crowd_makes_the_supernodes_that_it_needs_and_then_nobody_changes_role() {
    for (seed, reachable) in [(1, 0.4), (3, 0.1)] {
        let mut net = a_crowd_settles(seed, reachable, 0);
        assert!(net.longest_wait <= 10 * SECOND, "seed {seed}: somebody waited {:?}", net.longest_wait);
        let before = net.switches;
        net.run(60 * MINUTE);
        let (switches, supernodes) = (net.switches - before, net.supernodes().len());
        println!("seed {seed}: {switches} switches, {supernodes} supernodes");
        assert!(switches < 200, "seed {seed}: {switches} changed role");
        assert!(excess(supernodes, 20_001).abs() <= 0.2, "seed {seed}: {supernodes} supernodes");
    }
}

#[test]
fn those_who_claim_room_without_end_are_counted_like_others() {
    let net = a_crowd_settles(4, 0.3, 5);
    assert!(net.longest_wait <= 20 * SECOND, "somebody waited {:?}", net.longest_wait);
}

#[test]
fn where_nobody_else_can_serve_everybody_stays_with_the_only_supernode() {
    let mut net = Net::new(5);
    net.join(1000, MINUTE, 0.0);
    net.run(10 * MINUTE);
    assert_eq!((net.supernodes().len(), net.homeless()), (1, 0));
}

#[test]
fn supernodes_that_leave_one_after_another_are_replaced() {
    let mut net = Net::new(6);
    net.join(1000, MINUTE, 0.3);
    net.run(20 * MINUTE);
    let before = net.supernodes();
    for supernode in before.clone() {
        net.leave(supernode);
        net.run(20 * SECOND);
        assert!(!net.supernodes().is_empty());
    }
    net.run(5 * MINUTE);
    let after = net.supernodes();
    assert!(after.iter().all(|supernode| !before.contains(supernode)));
    assert!(after.len() >= 12 && net.homeless() == 0, "{} left, {} homeless", after.len(), net.homeless());
}

#[test]
fn a_small_net_makes_itself_a_second_and_a_third_supernode_and_no_fourth() {
    let mut net = Net::new(7);
    net.join(20, MINUTE, 0.5);
    net.run(60 * MINUTE);
    assert_eq!(net.supernodes().len(), 3);
}

/// Alice's node alone.
struct Alice {
    machine: Promotion,
    now: Now,
}

const FIT: Facts =
    Facts { reached: Reached::ByTwo, memory: None, descriptors: None, metered: None, on_battery: None };
/// Everybody is half as full again as they would like to be.
const SHORT: Neighbourhood = Neighbourhood {
    children: 150,
    capacity: 100,
    all_children: 1500,
    all_capacity: 1000,
    supernodes: 10,
    candidates: 20,
};
const ENOUGH: Neighbourhood = Neighbourhood { children: 40, all_children: 600, ..SHORT };
const PLENTY: Neighbourhood = Neighbourhood { children: 10, all_children: 200, ..SHORT };

impl Alice {
    fn new(promote: Promote, waits: Waits) -> Self {
        let now = the_beginning();
        let mut alice = Self { machine: Promotion::new(Config { promote, waits }, 7, now), now };
        alice.hear(Input::Home(true));
        alice
    }

    fn hear(&mut self, input: Input) -> Vec<Output> {
        self.machine.handle(input, self.now);
        std::iter::from_fn(|| self.machine.poll_output()).collect()
    }

    /// Lets time pass until the machine wants something, at most so long.
    fn wait(&mut self, most: Duration) -> Vec<Output> {
        let end = self.now.instant + most;
        while let Some(at) = self.machine.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.after(at.saturating_duration_since(self.now.instant));
            let outputs = self.hear(Input::Timeout);
            if !outputs.is_empty() {
                return outputs;
            }
        }
        self.now = self.now.after(end - self.now.instant);
        Vec::new()
    }

    fn why(&self) -> String {
        self.machine.why(self.now).to_string()
    }

    fn serve(&mut self) {
        let outputs = self.hear(Input::Serving(true));
        assert!(matches!(outputs[..], [Output::Keep(_)]));
    }
}

#[test]
fn who_is_fit_and_needed_promotes_itself() {
    let mut alice = Alice::new(Promote::Auto, Waits::default());
    alice.hear(Input::Facts(FIT));
    alice.hear(Input::Neighbourhood(ENOUGH));
    assert_eq!(alice.wait(60 * MINUTE), [], "nobody is needed");
    assert!(alice.why().contains("there are enough: they are 60 % full"), "{}", alice.why());
    alice.hear(Input::Neighbourhood(SHORT));
    assert_eq!(alice.machine.why(alice.now), Why::Candidate { full: 150 });
    assert_eq!(alice.wait(10 * MINUTE), [Output::Promote]);
    alice.serve();
    assert_eq!(alice.machine.why(alice.now), Why::Serves { full: None });
}

#[test]
fn who_cannot_serve_says_why_and_does_not() {
    let unreachable = Facts { reached: Reached::No, ..FIT };
    let reasons = [
        (unreachable, Unfit::Unreachable),
        (Facts { reached: Reached::Unknown, ..FIT }, Unfit::ReachUnknown),
        (Facts { reached: Reached::ByOne, ..FIT }, Unfit::OneWitness),
        (Facts { metered: Some(true), ..FIT }, Unfit::Metered),
        (Facts { on_battery: Some(true), ..FIT }, Unfit::OnBattery),
        (Facts { memory: Some(1 << 20), ..FIT }, Unfit::Memory(1 << 20)),
        (Facts { descriptors: Some(64), ..FIT }, Unfit::Descriptors(64)),
    ];
    for (facts, unfit) in reasons {
        let mut alice = Alice::new(Promote::Auto, Waits::default());
        alice.hear(Input::Facts(facts));
        alice.hear(Input::Neighbourhood(SHORT));
        assert_eq!(alice.wait(60 * MINUTE), [], "{facts:?}");
        assert_eq!(alice.machine.why(alice.now), Why::Unfit(unfit));
    }
}

#[test]
fn the_user_has_the_last_word() {
    let mut alice = Alice::new(Promote::Never, Waits::default());
    alice.hear(Input::Facts(FIT));
    alice.hear(Input::Neighbourhood(SHORT));
    assert_eq!(alice.wait(60 * MINUTE), []);
    assert!(alice.why().contains("--promote never"));
    let mut alice = Alice::new(Promote::Always, Waits::default());
    alice.hear(Input::Serving(true));
    alice.hear(Input::Facts(Facts { reached: Reached::No, ..FIT }));
    alice.hear(Input::Neighbourhood(PLENTY));
    assert_eq!(alice.wait(600 * MINUTE), []);
    assert!(alice.why().contains("--promote always"));
}

#[test]
fn one_witness_is_enough_where_there_is_no_other() {
    let mut alice = Alice::new(Promote::Auto, Waits::default());
    alice.hear(Input::Facts(Facts { reached: Reached::ByOne, ..FIT }));
    alice.hear(Input::Neighbourhood(Neighbourhood {
        all_children: 150,
        all_capacity: 100,
        supernodes: 1,
        ..SHORT
    }));
    assert_eq!(alice.wait(10 * MINUTE), [Output::Promote]);
}

#[test]
fn in_a_calm_the_line_is_measured_first_and_a_slow_one_does_not_serve() {
    for (rate, then) in
        [(Some(1_000_000), vec![Output::Promote]), (Some(1000), vec![]), (None, vec![Output::Promote])]
    {
        let mut alice = Alice::new(Promote::Auto, Waits::default());
        alice.hear(Input::Facts(FIT));
        alice.hear(Input::Neighbourhood(Neighbourhood { all_children: 800, children: 80, ..SHORT }));
        assert_eq!(alice.wait(600 * MINUTE), [Output::Measure]);
        assert_eq!(alice.hear(Input::Measured(rate)), then, "{rate:?}");
    }
}

#[test]
fn a_spare_supernode_steps_down_after_its_wait_and_not_before() {
    let mut alice = Alice::new(Promote::Auto, Waits::default());
    alice.serve();
    alice.hear(Input::Facts(FIT));
    alice.hear(Input::Neighbourhood(PLENTY));
    assert_eq!(alice.wait(29 * MINUTE), [], "half an hour has not passed");
    assert!(alice.why().contains("only 20 % full"), "{}", alice.why());
    assert_eq!(alice.wait(60 * MINUTE), [Output::Demote]);
    let outputs = alice.hear(Input::Serving(false));
    assert!(matches!(outputs[..], [Output::Keep(Waits { switches: 2, .. })]), "{outputs:?}");
}

#[test]
fn waits_double_and_outlive_a_restart() {
    let last = the_beginning().wall;
    for (switches, minutes) in [(1, 30), (2, 60), (3, 120), (9, 1020)] {
        let mut alice = Alice::new(Promote::Auto, Waits { switches, last });
        alice.hear(Input::Facts(FIT));
        alice.hear(Input::Measured(Some(1_000_000)));
        let calm = Neighbourhood { all_children: 800, children: 80, ..SHORT };
        alice.hear(Input::Neighbourhood(calm));
        assert_eq!(alice.wait((minutes - 1) * MINUTE), []);
        assert!(matches!(alice.machine.why(alice.now), Why::Waits(_)), "{}", alice.why());
        let mut outputs = alice.wait(60 * MINUTE);
        if outputs == [Output::Measure] {
            outputs = alice.hear(Input::Measured(Some(1_000_000)));
        }
        assert_eq!(outputs, [Output::Promote], "after {switches} switches");
    }
}

#[test]
fn who_is_needed_by_all_does_not_wait() {
    let mut alice = Alice::new(Promote::Auto, Waits { switches: 5, last: the_beginning().wall });
    alice.hear(Input::Facts(FIT));
    alice.hear(Input::Neighbourhood(SHORT));
    assert_eq!(alice.wait(5 * MINUTE), [Output::Promote]);
}

#[test]
fn a_supernode_that_strangers_no_longer_reach_steps_down_if_there_are_others() {
    for (supernodes, then) in [(2, vec![Output::Demote]), (1, vec![])] {
        let mut alice = Alice::new(Promote::Auto, Waits::default());
        alice.serve();
        alice.hear(Input::Neighbourhood(Neighbourhood { supernodes, ..ENOUGH }));
        alice.hear(Input::Facts(Facts { reached: Reached::No, ..FIT }));
        assert_eq!(alice.wait(10 * MINUTE), then, "of {supernodes}");
    }
}

#[test]
fn a_home_that_stays_far_too_full_is_helped_whatever_room_others_claim() {
    for (children, least, most) in [(130, 60, 200), (250, 8, 30)] {
        let mut alice = Alice::new(Promote::Auto, Waits::default());
        alice.hear(Input::Facts(FIT));
        alice.wait(60 * MINUTE);
        alice.hear(Input::Measured(Some(1_000_000)));
        let begun = alice.now;
        let claimed = Neighbourhood { all_children: children, all_capacity: 2000, candidates: 3, ..SHORT };
        alice.hear(Input::Neighbourhood(Neighbourhood { children, ..claimed }));
        assert_eq!(alice.wait(30 * MINUTE), [Output::Promote], "{children} children");
        let took = (alice.now.instant - begun.instant).as_secs();
        assert!((least..most).contains(&took), "{children} children: after {took} s");
    }
}

#[test]
fn the_last_supernodes_stay() {
    let mut alice = Alice::new(Promote::Auto, Waits::default());
    alice.serve();
    alice.hear(Input::Facts(FIT));
    alice.hear(Input::Neighbourhood(Neighbourhood {
        children: 1,
        all_children: 3,
        all_capacity: 300,
        supernodes: 3,
        ..SHORT
    }));
    assert_eq!(alice.wait(6000 * MINUTE), []);
}

#[test]
fn an_orphan_that_strangers_reached_becomes_a_home_itself() {
    let mut alice = Alice::new(Promote::Auto, Waits::default());
    alice.hear(Input::Facts(FIT));
    alice.hear(Input::Home(false));
    alice.hear(Input::Facts(Facts { reached: Reached::Unknown, ..FIT }));
    assert_eq!(alice.wait(50 * SECOND), [], "its home may come back");
    assert_eq!(alice.wait(30 * MINUTE), [Output::Promote]);
    let mut newcomer = Alice::new(Promote::Auto, Waits::default());
    newcomer.machine =
        Promotion::new(Config { promote: Promote::Auto, waits: Waits::default() }, 7, newcomer.now);
    newcomer.hear(Input::Facts(FIT));
    newcomer.hear(Input::Home(false));
    assert_eq!(newcomer.wait(600 * MINUTE), [], "who never had a home has nothing to replace");
}
