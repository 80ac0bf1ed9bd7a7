//! Room is made, and never at the cost of a transaction whose parent is missing.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use bitcoin::consensus::deserialize;
use bitcoin::hashes::Hash;

use crate::block_template::Limits;
use crate::dependencies::parents;
use crate::templates::build;
use crate::templates::samples::{none, offer, transaction};

fn fits(offer: &BlockTemplate, room: Room) -> bool {
    spare(offer).is_some_and(|spare| room.load().is_within(spare))
}

fn trim(offer: &BlockTemplate, room: Room) -> Result<Vec<Arc<Transaction>>, BuildError> {
    super::trim(offer, &parents(&offer.transactions), room.load())
}

fn build_with_room(offer: &BlockTemplate, room: Room) -> Result<build::Contents, BuildError> {
    build::build_with_room(offer, &parents(&offer.transactions), &none(), room)
}

/// A block that has 1,000 weight units and 100 units of sigops for transactions if the client
/// reserves nothing.
fn small(transactions: &[Arc<Transaction>]) -> BlockTemplate {
    let limits = Limits { weight: RESERVED_WEIGHT + 1000, sigops: 100 };
    BlockTemplate { limits, ..offer(transactions) }
}

fn bytes(output_bytes: u32) -> Room {
    Room { output_bytes, output_sigops: 0 }
}

fn sigops(output_sigops: u16) -> Room {
    Room { output_bytes: 0, output_sigops }
}

#[test]
fn what_fits_stays_whole() {
    let all = [transaction(1, &[], 10, 600, 0), transaction(2, &[], 10, 400, 100)];
    assert!(fits(&small(&all), Room::default()));
    assert_eq!(trim(&small(&all), Room::default()).unwrap(), all);
}

#[test]
fn a_byte_of_outputs_takes_four_weight_units() {
    let all = [transaction(1, &[], 10, 960, 0)];
    assert!(fits(&small(&all), bytes(10)));
    assert!(!fits(&small(&all), bytes(11)));
    assert_eq!(trim(&small(&all), bytes(11)).unwrap(), []);
}

#[test]
fn of_equals_the_last_goes_first() {
    let all = [
        transaction(1, &[], 10, 400, 0),
        transaction(2, &[], 10, 400, 0),
        transaction(3, &[], 10, 200, 0),
    ];
    assert_eq!(trim(&small(&all), bytes(1)).unwrap(), all[..2]);
    let equals = [0, 1, 3].map(|index| transaction(index, &[], 10, 250, 0));
    assert_eq!(trim(&small(&equals), bytes(100)).unwrap(), equals[..2]);
}

#[test]
fn a_small_excess_costs_no_large_transaction() {
    let all = [transaction(1, &[], 960, 960, 0), transaction(2, &[], 50, 40, 0)];
    assert_eq!(trim(&small(&all), bytes(10)).unwrap(), all[..1]);
}

#[test]
fn what_pays_least_for_what_is_scarce_goes_first() {
    let few = |name| transaction(name, &[], 30, 100, 10);
    // It pays best for its weight, and worst for its signature operations.
    let many = transaction(1, &[], 90, 100, 80);
    let all = [many, few(2), few(3)];
    assert_eq!(trim(&small(&all), sigops(20)).unwrap(), all[1..]);
}

#[test]
fn a_parent_for_which_its_child_pays_stays() {
    let parent = transaction(1, &[], 0, 300, 0);
    let child = transaction(2, &[&parent], 100, 300, 0);
    let other = transaction(3, &[], 40, 400, 0);
    let kept = trim(&small(&[parent.clone(), child.clone(), other]), bytes(1)).unwrap();
    assert_eq!(kept, [parent, child]);
}

#[test]
fn what_fits_again_after_something_large_went_comes_back() {
    // Cheap for what is missing at first, and not needed once the large one is gone.
    let small_one = transaction(1, &[], 5, 50, 0);
    let large = transaction(2, &[], 60, 600, 0);
    let dear = transaction(3, &[], 900, 350, 0);
    let all = [small_one.clone(), large, dear.clone()];
    assert_eq!(trim(&small(&all), bytes(100)).unwrap(), [small_one, dear]);
}

#[test]
fn only_what_has_sigops_goes_for_sigops() {
    let all = [
        transaction(1, &[], 10, 100, 60),
        transaction(2, &[], 10, 100, 40),
        transaction(3, &[], 10, 100, 0),
    ];
    let kept = trim(&small(&all), sigops(1)).unwrap();
    assert_eq!(kept, [all[0].clone(), all[2].clone()]);
}

#[test]
fn a_parent_stays_as_long_as_its_child_does() {
    let parent = transaction(1, &[], 10, 100, 60);
    let other = transaction(2, &[], 10, 100, 40);
    let child = transaction(3, &[&parent], 10, 100, 0);
    let all = [other, parent.clone(), child.clone()];
    // The child has no sigops and shields its parent, so the other one goes.
    assert_eq!(trim(&small(&all), sigops(1)).unwrap(), [parent, child]);
}

