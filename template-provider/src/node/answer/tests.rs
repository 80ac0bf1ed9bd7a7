//! Answers as nodes give them, each with one thing changed.

use bitcoin::hex::DisplayHex;
use serde_json::json;

use super::*;
use crate::node::coinbasetxn::Schedule;
use crate::node::coinbasetxn::tests as coinbasetxn;

/// As small as bitcoind makes them on regtest.
fn answer() -> Value {
    json!({
        "capabilities": ["proposal"],
        "version": 536_870_912,
        "rules": ["csv", "!segwit", "taproot"],
        "previousblockhash": format!("0f{}", "00".repeat(31)),
        "transactions": [],
        "coinbaseaux": {},
        "coinbasevalue": 5_000_000_000_u64,
        "longpollid": "0f1",
        "target": "7fffff",
        "mintime": 1_700_000_001,
        "sigoplimit": 80_000,
        "weightlimit": 4_000_000,
        "curtime": 1_700_000_000,
        "bits": "207fffff",
        "height": 1,
        "default_witness_commitment": "6a24aa21a9ed",
    })
}

fn read(answer: Value) -> Result<BlockTemplate, UnusableTemplate> {
    Reader::default().read(serde_json::from_value(answer).unwrap())
}

fn with(key: &str, value: Value) -> Value {
    let mut answer = answer();
    answer[key] = value;
    answer
}

fn transaction(hash: u8, fee: &Value) -> Value {
    json!({
        "data": "0102", "txid": "aa".repeat(32), "hash": format!("{hash:02x}").repeat(32),
        "fee": fee, "depends": [], "sigops": null, "weight": null,
    })
}

#[test]
fn hashes_are_turned_into_internal_byte_order() {
    let template = read(answer()).unwrap();
    assert_eq!(template.prev_hash[31], 0x0f);
    assert_eq!(template.prev_hash[0], 0);
}

#[test]
fn the_header_starts_no_earlier_than_consensus_allows() {
    assert_eq!(read(answer()).unwrap().header_timestamp(), 1_700_000_001);
}

#[test]
fn nulls_and_missing_keys_mean_the_limits_of_bip141() {
    let mut answer = with("sigoplimit", Value::Null);
    let keys = answer.as_object_mut().unwrap();
    for key in ["weightlimit", "mintime", "longpollid", "rules"] {
        keys.remove(key);
    }
    keys.insert("signet_challenge".into(), Value::Null);
    keys.insert("default_witness_commitment".into(), Value::Null);
    let template = read(answer).unwrap();
    assert_eq!(template.limits, Limits { weight: 4_000_000, sigops: 80_000 });
    assert_eq!(template.mintime, 0);
    assert!(!template.segwit);
}

#[test]
fn a_version_with_its_highest_bit_set_is_negative_in_json() {
    assert_eq!(read(with("version", json!(-2))).unwrap().version, 0xffff_fffe);
    assert_eq!(read(with("version", json!(0x3fff_e000))).unwrap().version, 0x3fff_e000);
}

#[test]
fn a_rule_that_must_be_understood_and_is_not_is_refused() {
    let error = read(with("rules", json!(["csv", "!fork"]))).unwrap_err();
    assert_eq!(error, UnusableTemplate::UnknownRule("fork".into()));
    assert!(read(with("rules", json!(["fork", "!segwit", "!signet"]))).is_ok());
}

#[test]
fn only_a_signet_that_needs_no_signature_is_mined() {
    assert!(read(with("signet_challenge", json!("51"))).is_ok());
    let error = read(with("signet_challenge", json!("0014ab"))).unwrap_err();
    assert_eq!(error, UnusableTemplate::SignedSignet);
}

#[test]
fn a_template_with_neither_coinbasevalue_nor_coinbasetxn_is_refused() {
    let error = read(with("coinbasevalue", Value::Null)).unwrap_err();
    assert_eq!(error, UnusableTemplate::NoCoinbaseValue);
}

/// An answer with a whole coinbase in place of coinbasevalue, as an enforcer gives it.
fn with_coinbase(outputs: &[(u64, &str)]) -> Answer {
    let raw = coinbasetxn::coinbase(outputs).to_lower_hex_string();
    let mut answer = with("coinbasetxn", json!({ "data": raw, "fee": -5, "sigops": null }));
    let keys = answer.as_object_mut().unwrap();
    keys.remove("coinbasevalue");
    keys.remove("default_witness_commitment");
    keys.insert("rules".into(), json!(["csv"]));
    serde_json::from_value(answer).unwrap()
}

