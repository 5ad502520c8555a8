//! Two clients and one relay on loopback, end-to-end encrypted: through the relay against the direct path, alternating in the same run.
//!
//! `cargo bench -p tests --bench relay -- [--size-mib 1024] [--rounds 5] [--disturbed] [--turn HOST:PORT [--turn-pid PID]]`
//!
//! The relay is the program itself in a process of its own; the clients are two members with the product's port each, and one
//! connection of theirs takes the direct path or the relayed one. CPU seconds are user and system time, in ticks of 10 ms.
//!
//! `--disturbed` measures the relayed path once more in each round while strangers send 20,000 packets a second to the relay,
//! and while a pair of members sends as many through it.
//!
//! `--turn` carries the same connection through a TURN server too (RFC 8656), channel data on one leg and plain UDP on the other.
//! coturn's, from the package manager, is started like this in another terminal:
//!
//! ```text
//! turnserver -n --no-auth --allow-loopback-peers --no-tls --no-dtls --no-cli --no-tcp-relay --no-tcp \
//!     --listening-ip 127.0.0.1 --relay-ip 127.0.0.1 --listening-port 3478 --log-file stdout --pidfile /tmp/turnserver.pid
//! cargo bench -p tests --bench relay -- --turn 127.0.0.1:3478 --turn-pid $(cat /tmp/turnserver.pid)
//! ```

mod disturbance;
mod load;
mod scene;
mod turn;

use std::net::SocketAddr;

use disturbance::Disturbance;
use load::Measured;
use scene::Scene;

struct Settings {
    bytes: u64,
    rounds: usize,
    disturbed: bool,
    turn: Option<SocketAddr>,
    turn_pid: Option<u32>,
}

fn main() {
    let settings = settings();
    let scene = Scene::new();
    println!("{} MiB each, {} rounds", settings.bytes >> 20, settings.rounds);
    let mut rounds = Vec::new();
    for round in 1..=settings.rounds {
        println!("round {round}");
        rounds.push(Round::of(&scene, &settings));
    }
    summary(&rounds);
}

fn settings() -> Settings {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let mut settings = Settings { bytes: 1 << 30, rounds: 5, disturbed: false, turn: None, turn_pid: None };
    while let Some(option) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| panic!("{option} needs a value"));
        match option.as_str() {
            "--size-mib" => settings.bytes = value().parse::<u64>().expect("a number of MiB") << 20,
            "--rounds" => settings.rounds = value().parse().expect("a number of rounds"),
            "--disturbed" => settings.disturbed = true,
            "--turn" => settings.turn = Some(value().parse().expect("HOST:PORT, both in numbers")),
            "--turn-pid" => settings.turn_pid = Some(value().parse().expect("a process id")),
            other => panic!("unknown option {other}"),
        }
    }
    settings
}

/// What was measured one after the other.
struct Round {
    direct: Measured,
    relayed: Measured,
    turned: Option<Measured>,
    /// Relayed, while others send too.
    disturbed: Vec<(Disturbance, Measured)>,
}

impl Round {
    fn of(scene: &Scene, settings: &Settings) -> Self {
        let direct = said("direct", scene.direct(settings.bytes));
        let relayed = said("relayed", scene.relayed(settings.bytes));
        let turned = settings
            .turn
            .map(|server| said("by TURN", scene.turned(server, settings.turn_pid, settings.bytes)));
        let mut disturbed = Vec::new();
        if settings.disturbed {
            for disturbance in Disturbance::ALL {
                let running = disturbance.begin(scene);
                let measured = said(disturbance.name(), scene.relayed(settings.bytes));
                println!("{:>24}   {} packets were sent meanwhile", "", running.end());
                disturbed.push((disturbance, measured));
            }
        }
        Self { direct, relayed, turned, disturbed }
    }
}

fn said(name: &str, measured: Measured) -> Measured {
    println!("{name:>24}: {measured}");
    measured
}

fn summary(rounds: &[Round]) {
    let of = |figure: &dyn Fn(&Round) -> Option<f64>| median(rounds.iter().filter_map(figure));
    let text = |figure: &dyn Fn(&Round) -> Option<f64>| match of(figure) {
        Some(value) => format!("{value:.2}"),
        None => "not measured".to_owned(),
    };
    println!("medians:");
    println!(
        "  direct {} MB/s, relayed {} MB/s, ratio {}",
        text(&|round| Some(round.direct.speed().round())),
        text(&|round| Some(round.relayed.speed().round())),
        text(&|round| Some(round.relayed.speed() / round.direct.speed())),
    );
    println!("  relay {} CPU s/GiB", text(&|round| round.relayed.middle_cost()));
    if rounds.iter().any(|round| round.turned.is_some()) {
        println!(
            "  TURN {} MB/s, ratio to direct {}, server {} CPU s/GiB",
            text(&|round| Some(round.turned.as_ref()?.speed().round())),
            text(&|round| Some(round.turned.as_ref()?.speed() / round.direct.speed())),
            text(&|round| round.turned.as_ref()?.middle_cost()),
        );
    }
    for (index, disturbance) in Disturbance::ALL.into_iter().enumerate() {
        if let Some(ratio) = of(&|round| Some(round.disturbed.get(index)?.1.speed() / round.relayed.speed()))
        {
            println!("  {}: {ratio:.2} of the speed without", disturbance.name());
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
