//! What becomes of the settings, and what is refused.

use super::*;

/// BIP173's example, on mainnet and on regtest.
const MAINNET: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
const REGTEST: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

#[test]
fn an_address_pays_its_script() {
    let address = Some(REGTEST.to_owned());
    let config = PayoutConfig { address, ..PayoutConfig::on(NetworkName::Regtest) };
    let payout = Payout::from_config(&config, [0; 4]).unwrap();
    let outputs = payout.outputs(&Payee::Pool, 7);
    assert_eq!(outputs.len(), 1);
    assert_eq!(outputs[0].value, 7);
    assert_eq!(outputs[0].script[..2], [0x00, 0x14]);
    assert_eq!(payout.reserved_sigops(), 4, "a miner's");
}

#[test]
fn two_starts_with_the_same_settings_have_different_coinbases() {
    let config =
        PayoutConfig { script: Some("51".to_owned()), ..PayoutConfig::on(NetworkName::Regtest) };
    let first = Payout::from_config(&config, [1; 4]).unwrap();
    let second = Payout::from_config(&config, [2; 4]).unwrap();
    assert_ne!(first.tag(), second.tag());
    assert!(first.tag().starts_with(b"/Adit/"));
}

#[test]
fn an_address_of_another_network_is_refused() {
    let address = Some(MAINNET.to_owned());
    let config = PayoutConfig { address, ..PayoutConfig::on(NetworkName::Regtest) };
    let error = Payout::from_config(&config, [0; 4]).unwrap_err().to_string();
    assert!(error.contains("payout.network"), "{error}");
}

#[test]
fn a_missing_or_double_destination_is_refused() {
    assert!(Payout::from_config(&PayoutConfig::on(NetworkName::Mainnet), [0; 4]).is_err());
    let address = Some(MAINNET.to_owned());
    let script = Some("51".to_owned());
    let both = PayoutConfig { address, script, ..PayoutConfig::on(NetworkName::Mainnet) };
    assert!(Payout::from_config(&both, [0; 4]).is_err());
}

#[test]
fn a_descriptor_pays_its_script_and_a_wildcard_is_refused() {
    let key = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    let descriptor = Some(format!("pkh({key})"));
    let single = PayoutConfig { descriptor, ..PayoutConfig::on(NetworkName::Mainnet) };
    assert_eq!(Payout::from_config(&single, [0; 4]).unwrap().reserved_sigops(), 8);
    let xpub = concat!(
        "xpub661MyMwAqRbcFtXgS5sYJABqqG9YLmC4Q1Rdap9gSE8NqtwybGhePY2gZ29ESFjqJoCu1Rupj",
        "e8YtGqsefD265TMg7usUDFdp6W1EGMcet8"
    );
    let descriptor = Some(format!("wpkh({xpub}/*)"));
    let wildcard = PayoutConfig { descriptor, ..PayoutConfig::on(NetworkName::Mainnet) };
    assert!(Payout::from_config(&wildcard, [0; 4]).is_err());
}

#[test]
fn a_template_that_leaves_nothing_gets_no_output() {
    let address = Some(MAINNET.to_owned());
    let payout = PayoutConfig { address, ..PayoutConfig::on(NetworkName::Mainnet) };
    let payout = Payout::from_config(&payout, [0; 4]).unwrap();
    assert!(payout.outputs(&Payee::Pool, 0).is_empty());
    // What the provider keeps free stays the same: the next template may leave something.
    assert_eq!(payout.reserved_bytes(), (22 + 11) + (42 + 9));
}

#[test]
fn a_payout_by_the_template_has_no_output_of_its_own_and_needs_no_room() {
    let by_template = PayoutConfig { by_template: true, ..PayoutConfig::on(NetworkName::Mainnet) };
    let payout = Payout::from_config(&by_template, [0; 4]).unwrap();
    assert!(payout.outputs(&Payee::Pool, 7).is_empty());
    assert_eq!((payout.reserved_bytes(), payout.reserved_sigops()), (0, 0));
    assert_eq!(payout.check_chain(0x1d00_ffff), Ok(()));
    let both = PayoutConfig { address: Some(MAINNET.to_owned()), ..by_template };
    assert!(Payout::from_config(&both, [0; 4]).is_err());
}

#[test]
fn a_script_that_anyone_can_spend_is_refused_outside_regtest() {
    use NetworkName::{Mainnet, Regtest, Signet, Testnet4};
    let of = |network| PayoutConfig { script: Some("51".to_owned()), ..PayoutConfig::on(network) };
    for network in [Mainnet, Testnet4, Signet] {
        let error = Payout::from_config(&of(network), [0; 4]).unwrap_err().to_string();
        assert!(error.contains("anyone can spend"), "{network:?}: {error}");
    }
    let payout = Payout::from_config(&of(Regtest), [0; 4]).unwrap();
    // The settings said regtest, and the chain is another one: mainnet's first difficulty.
    assert_eq!(payout.check_chain(0x1d00_ffff), Err(NotRegtest));
    assert_eq!(payout.check_chain(0x207f_ffff), Ok(()));
}

#[test]
fn an_address_of_a_witness_version_without_rules_is_refused() {
    // BIP350's example of version 2, and pay-to-anchor.
    for address in ["bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs", "bc1pfeessrawgf"] {
        let address = Some(address.to_owned());
        let payout = PayoutConfig { address, ..PayoutConfig::on(NetworkName::Mainnet) };
        let error = Payout::from_config(&payout, [0; 4]).unwrap_err().to_string();
        assert!(error.contains("no rules yet"), "{error}");
    }
}