fn regtest() -> Expected {
    let genesis = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206";
    Expected { recipient: None, schedule: Schedule::of_chain(genesis) }
}

#[test]
fn a_whole_coinbase_gives_value_and_messages() {
    let outputs = [(0, coinbasetxn::M7), (5_000_000_000, coinbasetxn::PAYOUT)];
    let answer = Answer { expected: regtest(), ..with_coinbase(&outputs) };
    assert!(answer.needs_subsidy());
    let template = Reader::default().read(answer).unwrap();
    assert_eq!(template.coinbase_value, 5_000_000_000);
    let message = Output::valueless(Vec::from_hex(coinbasetxn::M7).unwrap());
    assert_eq!(template.given_outputs, [message]);
    assert!(!template.segwit);
}

#[test]
fn a_whole_coinbase_that_claims_too_much_is_refused() {
    let outputs = [(5_000_000_001, coinbasetxn::PAYOUT)];
    let answer = Answer { expected: regtest(), ..with_coinbase(&outputs) };
    let error = Reader::default().read(answer).unwrap_err();
    let expected = UnusableCoinbase::WrongSum { payout: 5_000_000_001, due: 5_000_000_000 };
    assert_eq!(error, UnusableTemplate::Coinbase(expected));
}

#[test]
fn a_commitment_in_a_whole_coinbase_tells_of_segwit_and_is_made_anew() {
    let outputs = [(5_000_000_000, coinbasetxn::PAYOUT), (0, coinbasetxn::COMMITMENT)];
    let template = Reader::default().read(with_coinbase(&outputs)).unwrap();
    assert!(template.segwit);
    assert!(template.given_outputs.is_empty());
    assert_eq!(template.witness_commitment, None);
}

#[test]
fn coinbasetxn_beside_coinbasevalue_is_held_against_it() {
    let outputs = [(5_000_000_000, coinbasetxn::PAYOUT)];
    for (value, is_right) in [(5_000_000_000, true), (4_999_999_999, false)] {
        let answer = Answer { coinbasevalue: Some(value), ..with_coinbase(&outputs) };
        assert!(!answer.needs_subsidy());
        assert_eq!(Reader::default().read(answer).is_ok(), is_right, "{value}");
    }
}

#[test]
fn transactions_with_witnesses_are_committed_to_whatever_the_rules_say() {
    let mut answer = with("transactions", json!([transaction(1, &json!(5))]));
    answer["rules"] = json!([]);
    answer["default_witness_commitment"] = Value::Null;
    assert!(read(answer).unwrap().segwit);
}

#[test]
fn required_version_bits_are_set_unless_miners_change_them() {
    let template = read(with("vbrequired", json!(0x2000_0002))).unwrap();
    assert_eq!(template.version, 0x2000_0002);
    let error = read(with("vbrequired", json!(0x2000))).unwrap_err();
    assert_eq!(error, UnusableTemplate::RequiredBits(0x2000));
}

#[test]
fn wishes_for_the_script_sig_do_not_hinder() {
    for wishes in [json!(null), json!({ "flags": "" }), json!({ "flags": "062f503253482f" })] {
        assert!(read(with("coinbaseaux", wishes)).is_ok());
    }
}

#[test]
fn what_the_node_does_not_say_of_a_transaction_stays_unknown() {
    let template = read(with("transactions", json!([transaction(1, &Value::Null)]))).unwrap();
    let transaction = &template.transactions[0];
    assert_eq!((transaction.fee, transaction.sigops), (None, None));
    assert_eq!(transaction.weight, 8);
}

#[test]
fn two_answers_share_the_transactions_that_they_have_in_common() {
    let mut reader = Reader::default();
    let mut read = |transactions: Value| {
        let answer = serde_json::from_value(with("transactions", transactions)).unwrap();
        reader.read(answer).unwrap().transactions
    };
    let first = read(json!([transaction(1, &json!(5)), transaction(2, &json!(6))]));
    let second = read(json!([transaction(2, &json!(6)), transaction(1, &json!(7))]));
    assert!(Arc::ptr_eq(&first[1], &second[0]));
    assert_eq!(second[1].fee, Some(7), "its fee was raised by prioritisetransaction");
}
