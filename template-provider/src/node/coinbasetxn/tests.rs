//! Coinbases as enforcers make them, and such as none should.

use bitcoin::absolute::LockTime;
use bitcoin::consensus::serialize;
use bitcoin::hex::FromHex;
use bitcoin::transaction::Version;
use bitcoin::{Amount, ScriptBuf, TxIn, Witness};

use super::*;

/// An accepted sidechain block (BIP301's M7) of slot 1.
pub(crate) const M7: &str =
    "6a25d1617368011200007c0ca1efd8d128fedf50c73f395b0cceb0ffa823edbd971b4afd913021";
/// A vote for withdrawals (BIP300's M4).
pub(crate) const M4: &str = "6a06d77d17760101";
/// Anyone can spend it.
pub(crate) const PAYOUT: &str = "51";
const OTHER: &str = "0014751e76e8199196d454941c45d1b3a323f1433bd6";
/// What the witness commitment says does not matter here.
pub(crate) const COMMITMENT: &str =
    "6a24aa21a9ede2f61c3f71d1defd3fa999dfa36953755c690689799962b48bebd836974e8cf9";

/// A serialised coinbase with these outputs (satoshis and script in hex), with its witness.
pub(crate) fn coinbase(outputs: &[(u64, &str)]) -> Vec<u8> {
    let output = |(value, script): &(u64, &str)| TxOut {
        value: Amount::from_sat(*value),
        script_pubkey: ScriptBuf::from_bytes(Vec::from_hex(script).unwrap()),
    };
    let input = TxIn {
        script_sig: ScriptBuf::from_bytes(vec![0x51, 0x00]),
        witness: Witness::from_slice(&[[0; 32]]),
        ..TxIn::default()
    };
    serialize(&Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![input],
        output: outputs.iter().map(output).collect(),
    })
}

fn read(outputs: &[(u64, &str)]) -> Result<GivenCoinbase, UnusableCoinbase> {
    GivenCoinbase::read(&coinbase(outputs), None)
}

fn message(script: &str) -> Output {
    Output::valueless(Vec::from_hex(script).unwrap())
}

#[test]
fn messages_are_kept_byte_for_byte_and_in_order() {
    let given = read(&[(0, M4), (0, M7), (5000, PAYOUT), (0, COMMITMENT)]).unwrap();
    assert_eq!(given.outputs, [message(M4), message(M7)]);
    assert_eq!(given.payout, Some(5000));
    assert!(given.commits_to_witnesses);
}

#[test]
fn a_message_behind_the_payout_or_the_commitment_is_kept_too() {
    let given = read(&[(5000, PAYOUT), (0, M7), (0, COMMITMENT), (0, M4)]).unwrap();
    assert_eq!(given.outputs, [message(M7), message(M4)]);
    assert!(!read(&[(5000, PAYOUT)]).unwrap().commits_to_witnesses);
}

#[test]
fn every_commitment_to_witnesses_is_taken_out() {
    let given = read(&[(0, COMMITMENT), (5000, PAYOUT), (0, COMMITMENT)]).unwrap();
    assert!(given.outputs.is_empty());
}

#[test]
fn without_a_recipient_only_one_output_may_be_spendable() {
    let error = read(&[(5000, PAYOUT), (1, OTHER)]).unwrap_err();
    assert_eq!(error, UnusableCoinbase::SeveralPayouts(2));
    assert!(error.to_string().contains("enforcer.coinbase_recipient"), "{error}");
    assert_eq!(read(&[(5000, OTHER)]).unwrap().payout, Some(5000));
}

#[test]
fn an_output_to_another_than_the_recipient_is_refused_whatever_it_pays() {
    for value in [0, 1, 5000] {
        let raw = coinbase(&[(5000, PAYOUT), (value, OTHER)]);
        let error = GivenCoinbase::read(&raw, Some(&[0x51])).unwrap_err();
        let expected = UnusableCoinbase::OtherRecipient { value, script: OTHER.into() };
        assert_eq!(error, expected);
        assert!(error.to_string().contains(OTHER), "{error}");
    }
    let raw = coinbase(&[(0, M7), (5000, PAYOUT)]);
    assert_eq!(GivenCoinbase::read(&raw, Some(&[0x51])).unwrap().payout, Some(5000));
}

