//! Templates go through the guard, and a judge that shares no code with it looks at the outcome.

use std::collections::HashSet;
use std::sync::Arc;

use bitcoin::hashes::Hash;
use bitcoin::opcodes::all::OP_RETURN;
use bitcoin::script::{Builder, Instruction, PushBytesBuf};
use bitcoin::{Amount, OutPoint, ScriptBuf, TxIn, TxOut, Txid};
use proptest::prelude::*;

use super::*;
use crate::block_template::{Limits, Output, SIGOPS_LIMIT, WEIGHT_LIMIT};

const TIP: [u8; 32] = [1; 32];
const SUBSIDY: u64 = 2_500_000_000;

fn guard(mode: Mode, slots: &[u8]) -> Guard {
    Guard { mode, slots: slots.iter().map(|slot| (*slot, Encoding::Push)).collect() }
}

fn m8_script(slot: u8, h_star: u8, prev_hash: [u8; 32]) -> ScriptBuf {
    let data = [&[0x00, 0xbf, 0x00, slot][..], &[h_star; 32], &prev_hash].concat();
    ScriptBuf::new_op_return(PushBytesBuf::try_from(data).unwrap())
}

/// A transaction that pays `fee` and spends from `parents`.
fn transaction(
    script: ScriptBuf,
    fee: u64,
    parents: &[&Arc<Transaction>],
    name: u32,
) -> Arc<Transaction> {
    let outside = [Txid::from_byte_array([0xee; 32])];
    let inside = parents.iter().map(|parent| Txid::from_byte_array(parent.txid));
    let input = |txid| TxIn { previous_output: OutPoint { txid, vout: name }, ..TxIn::default() };
    let change = TxOut { value: Amount::from_sat(1000), script_pubkey: ScriptBuf::new() };
    let transaction = bitcoin::Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: outside.into_iter().chain(inside).map(input).collect(),
        output: vec![TxOut { value: Amount::ZERO, script_pubkey: script }, change],
    };
    Arc::new(Transaction {
        data: bitcoin::consensus::serialize(&transaction).into(),
        txid: transaction.compute_txid().to_byte_array(),
        wtxid: transaction.compute_wtxid().to_byte_array(),
        fee: Some(fee),
        sigops: Some(0),
        weight: 400,
    })
}

fn bid(slot: u8, h_star: u8, fee: u64) -> Arc<Transaction> {
    transaction(m8_script(slot, h_star, TIP), fee, &[], u32::from(h_star))
}

fn payment(fee: u64, parents: &[&Arc<Transaction>]) -> Arc<Transaction> {
    transaction(ScriptBuf::new(), fee, parents, 0)
}

fn template(transactions: &[Arc<Transaction>]) -> BlockTemplate {
    BlockTemplate {
        prev_hash: TIP,
        height: 200,
        version: 0x2000_0000,
        nbits: 0x207f_ffff,
        curtime: 1_700_000_000,
        mintime: 1_600_000_000,
        coinbase_value: SUBSIDY + crate::block_template::fees(transactions),
        transactions: transactions.to_vec(),
        limits: Limits { weight: WEIGHT_LIMIT, sigops: SIGOPS_LIMIT },
        segwit: true,
        witness_commitment: Some(vec![0x6a].into()),
        given_outputs: Vec::new(),
        is_stopgap: false,
    }
}

/// Slot, h* and previous block of an M8; slot and h* of an M7 in the layout of a push.
fn pushed(script: &ScriptBuf) -> Option<Vec<u8>> {
    let mut instructions = script.instructions();
    let is_return = instructions.next()?.ok()? == Instruction::Op(OP_RETURN);
    let Ok(Instruction::PushBytes(data)) = instructions.next()? else { return None };
    (is_return && instructions.next().is_none()).then(|| data.as_bytes().to_vec())
}

