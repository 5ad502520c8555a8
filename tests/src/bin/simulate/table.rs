//! The figures as text.

use tests::scenario::Outcome;

/// Prints them.
pub fn print(outcome: &Outcome) {
    println!("{}: {}", outcome.scenario, outcome.about);
    println!("seed {}, digest {}", outcome.seed, outcome.digest);
    let state = &outcome.state;
    println!(
        "{} supernodes with {:.0} children, {:.0} links, {:.0} members, {:.0} directory entries each; {} of {} nodes at home",
        state.supernodes,
        state.children.mean,
        state.links.mean,
        state.members.mean,
        state.listed.mean,
        state.homed,
        state.running
    );
    println!(
        "\nquestions        asked    recall  p50 ms  p99 ms   rtts  queries (max)  requests  messages   bytes  waves  stale"
    );
    for (kind, figures) in &outcome.questions {
        println!(
            "{kind:14} {:7} {:9.5} {:7.0} {:7.0} {:6.2} {:8.1} {:6.0} {:9.2} {:9.1} {:7.0} {:6.2} {:6}",
            figures.asked,
            figures.recall,
            figures.latency_ms.p50,
            figures.latency_ms.p99,
            figures.round_trips.p99,
            figures.queries.mean,
            figures.queries.max,
            figures.requests.mean,
            figures.messages.mean,
            figures.bytes.mean,
            figures.waves.mean,
            figures.stale,
        );
    }
    let law = outcome.law;
    println!(
        "\na sweep: {:.1} messages beyond the answerers (max {:.0}); the law allows {:.1}",
        law.mean, law.max, law.allowed
    );
    println!("\na supernode's second        messages     bytes");
    let mut volume: Vec<_> = outcome.volume.iter().collect();
    volume.sort_by(|a, b| b.1.bytes.total_cmp(&a.1.bytes));
    for (kind, rate) in volume {
        println!("{kind:24} {:11.3} {:9.1}", rate.messages, rate.bytes);
    }
    let s = outcome.signalling;
    println!(
        "KB/s: sent {:.2}, received {:.2}, acks {:.2}, keep-alive {:.2} and {:.2}, probes {:.2}; in all {:.2} out, {:.2} in",
        s.sent, s.received, s.acks, s.keep_alive, s.kept_alive, s.probes, s.total_sent, s.total_received
    );
    let waits = outcome.homeless_ms;
    println!(
        "\nwithout a home: {} times, p50 {:.0} ms, p99 {:.0} ms, longest {:.0} ms",
        waits.count, waits.p50, waits.p99, waits.max
    );
    for (event, seconds) in &outcome.recovery {
        println!("after {event}: 99.9 % whole after {seconds:.1} s");
    }
    println!("trouble: {:?}", outcome.trouble);
    for wrong in &outcome.wrong {
        println!("wrong: {wrong}");
    }
    let machine = outcome.machine;
    println!(
        "{} events in {:.1} s: {:.2} M/s; {:.0} MB",
        machine.events,
        machine.seconds,
        machine.events as f64 / machine.seconds / 1e6,
        machine.memory
    );
    for checked in &outcome.checked {
        let bound = &checked.expectation;
        let verdict = if checked.holds { "holds" } else { "BROKEN" };
        println!(
            "{verdict}: {} = {:?} (least {:?}, most {:?}) {}",
            bound.figure, checked.found, bound.least, bound.most, bound.because
        );
    }
}