#[test]
fn value_in_a_message_is_refused() {
    assert_eq!(read(&[(5000, PAYOUT), (1, M7)]), Err(UnusableCoinbase::Burns(1)));
}

#[test]
fn what_is_no_coinbase_is_refused() {
    let mut spending: Transaction = deserialize(&coinbase(&[(5000, PAYOUT)])).unwrap();
    spending.input[0].previous_output.vout = 0;
    let mut long = coinbase(&[(5000, PAYOUT)]);
    long.push(0);
    for raw in [serialize(&spending), long, Vec::new()] {
        assert_eq!(GivenCoinbase::read(&raw, None), Err(UnusableCoinbase::Unreadable));
    }
}

#[test]
fn the_payout_is_subsidy_and_fees_or_refused() {
    let given = read(&[(5_000_000_123, PAYOUT)]).unwrap();
    let subsidy = Some(5_000_000_000);
    assert_eq!(given.value(None, subsidy, Some(123)), Ok(5_000_000_123));
    for fees in [122, 124] {
        let due = 5_000_000_000 + fees;
        let expected = UnusableCoinbase::WrongSum { payout: 5_000_000_123, due };
        assert_eq!(given.value(None, subsidy, Some(fees)), Err(expected));
    }
}

#[test]
fn where_the_subsidy_is_unknown_the_payout_holds_the_fees_at_least() {
    let given = read(&[(100, PAYOUT)]).unwrap();
    assert_eq!(given.value(None, None, Some(100)), Ok(100));
    let expected = UnusableCoinbase::BelowFees { payout: 100, fees: 101 };
    assert_eq!(given.value(None, None, Some(101)), Err(expected));
    assert_eq!(given.value(None, Some(50), None), Ok(100), "the fees are unknown");
}

#[test]
fn a_coinbasevalue_beside_it_must_say_the_same() {
    let given = read(&[(100, PAYOUT)]).unwrap();
    assert_eq!(given.value(Some(100), None, None), Ok(100));
    let expected = UnusableCoinbase::OtherValue { payout: 100, value: 101 };
    assert_eq!(given.value(Some(101), None, None), Err(expected));
}

#[test]
fn a_coinbase_that_pays_nobody_is_used_only_where_nothing_is_due() {
    let given = read(&[(0, M7)]).unwrap();
    assert_eq!(given.value(None, Some(0), Some(0)), Ok(0));
    assert_eq!(given.value(Some(0), None, None), Ok(0));
    assert_eq!(given.value(None, None, Some(0)), Err(UnusableCoinbase::NoPayout));
    let expected = UnusableCoinbase::WrongSum { payout: 0, due: 7 };
    assert_eq!(given.value(None, Some(0), Some(7)), Err(expected));
}

#[test]
fn the_subsidy_halves_as_on_bitcoin() {
    let genesis = |network| genesis_block(network).block_hash().to_string();
    let main = Schedule::of_chain(&genesis(Network::Bitcoin)).unwrap();
    for (height, subsidy) in [
        (0, 5_000_000_000),
        (209_999, 5_000_000_000),
        (210_000, 2_500_000_000),
        (840_000, 312_500_000),
        (6_929_999, 1),
        (6_930_000, 0),
        (u32::MAX, 0),
    ] {
        assert_eq!(main.subsidy(height), subsidy, "{height}");
    }
    let regtest = Schedule::of_chain(&genesis(Network::Regtest)).unwrap();
    assert_eq!((regtest.subsidy(149), regtest.subsidy(150)), (5_000_000_000, 2_500_000_000));
    assert_eq!(Schedule::of_chain(&"00".repeat(32)), None, "another chain's subsidy is not known");
}