/// The rules of BIP301 for a block, and those of any block that is made from another.
fn broken_rule(before: &BlockTemplate, after: &BlockTemplate) -> Option<&'static str> {
    let mut accepted = HashSet::new();
    let mut slots = HashSet::new();
    for output in &after.given_outputs {
        let data = pushed(&ScriptBuf::from(output.script.to_vec())).unwrap_or_default();
        if let Some(accept) = data.strip_prefix(&[0xd1, 0x61, 0x73, 0x68]) {
            accepted.insert(accept.to_vec());
            if !slots.insert(accept[0]) {
                return Some("two M7 of one slot");
            }
        }
    }
    let mut requested = HashSet::new();
    let (mut present, mut fees) = (HashSet::new(), 0);
    let offered: HashSet<_> = before.transactions.iter().map(|one| one.txid).collect();
    for transaction in &after.transactions {
        let read: bitcoin::Transaction = deserialize(&transaction.data).unwrap();
        let data = pushed(&read.output[0].script_pubkey).unwrap_or_default();
        if let Some(request) = data.strip_prefix(&[0x00, 0xbf, 0x00]).filter(|it| it.len() == 65) {
            if request[33..] != after.prev_hash {
                return Some("an M8 for another tip");
            }
            if !requested.insert(request[0]) {
                return Some("two M8 of one slot");
            }
            if !accepted.contains(&request[..33]) {
                return Some("an M8 without its M7");
            }
        }
        for input in &read.input {
            let parent = input.previous_output.txid.to_byte_array();
            if offered.contains(&parent) && !present.contains(&parent) {
                return Some("a transaction without its parent");
            }
        }
        present.insert(transaction.txid);
        fees += transaction.fee.unwrap();
    }
    if after.coinbase_value != SUBSIDY + fees {
        return Some("a coinbase value that is not subsidy and fees");
    }
    let is_changed = before.transactions.len() != after.transactions.len();
    (after.witness_commitment.is_none() != is_changed).then_some("another block's commitment")
}

fn guarded(mode: Mode, slots: &[u8], before: &BlockTemplate) -> BlockTemplate {
    let after = guard(mode, slots).apply(before.clone()).unwrap();
    assert_eq!(broken_rule(before, &after), None);
    after
}

fn m7(slot: u8, h_star: u8) -> Output {
    Accept { slot, h_star: [h_star; 32] }.output(Encoding::Push, &TIP)
}

#[test]
fn the_best_bid_of_each_slot_stays_with_its_m7() {
    let all = [bid(3, 1, 500), bid(3, 2, 900), payment(50, &[]), bid(4, 3, 10), bid(3, 4, 900)];
    let after = guarded(Mode::KeepBest, &[3, 4], &template(&all));
    let kept = [&all[1], &all[2], &all[3]].map(Arc::clone);
    assert_eq!(after.transactions, kept);
    assert_eq!(after.given_outputs, [m7(3, 2), m7(4, 3)]);
    assert_eq!(after.coinbase_value, SUBSIDY + 960);
}

#[test]
fn losers_take_their_descendants_with_them() {
    let (loser, winner) = (bid(3, 1, 500), bid(3, 2, 900));
    let child = payment(70_000, &[&loser]);
    let grandchild = payment(80_000, &[&child, &winner]);
    let all = [loser, winner.clone(), child, grandchild];
    let after = guarded(Mode::KeepBest, &[3], &template(&all));
    assert_eq!(after.transactions, [winner]);
}

#[test]
fn a_bid_that_spends_from_a_loser_leaves_its_slot_to_the_next_best() {
    let (loser, winner) = (bid(3, 1, 500), bid(3, 2, 900));
    let dependent = transaction(m8_script(4, 3, TIP), 10_000, &[&loser], 1);
    let next_best = bid(4, 4, 20);
    let all = [loser, winner.clone(), dependent, next_best.clone()];
    let after = guarded(Mode::KeepBest, &[3, 4], &template(&all));
    assert_eq!(after.transactions, [winner, next_best]);
    assert_eq!(after.given_outputs, [m7(3, 2), m7(4, 4)]);
}

