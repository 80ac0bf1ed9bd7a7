//! What becomes of the settings, and what is refused.

use super::*;

/// BIP173's example, on mainnet and on regtest.
const MAINNET: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
const REGTEST: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

fn config(network: NetworkName) -> PayoutConfig {
    PayoutConfig {
        network,
        address: None,
        descriptor: None,
        script: None,
        by_template: false,
        coinbase_tag: default_tag(),
    }
}

#[test]
fn an_address_pays_its_script() {
    let address = Some(REGTEST.to_owned());
    let config = PayoutConfig { address, ..config(NetworkName::Regtest) };
    let payout = Payout::from_config(&config, [0; 4]).unwrap();
    let outputs = payout.outputs(7);
    assert_eq!(outputs.len(), 1);
    assert_eq!(outputs[0].value, 7);
    assert_eq!(outputs[0].script[..2], [0x00, 0x14]);
    assert_eq!(payout.reserved_sigops(), 0);
}

#[test]
fn two_starts_with_the_same_settings_have_different_coinbases() {
    let config = PayoutConfig { script: Some("51".to_owned()), ..config(NetworkName::Regtest) };
    let first = Payout::from_config(&config, [1; 4]).unwrap();
    let second = Payout::from_config(&config, [2; 4]).unwrap();
    assert_ne!(first.tag(), second.tag());
    assert!(first.tag().starts_with(b"/Adit/"));
}

#[test]
fn an_address_of_another_network_is_refused() {
    let address = Some(MAINNET.to_owned());
    let config = PayoutConfig { address, ..config(NetworkName::Regtest) };
    let error = Payout::from_config(&config, [0; 4]).unwrap_err().to_string();
    assert!(error.contains("payout.network"), "{error}");
}

#[test]
fn a_missing_or_double_destination_is_refused() {
    assert!(Payout::from_config(&config(NetworkName::Mainnet), [0; 4]).is_err());
    let address = Some(MAINNET.to_owned());
    let script = Some("51".to_owned());
    let both = PayoutConfig { address, script, ..config(NetworkName::Mainnet) };
    assert!(Payout::from_config(&both, [0; 4]).is_err());
}

#[test]
fn a_descriptor_pays_its_script_and_a_wildcard_is_refused() {
    let key = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    let descriptor = Some(format!("pkh({key})"));
    let single = PayoutConfig { descriptor, ..config(NetworkName::Mainnet) };
    assert_eq!(Payout::from_config(&single, [0; 4]).unwrap().reserved_sigops(), 4);
    let xpub = concat!(
        "xpub661MyMwAqRbcFtXgS5sYJABqqG9YLmC4Q1Rdap9gSE8NqtwybGhePY2gZ29ESFjqJoCu1Rupj",
        "e8YtGqsefD265TMg7usUDFdp6W1EGMcet8"
    );
    let descriptor = Some(format!("wpkh({xpub}/*)"));
    let wildcard = PayoutConfig { descriptor, ..config(NetworkName::Mainnet) };
    assert!(Payout::from_config(&wildcard, [0; 4]).is_err());
}

#[test]
fn a_template_that_leaves_nothing_gets_no_output() {
    let address = Some(MAINNET.to_owned());
    let payout = PayoutConfig { address, ..config(NetworkName::Mainnet) };
    let payout = Payout::from_config(&payout, [0; 4]).unwrap();
    assert!(payout.outputs(0).is_empty());
    // What the provider keeps free stays the same: the next template may leave something.
    assert_eq!(payout.reserved_bytes(), 22 + 11);
}

#[test]
fn a_payout_by_the_template_has_no_output_of_its_own_and_needs_no_room() {
    let by_template = PayoutConfig { by_template: true, ..config(NetworkName::Mainnet) };
    let payout = Payout::from_config(&by_template, [0; 4]).unwrap();
    assert!(payout.outputs(7).is_empty());
    assert_eq!((payout.reserved_bytes(), payout.reserved_sigops()), (0, 0));
    assert_eq!(payout.check_chain(0x1d00_ffff), Ok(()));
    let both = PayoutConfig { address: Some(MAINNET.to_owned()), ..by_template };
    assert!(Payout::from_config(&both, [0; 4]).is_err());
}

#[test]
fn a_script_that_anyone_can_spend_is_refused_outside_regtest() {
    use NetworkName::{Mainnet, Regtest, Signet, Testnet4};
    let of = |network| PayoutConfig { script: Some("51".to_owned()), ..config(network) };
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
        let payout = PayoutConfig { address, ..config(NetworkName::Mainnet) };
        let error = Payout::from_config(&payout, [0; 4]).unwrap_err().to_string();
        assert!(error.contains("no rules yet"), "{error}");
    }
}