fn solo(fee_basis_points: u16) -> Payout {
    let script = Some(format!("0014{}", "11".repeat(20)));
    let config = PayoutConfig {
        script,
        fee_basis_points,
        mode: Mode::Solo,
        ..PayoutConfig::on(NetworkName::Regtest)
    };
    Payout::from_config(&config, [0; 4]).unwrap()
}

/// Finder's and pool's output of a block of `value`.
fn shared_with_pool(payout: &Payout, donated_percent: u8, value: u64) -> Vec<(u8, u64)> {
    let script = ScriptBuf::from_hex(&format!("0014{}", "22".repeat(20))).unwrap();
    let outputs = payout.outputs(&Payee::Finder { script, donated_percent }, value);
    outputs.into_iter().map(|output| (output.script[2], output.value)).collect()
}

#[test]
fn a_finder_gets_his_block_but_for_the_fee() {
    assert_eq!(shared_with_pool(&solo(0), 0, 5_000_000_000), [(0x22, 5_000_000_000)]);
    let with_fee = [(0x22, 4_900_000_000), (0x11, 100_000_000)];
    assert_eq!(shared_with_pool(&solo(200), 0, 5_000_000_000), with_fee);
}

#[test]
fn a_finder_may_give_more_than_the_fee_and_not_less() {
    let given = [(0x22, 4_500_000_000), (0x11, 500_000_000)];
    assert_eq!(shared_with_pool(&solo(200), 10, 5_000_000_000), given);
    let with_fee = [(0x22, 4_900_000_000), (0x11, 100_000_000)];
    assert_eq!(shared_with_pool(&solo(200), 1, 5_000_000_000), with_fee);
}

#[test]
fn a_fee_that_no_output_is_worth_stays_the_finders() {
    assert_eq!(shared_with_pool(&solo(200), 0, 49_999), [(0x22, 49_999)]);
    assert_eq!(shared_with_pool(&solo(200), 0, 50_000), [(0x22, 49_000), (0x11, 1_000)]);
    assert!(shared_with_pool(&solo(200), 0, 0).is_empty());
    assert_eq!(shared_with_pool(&solo(10_000), 0, 5_000), [(0x11, 5_000)]);
}

#[test]
fn finders_cannot_be_paid_where_templates_pay_by_themselves() {
    let config = PayoutConfig {
        by_template: true,
        mode: Mode::Solo,
        ..PayoutConfig::on(NetworkName::Regtest)
    };
    let error = Payout::from_config(&config, [0; 4]).unwrap_err().to_string();
    assert!(error.starts_with("payout.mode: this needs a destination"), "{error}");
}

#[test]
fn a_users_address_must_be_one_of_the_network() {
    let users = BTreeMap::from([("alice".to_owned(), MAINNET.to_owned())]);
    let script = Some("51".to_owned());
    let config = PayoutConfig { users, script, ..PayoutConfig::on(NetworkName::Regtest) };
    let error = Payout::from_config(&config, [0; 4]).unwrap_err().to_string();
    assert!(error.starts_with("payout.users.alice: bc1q"), "{error}");
}

#[test]
fn a_fee_is_no_more_than_all() {
    let config = PayoutConfig {
        script: Some("51".to_owned()),
        fee_basis_points: 10_001,
        ..PayoutConfig::on(NetworkName::Regtest)
    };
    let error = Payout::from_config(&config, [0; 4]).unwrap_err().to_string();
    assert!(error.starts_with("payout.fee_basis_points"), "{error}");
}

#[test]
fn a_shared_block_pays_by_work_and_room_is_kept_for_its_outputs() {
    use std::collections::BTreeSet;

    use mining::target::Hashes;

    use super::claims::{Claim, Claims, Position};
    use super::promises::{Promises, Sharing};

    let script = Some(format!("0014{}", "11".repeat(20)));
    let config = PayoutConfig {
        script,
        fee_basis_points: 100,
        mode: Mode::Pplns,
        ..PayoutConfig::on(NetworkName::Regtest)
    };
    let room = Room { outputs: 2, bytes: 1_000 };
    let payout = Payout::from_config(&config, [0; 4]).unwrap().with_rooms([room]);
    assert_eq!((payout.reserved_bytes(), payout.reserved_sigops()), (1_000 + 33, 8));
    let claim = |id: u8, work| {
        let script = ScriptBuf::from_hex(&format!("0014{}", format!("{id:02x}").repeat(20)));
        let (account, script) = (format!("miner {id}").into(), script.unwrap());
        Claim { account, script, work: Hashes(work), balance: 0 }
    };
    let claims = vec![claim(0x22, 5), claim(0x33, 3), claim(0x44, 2)];
    let sharing = |claims| Sharing {
        claims: Arc::new(Claims::new(Position::default(), Hashes(10), None, claims)),
        promises: Promises::default(),
    };
    let (outputs, memo) = payout.shared(room, 1_000_000, &sharing(claims));
    let paid: BTreeSet<_> = outputs.iter().map(|output| (output.script[2], output.value)).collect();
    // Who has no output is owed his part, and the pool holds it beside its fee.
    assert_eq!(paid, BTreeSet::from([(0x22, 495_000), (0x33, 297_000), (0x11, 208_000)]));
    assert_eq!(memo.records(&[1; 32]).len(), 1);
    let (outputs, memo) = payout.shared(room, 1_000_000, &sharing(Vec::new()));
    assert_eq!((outputs.len(), outputs[0].value), (1, 1_000_000));
    assert_eq!(memo.records(&[1; 32]).len(), 0);
}