#[test]
fn bids_for_another_tip_or_a_slot_that_is_not_named_go() {
    let other_tip = transaction(m8_script(3, 1, [9; 32]), 900, &[], 1);
    let after = guarded(Mode::KeepBest, &[3], &template(&[other_tip, bid(5, 2, 900)]));
    assert!(after.transactions.is_empty() && after.given_outputs.is_empty());
}

#[test]
fn drop_all_leaves_no_bid_and_off_leaves_everything() {
    let before = template(&[bid(3, 1, 500), payment(50, &[])]);
    let after = guarded(Mode::DropAll, &[], &before);
    assert_eq!((after.transactions.len(), after.given_outputs.len()), (1, 0));
    assert_eq!(guard(Mode::Off, &[3]).apply(before.clone()).unwrap(), before);
}

#[test]
fn a_bid_with_bytes_behind_it_is_a_bid_as_it_is_to_the_enforcer() {
    let mut longer = m8_script(3, 1, TIP).into_bytes();
    longer.push(0);
    let before = template(&[transaction(longer.into(), 5, &[], 1)]);
    assert!(guarded(Mode::DropAll, &[], &before).transactions.is_empty());
    assert_eq!(guarded(Mode::KeepBest, &[3], &before).given_outputs, [m7(3, 1)]);
}

#[test]
fn a_template_without_bids_is_left_as_it_is() {
    // Begins like one.
    let mut shorter = m8_script(3, 1, TIP).into_bytes();
    shorter.pop();
    let before = template(&[payment(50, &[]), transaction(shorter.into(), 5, &[], 1)]);
    assert_eq!(guarded(Mode::KeepBest, &[3], &before), before);
}

#[test]
fn an_m7_that_the_node_gave_decides_which_bid_stays() {
    let all = [bid(3, 1, 500), bid(3, 2, 900), bid(4, 3, 10)];
    let before = BlockTemplate { given_outputs: vec![m7(3, 1)], ..template(&all) };
    let after = guarded(Mode::KeepBest, &[3], &before);
    assert_eq!(after.transactions, [all[0].clone()]);
    assert_eq!(after.given_outputs, [m7(3, 1)]);
}

#[test]
fn what_the_left_out_pay_must_be_known() {
    let nameless =
        |one: &Arc<Transaction>| Arc::new(Transaction { fee: None, ..Transaction::clone(one) });
    let refused = guard(Mode::DropAll, &[]).apply(template(&[nameless(&bid(3, 1, 0))]));
    assert_eq!(refused, Err(GuardError::UnknownFees));
    let greedy = BlockTemplate { coinbase_value: 1, ..template(&[bid(3, 1, 500)]) };
    assert_eq!(guard(Mode::DropAll, &[]).apply(greedy), Err(GuardError::FeesAboveValue));
    let kept = guard(Mode::KeepBest, &[3]).apply(template(&[nameless(&bid(3, 1, 0))]));
    assert_eq!(kept.unwrap().transactions.len(), 1, "what stays need not be known");
}

#[test]
fn a_transaction_that_cannot_be_read_and_may_be_a_bid_goes() {
    let whole = bid(3, 1, 500);
    let cut = whole.data.slice(..whole.data.len() - 1);
    let before = template(&[Arc::new(Transaction { data: cut, ..Transaction::clone(&whole) })]);
    let after = guard(Mode::KeepBest, &[3]).apply(before).unwrap();
    assert_eq!((after.transactions.len(), after.coinbase_value), (0, SUBSIDY));
}

