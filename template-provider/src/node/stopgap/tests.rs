//! A stopgap is made where everything is known, and nowhere else.

use super::*;
use crate::templates::samples;

const MAINNET: &str = GENESIS[0];
const REGTEST: &str = GENESIS[1];
const NBITS: u32 = 0x1703_1d48;
/// In the middle of a period, long after the fourth halving.
const HEIGHT: u32 = 900_000;
/// The node's time in its last template.
const CURTIME: u32 = 1_800_000_000;

/// The node's template at `height`, without transactions.
fn template(height: u32) -> BlockTemplate {
    let coinbase_value = 312_500_000;
    BlockTemplate { height, nbits: NBITS, curtime: CURTIME, coinbase_value, ..samples::offer(&[]) }
}

/// The tip below `height`.
fn below(height: u32) -> Tip {
    Tip {
        hash: [7; 32],
        height: height - 1,
        nbits: NBITS,
        median_time: 1_799_999_000,
        confirmations: 1,
        period_nbits: NBITS,
    }
}

fn made(template: &BlockTemplate, tip: Tip) -> Result<BlockTemplate, WhyNot> {
    let now = Instant::now();
    Basis::of(template, now).stopgap(Chain::of(MAINNET)?, &tip, now)
}

#[test]
fn an_empty_template_stands_on_the_tip_with_bitcoins_subsidy() {
    let made = made(&template(HEIGHT - 1), below(HEIGHT)).unwrap();
    assert!(made.is_stopgap && made.transactions.is_empty() && made.segwit);
    assert_eq!((made.prev_hash, made.height), ([7; 32], HEIGHT));
    assert_eq!((made.nbits, made.version), (NBITS, template(1).version));
    assert_eq!((made.curtime, made.mintime), (CURTIME, 1_799_999_001));
    assert_eq!(made.coinbase_value, 312_500_000);
}

#[test]
fn its_time_is_the_nodes_own_whatever_our_clock_says() {
    let said_at = Instant::now();
    let basis = Basis::of(&template(HEIGHT - 1), said_at);
    let later = said_at + Duration::from_millis(600_900);
    let made = basis.stopgap(Chain::of(MAINNET).unwrap(), &below(HEIGHT), later).unwrap();
    assert_eq!(made.curtime, CURTIME + 600);
}

#[test]
fn fees_of_the_last_template_do_not_count_for_subsidy() {
    let paying = samples::transaction(1, &[], 5000, 400, 0);
    let mut last = template(HEIGHT - 1);
    last.coinbase_value += 5000;
    last.transactions = vec![paying.clone()];
    assert_eq!(made(&last, below(HEIGHT)).unwrap().coinbase_value, 312_500_000);
    // Without the fee of one nobody knows what is subsidy.
    let unknown = crate::block_template::Transaction { fee: None, ..(*paying).clone() };
    last.transactions = vec![unknown.into()];
    assert_eq!(made(&last, below(HEIGHT)), Err(WhyNot::UnknownSubsidy));
}

#[test]
fn another_subsidy_than_bitcoins_is_not_guessed() {
    let mut last = template(HEIGHT - 1);
    last.coinbase_value += 1;
    assert_eq!(made(&last, below(HEIGHT)), Err(WhyNot::UnknownSubsidy));
}

#[test]
fn there_is_none_where_the_difficulty_changes() {
    let boundary = HEIGHT.next_multiple_of(RETARGET_INTERVAL);
    assert_eq!(made(&template(boundary - 1), below(boundary)), Err(WhyNot::Retarget));
    let outdated = template(boundary - 1);
    assert_eq!(made(&outdated, below(boundary + 1)), Err(WhyNot::Retarget), "of another period");
    assert!(made(&template(boundary), below(boundary + 1)).is_ok());
}

#[test]
fn there_is_none_where_the_subsidy_halves() {
    let halving = 1_050_000;
    assert_eq!(made(&template(halving - 1), below(halving)), Err(WhyNot::Halving));
    let regtest = Chain::of(REGTEST).unwrap();
    let last = BlockTemplate { coinbase_value: 5_000_000_000, ..template(149) };
    let now = Instant::now();
    let basis = Basis::of(&last, now);
    assert_eq!(basis.stopgap(regtest, &below(150), now), Err(WhyNot::Halving));
    let after = basis.stopgap(regtest, &below(151), now).unwrap();
    assert_eq!(after.coinbase_value, 2_500_000_000);
}

#[test]
fn a_fork_that_adjusts_its_difficulty_with_each_block_is_noticed() {
    let adjusted = Tip { period_nbits: NBITS + 1, ..below(HEIGHT) };
    assert_eq!(made(&template(HEIGHT - 1), adjusted), Err(WhyNot::OtherDifficultyRules));
    let last = BlockTemplate { nbits: NBITS + 1, ..template(HEIGHT - 1) };
    assert_eq!(made(&last, below(HEIGHT)), Err(WhyNot::OtherDifficultyRules));
}

#[test]
fn test_networks_and_other_chains_have_none() {
    for genesis in [
        "000000000933ea01ad0ee984209779baaec3ced90fa3f408719526f8d77f4943",
        "00000000da84f2bafbbc53dee25a72ae507ff4914b867c565be350b0da8bf043",
        "00000008819873e925422c1ff0f99f7cc9bbb232af63a077a480a3633bee1ef6",
        "12a765e31ffd4059bada1e25190f6e98c99d9714d334efa41a195a7e7e04bfe2",
    ] {
        assert_eq!(Chain::of(genesis), Err(WhyNot::OtherChain));
    }
}

#[test]
fn only_the_tip_of_the_chain_is_built_on() {
    for confirmations in [-1, 0, 2] {
        let tip = Tip { confirmations, ..below(HEIGHT) };
        assert_eq!(made(&template(HEIGHT - 1), tip), Err(WhyNot::NotTheTip));
    }
}

#[test]
fn a_node_with_outputs_of_its_own_gets_none() {
    let given = crate::block_template::Output::valueless(vec![0x6a]);
    let last = BlockTemplate { given_outputs: vec![given], ..template(HEIGHT - 1) };
    assert_eq!(made(&last, below(HEIGHT)), Err(WhyNot::GivenOutputs));
}
