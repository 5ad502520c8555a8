use proptest::prelude::*;

use super::*;

/// What a test packet is, told by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Plain,
    Through(u8),
    Foreign(u8),
    Probe,
}

const PREFIX: usize = 8;

fn packet(sent: Sent, size: usize, fill: u8) -> Vec<u8> {
    let mut packet = vec![fill; size];
    packet[0] = match sent {
        Sent::Plain => 0,
        Sent::Through(peer) => peer,
        Sent::Foreign(channel) => 100 + channel,
        Sent::Probe => 200,
    };
    packet
}

fn judge(packet: &[u8]) -> Verdict<u8, u8> {
    match packet[0] {
        0 => Verdict::Keep { source: 0, skip: 0 },
        foreign @ 100..200 => Verdict::PassOn(foreign),
        200 => Verdict::Drop,
        peer => Verdict::Keep { source: peer, skip: PREFIX },
    }
}

/// All packets that quinn would see, with their sources.
fn kept(batch: &[u8], sorted: &Sorted<u8>) -> Vec<(u8, Vec<u8>)> {
    let first = sorted.first.iter().map(|group| (group.source, group.stride, &batch[..group.packets]));
    let others = sorted.others.iter().map(|group| (group.source, group.stride, &group.packets[..]));
    let groups = first.chain(others);
    groups
        .flat_map(|(source, stride, all)| all.chunks(stride).map(move |one| (source, one.to_vec())))
        .collect()
}

#[test]
fn a_batch_of_one_channel_is_moved_together_in_place() {
    let packets: Vec<_> = (0..3).map(|i| packet(Sent::Through(7), 20 - usize::from(i / 2), i)).collect();
    let mut batch = packets.concat();
    let sorted = sort(&mut batch, 20, judge, |_, _| panic!("nothing is passed on"));
    assert_eq!(sorted, Sorted { first: Some(Group { source: 7, stride: 12, packets: 35 }), others: vec![] });
    assert_eq!(&batch[..35], &[[0; 12].to_vec(), [1; 12].to_vec(), [2; 11].to_vec()].concat()[..]);
}

#[test]
fn a_batch_that_is_not_for_us_is_passed_on_in_one_piece() {
    let mut batch =
        [packet(Sent::Foreign(1), 20, 1), packet(Sent::Foreign(1), 20, 2), packet(Sent::Foreign(1), 9, 3)]
            .concat();
    let (whole, mut runs) = (batch.clone(), Vec::new());
    let sorted = sort(&mut batch, 20, judge, |channel, run| runs.push((channel, run.to_vec())));
    assert_eq!((sorted.first, sorted.others, runs), (None, vec![], vec![(101, whole)]));
}

#[test]
fn a_packet_that_is_only_a_prefix_is_nothing() {
    let mut batch = packet(Sent::Through(3), PREFIX, 1);
    assert_eq!(sort(&mut batch, PREFIX, judge, |_, _| {}).first, None);
}

fn sent() -> impl Strategy<Value = Sent> {
    prop_oneof![
        Just(Sent::Plain),
        (1u8..4).prop_map(Sent::Through),
        (1u8..4).prop_map(Sent::Through),
        (0u8..2).prop_map(Sent::Foreign),
        (0u8..2).prop_map(Sent::Foreign),
        Just(Sent::Probe)
    ]
}

proptest! {
    #[test]
    fn a_mixed_batch_is_split_packet_by_packet(
        sent in proptest::collection::vec(sent(), 1..64),
        stride in 20usize..100,
        cut in 0usize..11,
    ) {
        let last = sent.len() - 1;
        let packets: Vec<_> = sent
            .iter()
            .enumerate()
            .map(|(i, sent)| packet(*sent, if i == last { stride - cut } else { stride }, i as u8))
            .collect();
        let mut batch = packets.concat();
        let (mut judged, mut passed_on) = (Vec::new(), Vec::new());
        let watch = |packet: &[u8]| {
            judged.push(packet.to_vec());
            judge(packet)
        };
        let sorted = sort(&mut batch, stride, watch, |channel, run| {
            assert!(run.chunks(stride).all(|packet| packet[0] == channel), "one channel in each run");
            passed_on.push(run.to_vec());
        });
        prop_assert_eq!(&judged, &packets, "each is judged once, in order");

        let for_quinn = |source: u8| -> Vec<Vec<u8>> {
            let mine = packets.iter().filter(|packet| packet[0] == source);
            mine.map(|packet| packet[if source == 0 { 0 } else { PREFIX }..].to_vec()).collect()
        };
        let kept = kept(&batch, &sorted);
        for source in 0..4 {
            let of_source: Vec<_> =
                kept.iter().filter(|(from, _)| *from == source).map(|(_, packet)| packet.clone()).collect();
            prop_assert_eq!(of_source, for_quinn(source), "in order, for each source");
        }
        let foreign: Vec<u8> = packets.iter().filter(|packet| (100..200).contains(&packet[0])).flatten().copied().collect();
        prop_assert_eq!(passed_on.concat(), foreign);
        let runs = sent.chunk_by(|a, b| a == b).filter(|run| matches!(run[0], Sent::Foreign(_)));
        prop_assert_eq!(passed_on.len(), runs.count(), "whole runs");
    }

    #[test]
    fn garbage_of_any_stride_never_panics_and_never_grows(
        mut batch in proptest::collection::vec(any::<u8>(), 0..2000),
        stride in any::<usize>(),
    ) {
        let length = batch.len();
        let sorted = sort(&mut batch, stride, judge, |_, _| {});
        let kept: usize = kept(&batch, &sorted).iter().map(|(_, packet)| packet.len()).sum();
        prop_assert!(kept <= length);
    }
}