#[test]
fn the_default_changes_nothing_without_slots_and_behind_an_enforcer() {
    #[derive(Deserialize)]
    struct Settings {
        bmm: Vec<crate::coinbase::bmm::config::SlotConfig>,
    }
    let slots = |toml: &str| {
        let settings: Settings = toml::from_str(toml).unwrap();
        crate::coinbase::bmm::config::check(&settings.bmm).unwrap()
    };
    let mode = |config: &GuardConfig, slots: &[SlotSettings], has_enforcer| {
        Guard::from_config(config, slots, has_enforcer).map(|guard| guard.mode)
    };
    let (default, one) = (GuardConfig::default(), slots("[[bmm]]\nslot = 3\n"));
    assert_eq!(mode(&default, &[], false).unwrap(), Mode::Off);
    assert_eq!(mode(&default, &one, true).unwrap(), Mode::Off);
    assert_eq!(mode(&default, &one, false).unwrap(), Mode::KeepBest);
    let keep_best: GuardConfig = toml::from_str("mode = \"keep_best\"").unwrap();
    let error = mode(&keep_best, &[], false).unwrap_err().to_string();
    assert!(error.contains("bmm_guard.mode"), "{error}");
    let file = "source = \"file\"\npath = \"h\"\nself_bmm = \"always\"\n";
    let own = slots(&format!("[[bmm]]\nslot = 3\n{file}[[bmm]]\nslot = 4\n"));
    let guard = Guard::from_config(&default, &own, false).unwrap();
    assert_eq!(guard.slots.into_keys().collect::<Vec<_>>(), [4], "3 is the source's alone");
}

/// A bid or a payment: slot or none, h*, fee, whether it is for this tip, what it spends from.
type Drawn = (Option<u8>, u8, u64, bool, Vec<prop::sample::Index>);

fn drawn() -> impl Strategy<Value = Vec<Drawn>> {
    let slot = prop::option::weighted(0.7, 0..4_u8);
    let parents = prop::collection::vec(any::<prop::sample::Index>(), 0..3);
    let one = (slot, any::<u8>(), 0..1000_u64, prop::bool::weighted(0.8), parents);
    prop::collection::vec(one, 0..25)
}

fn made(drawn: &[Drawn]) -> Vec<Arc<Transaction>> {
    let mut all: Vec<Arc<Transaction>> = Vec::new();
    for (name, (slot, h_star, fee, is_for_tip, parents)) in drawn.iter().enumerate() {
        let tip = if *is_for_tip { TIP } else { [9; 32] };
        let script = match slot {
            Some(slot) => m8_script(*slot, *h_star, tip),
            None => Builder::new().push_int(i64::from(*h_star)).into_script(),
        };
        // Half of them spend from nothing in the block.
        let parents: Vec<_> = match all.is_empty() || *h_star < 128 {
            true => Vec::new(),
            false => parents.iter().map(|index| index.get(&all)).collect(),
        };
        let made = transaction(script, *fee, &parents, u32::try_from(name).unwrap());
        all.push(made);
    }
    all
}

proptest! {
    #[test]
    fn whatever_is_offered_the_block_keeps_the_rules(
        drawn in drawn(),
        given in prop::collection::btree_map(0..4_u8, any::<u8>(), 0..2),
        is_keeping in any::<bool>(),
    ) {
        let all = made(&drawn);
        let given_outputs: Vec<_> = given.iter().map(|(slot, h_star)| m7(*slot, *h_star)).collect();
        let before = BlockTemplate { given_outputs, ..template(&all) };
        let mode = if is_keeping { Mode::KeepBest } else { Mode::DropAll };
        let slots: &[u8] = if is_keeping { &[0, 1, 2] } else { &[] };
        let after = guard(mode, slots).apply(before.clone()).unwrap();
        prop_assert_eq!(broken_rule(&before, &after), None);
        // What spends from nothing in the block can only lose to a better bid.
        for ((slot, h_star, fee, is_for_tip, _), made) in drawn.iter().zip(&all) {
            let Some(slot) = slot else { continue };
            let is_free = *h_star < 128 && *is_for_tip && slots.contains(slot);
            if !is_free || given.contains_key(slot) || after.transactions.contains(made) {
                continue;
            }
            let winner = after.transactions.iter().find(|one| {
                matches!(read(one), Ok(Some(request)) if request.slot == *slot)
            });
            prop_assert!(winner.is_some_and(|winner| winner.fee >= Some(*fee)));
        }
    }
}