#[test]
fn a_child_goes_when_only_its_parent_can_help() {
    let parent = transaction(1, &[], 10, 100, 100);
    let child = transaction(2, &[&parent], 10, 100, 0);
    let other = transaction(3, &[], 10, 100, 0);
    let kept = trim(&small(&[parent, child, other]), sigops(1)).unwrap();
    assert!(kept.len() <= 1 && kept.iter().all(|kept| kept.sigops == Some(0)), "{kept:?}");
}

#[test]
fn an_unreadable_transaction_may_need_all_before_it() {
    let first = transaction(1, &[], 10, 100, 100);
    let strange = Arc::new(Transaction {
        data: bytes::Bytes::from_static(&[1, 2, 3]),
        ..(*transaction(2, &[], 10, 100, 0)).clone()
    });
    // It cannot stay without what it may need, so nothing stays.
    assert_eq!(trim(&small(&[first, strange]), sigops(1)).unwrap(), []);
}

#[test]
fn a_client_that_wants_more_than_a_block_gets_none() {
    assert_eq!(trim(&small(&[]), bytes(250)), Ok(vec![]));
    assert_eq!(trim(&small(&[]), bytes(251)), Err(BuildError::NoRoom));
    assert_eq!(trim(&small(&[]), bytes(u32::MAX)), Err(BuildError::NoRoom));
    assert_eq!(trim(&small(&[]), sigops(26)), Err(BuildError::NoRoom));
}

#[test]
fn fees_path_and_commitment_are_those_of_what_stays() {
    let all = [transaction(1, &[], 7, 600, 0), transaction(2, &[], 5, 400, 0)];
    let trimmed = build_with_room(&small(&all), bytes(1)).unwrap();
    let alone = build::build(&small(&all[..1]), &none()).unwrap();
    assert_eq!(trimmed, alone);
    assert_eq!(trimmed.value_remaining, 2_500_000_007);
    assert_eq!(trimmed.fees, 7);
}

#[test]
fn a_template_with_unknown_fees_is_not_trimmed() {
    let unknown = Arc::new(Transaction { fee: None, ..(*transaction(1, &[], 0, 1, 0)).clone() });
    let heavy = transaction(2, &[], 5, 1000, 0);
    let trimmed = build_with_room(&small(&[unknown, heavy]), bytes(1));
    assert_eq!(trimmed, Err(BuildError::UnknownFees));
}

/// Transactions of which each may spend from some before it.
fn any_transactions() -> impl Strategy<Value = Vec<Arc<Transaction>>> {
    let one = (any::<u64>(), 1_u64..200, 0_u64..20, 0_u64..500);
    proptest::collection::vec(one, 0..20).prop_map(|drawn| {
        let mut all: Vec<Arc<Transaction>> = Vec::new();
        for (name, (parents, weight, sigops, fee)) in drawn.into_iter().enumerate() {
            let spends = |index: usize| parents >> (index * 3 % 64) & 7 == 0;
            let parents: Vec<_> =
                all.iter().enumerate().filter(|(at, _)| spends(*at)).map(|(_, one)| one).collect();
            let made = transaction(u32::try_from(name).unwrap(), &parents, fee, weight, sigops);
            all.push(made);
        }
        all
    })
}

proptest! {
    #[test]
    fn what_stays_fits_and_has_all_its_parents_and_no_more_does(
        all in any_transactions(),
        output_bytes in 0_u32..250,
        output_sigops in 0_u16..25,
    ) {
        let (offer, room) = (small(&all), Room { output_bytes, output_sigops });
        let kept = trim(&offer, room).unwrap();
        let left = BlockTemplate { transactions: kept.clone(), ..offer.clone() };
        prop_assert!(fits(&left, room));
        prop_assert_eq!(fits(&offer, room), kept.len() == all.len());
        let inside: HashSet<[u8; 32]> = all.iter().map(|one| one.txid).collect();
        let mut before = HashSet::new();
        for one in &kept {
            let read: bitcoin::Transaction = deserialize(&one.data).unwrap();
            for input in read.input {
                let parent = input.previous_output.txid.to_byte_array();
                prop_assert!(!inside.contains(&parent) || before.contains(&parent));
            }
            before.insert(one.txid);
        }
        for one in all.iter().filter(|one| !before.contains(&one.txid)) {
            let read: bitcoin::Transaction = deserialize(&one.data).unwrap();
            let parents = read.input.iter().map(|it| it.previous_output.txid.to_byte_array());
            let mut missing = parents.filter(|id| inside.contains(id) && !before.contains(id));
            let more = [kept.clone(), vec![Arc::clone(one)]].concat();
            let more = BlockTemplate { transactions: more, ..offer.clone() };
            prop_assert!(missing.next().is_some() || !fits(&more, room), "left out for nothing");
        }
    }
}
