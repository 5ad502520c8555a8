use super::*;

const PACKET: u64 = 1200;
const MTU: u16 = 1200;

struct Bench {
    epoch: Arc<PathEpoch>,
    controller: Box<dyn Controller>,
    fresh: u64,
}

fn bench() -> Bench {
    let epoch = Arc::new(PathEpoch::new());
    let factory = Arc::new(FreshOnChange::new(epoch.clone()));
    let controller = factory.build(Instant::now(), MTU);
    let fresh = controller.window();
    assert_eq!(fresh, controller.initial_window());
    Bench { epoch, controller, fresh }
}

impl Bench {
    /// Sends until the window is full and says how much that was.
    fn fill(&mut self, in_flight: u64) -> u64 {
        let mut sent = 0;
        while in_flight + sent + PACKET < self.controller.window() {
            sent += PACKET;
            self.controller.on_sent(Instant::now(), PACKET, sent / PACKET);
        }
        sent
    }
}

#[test]
fn a_full_window_opens_again_when_the_route_changes() {
    let mut bench = bench();
    let stuck = bench.fill(0);
    assert!(stuck > 0 && bench.fill(stuck) == 0, "full");
    bench.epoch.change();
    assert_eq!(bench.controller.window(), stuck + bench.fresh);
    assert_eq!(bench.fill(stuck), stuck, "as much as at the beginning");
}

#[test]
fn loss_of_what_was_sent_on_the_old_route_gives_its_room_back_and_changes_nothing_else() {
    let mut bench = bench();
    let began = Instant::now();
    let stuck = bench.fill(0);
    bench.epoch.change();
    let new = bench.fill(stuck);
    bench.controller.on_congestion_event(Instant::now(), began, true, stuck);
    assert_eq!(bench.controller.window(), bench.fresh);
    assert_eq!(bench.fill(new), 0);
}

#[test]
fn loss_of_what_was_sent_on_the_new_route_is_congestion() {
    let mut bench = bench();
    let stuck = bench.fill(0);
    bench.epoch.change();
    bench.fill(stuck);
    let later = Instant::now() + Duration::from_millis(1);
    bench.controller.on_congestion_event(later, later, true, PACKET);
    let window = bench.controller.window();
    assert!(window < bench.fresh, "{window}: smaller, and what was old is given up too");
    assert!(window > bench.fresh / 2, "{window}: but no persistent congestion, which began on the old route");
}

#[test]
fn each_change_is_a_fresh_start_also_when_nothing_was_sent_between() {
    let mut bench = bench();
    let stuck = bench.fill(0);
    bench.epoch.change();
    bench.epoch.change();
    assert_eq!(bench.controller.window(), stuck + bench.fresh);
    let more = bench.fill(stuck);
    bench.epoch.change();
    assert_eq!(bench.controller.window(), stuck + more + bench.fresh);
}

#[test]
fn quics_own_figure_bounds_what_is_counted_as_old() {
    let mut bench = bench();
    bench.fill(0);
    bench.epoch.change();
    bench.controller.on_end_acks(Instant::now(), 2 * PACKET, false, Some(3));
    assert_eq!(bench.controller.window(), 2 * PACKET + bench.fresh);
}

#[test]
fn acknowledgements_alone_do_not_make_a_large_window() {
    let mut bench = bench();
    for number in 0..100_000 {
        bench.controller.on_sent(Instant::now(), 40, number);
    }
    bench.epoch.change();
    assert!(bench.controller.window() <= 2 * bench.fresh + PROBES, "{}", bench.controller.window());
}

#[test]
fn acknowledged_old_packets_shrink_the_window_and_late_ones_are_given_up_with_the_first_new_one() {
    let began = Instant::now();
    let changed = began + Duration::from_secs(1);
    let rtt = Duration::from_millis(40);
    let mut path = Path { seen: 0, changed_at: None, flight: 10 * PACKET, old: 0, peak: 10 * PACKET };
    path.leave(1, changed, 0);
    path.on_ack(changed + Duration::from_millis(5), began, PACKET, rtt);
    assert_eq!(path.old, 9 * PACKET);
    let new = changed + Duration::from_millis(10);
    path.on_ack(new + Duration::from_millis(20), new, PACKET, rtt);
    assert_eq!(path.old, 9 * PACKET, "QUIC still waits for the old ones");
    path.on_ack(new + rtt, new, PACKET, rtt);
    assert_eq!(path.old, 0);
}
