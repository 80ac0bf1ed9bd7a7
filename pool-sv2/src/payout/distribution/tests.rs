//! Distributions balance whatever is claimed, and pay whom they should.

use bitcoin::ScriptBuf;
use mining::target::Hashes;
use proptest::prelude::*;

use super::*;
use crate::payout::claims::Position;

const TERMS: Terms =
    Terms { fee_basis_points: 200, output_min: 546, outputs_max: 3, output_bytes_max: 1_000 };

fn script(id: u8) -> ScriptBuf {
    ScriptBuf::from_bytes([&[0x00, 0x14][..], &[id; 20]].concat())
}

fn claim(id: u8, work: u128, balance: i64) -> Claim {
    let account = format!("account {id:03}").into();
    Claim { account, script: script(id), work: Hashes(work), balance }
}

/// By these claims, with all debts.
fn distribute(value: u64, terms: &Terms, claims: Vec<Claim>) -> Option<Distribution> {
    let claims = Arc::new(Claims::new(Position::default(), Hashes(1), None, claims));
    super::distribute(value, terms, &claims, &Withheld::Nobodys)
}

fn paid(distribution: &Distribution) -> Vec<u64> {
    distribution.lines().map(|line| line.paid).collect()
}

/// How each account's balance changes.
fn changes(distribution: &Distribution) -> Vec<(&str, i64)> {
    let change =
        |line: Line<'_>| i64::try_from(line.entitled).unwrap() - i64::try_from(line.paid).unwrap();
    distribution.lines().map(|line| (&*line.claim.account, change(line))).collect()
}

#[test]
fn each_is_paid_by_work_and_the_pool_gets_its_fee() {
    let claims = vec![claim(2, 3, 0), claim(1, 1, 0)];
    let distribution = distribute(1_000_000, &TERMS, claims).unwrap();
    assert_eq!(distribution.fee(), 20_000);
    assert_eq!(paid(&distribution), [245_000, 735_000]);
    assert_eq!(distribution.pool_output(), 20_000);
}

#[test]
fn who_is_too_small_for_an_output_is_owed_and_the_pool_holds_it() {
    let claims = vec![claim(1, 999_999, 0), claim(2, 1, 0)];
    let distribution = distribute(1_000_000, &TERMS, claims).unwrap();
    assert_eq!(paid(&distribution), [979_999, 0]);
    assert_eq!(distribution.pool_output(), 20_001);
    assert_eq!(changes(&distribution), [("account 001", 0), ("account 002", 1)]);
}

#[test]
fn where_outputs_run_out_the_largest_come_first() {
    let claims = (1..=5).map(|id| claim(id, u128::from(id), 0)).collect();
    let distribution = distribute(1_500_000, &TERMS, claims).unwrap();
    assert_eq!(paid(&distribution), [0, 0, 294_000, 392_000, 490_000]);
    assert_eq!(distribution.pool_output(), 30_000 + 98_000 + 196_000);
}

#[test]
fn where_bytes_run_out_a_smaller_script_still_fits() {
    let large = Claim { script: ScriptBuf::from_bytes(vec![0x51; 34]), ..claim(1, 5, 0) };
    let terms = Terms { output_bytes_max: 40, fee_basis_points: 0, ..TERMS };
    let distribution = distribute(10_000, &terms, vec![large, claim(2, 5, 0)]).unwrap();
    assert_eq!(paid(&distribution), [0, 5_000]);
}

#[test]
fn what_was_owed_before_is_paid_with_the_next_block() {
    let claims = vec![claim(1, 1, 10_000), claim(2, 1, 0)];
    let distribution = distribute(1_000_000, &TERMS, claims).unwrap();
    assert_eq!(paid(&distribution), [500_000, 490_000]);
    assert_eq!(distribution.pool_output(), 10_000);
    assert_eq!(changes(&distribution)[0], ("account 001", -10_000));
}

#[test]
fn a_debt_that_is_withheld_stays_owed() {
    let claims = Claims::new(
        Position::default(),
        Hashes(1),
        None,
        vec![claim(1, 1, 10_000), claim(2, 1, 5_000)],
    );
    let withheld = Withheld::Of([claim(1, 0, 0).account.to_string()].into());
    let distribution = super::distribute(1_000_000, &TERMS, &Arc::new(claims), &withheld).unwrap();
    assert_eq!(changes(&distribution), [("account 001", 0), ("account 002", -5_000)]);
}

#[test]
fn who_was_paid_too_much_gets_less_until_it_is_even() {
    let claims = vec![claim(1, 1, -600_000), claim(2, 1, 0)];
    let distribution = distribute(1_000_000, &TERMS, claims).unwrap();
    assert_eq!(paid(&distribution), [0, 490_000]);
    assert_eq!(changes(&distribution)[0], ("account 001", 490_000));
}

#[test]
fn a_fee_that_is_too_small_for_an_output_is_not_burnt() {
    let terms = Terms { fee_basis_points: 1, ..TERMS };
    let distribution = distribute(1_000_000, &terms, vec![claim(1, 1, 0), claim(2, 1, 0)]).unwrap();
    assert_eq!(distribution.fee(), 100);
    assert_eq!(paid(&distribution), [500_050, 499_950]);
    assert_eq!(distribution.pool_output(), 0);
}

#[test]
fn where_nobody_can_be_paid_the_pool_holds_all_of_it() {
    let terms = Terms { outputs_max: 0, ..TERMS };
    let distribution = distribute(100, &terms, vec![claim(1, 1, 0)]).unwrap();
    assert_eq!((paid(&distribution), distribution.pool_output()), (vec![0], 100));
}

#[test]
fn without_work_there_is_nothing_to_share_by() {
    assert_eq!(distribute(100, &TERMS, vec![claim(1, 0, 5)]), None);
}

fn claims() -> impl Strategy<Value = Vec<Claim>> {
    let work = prop_oneof![Just(0), 1..100_u128, any::<u128>()];
    let balance = prop_oneof![Just(0), -1_000_000..1_000_000_i64, any::<i64>()];
    prop::collection::btree_map(any::<u8>(), (work, balance), 1..40)
        .prop_map(|map| map.into_iter().map(|(id, (work, due))| claim(id, work, due)).collect())
}

fn terms() -> impl Strategy<Value = Terms> {
    (0..=10_000_u16, 0..2_000_u64, 0..40_u16, 0..1_500_u32).prop_map(
        |(fee_basis_points, output_min, outputs_max, output_bytes_max)| Terms {
            fee_basis_points,
            output_min,
            outputs_max,
            output_bytes_max,
        },
    )
}

proptest! {
    #[test]
    fn outputs_and_entitlements_are_the_value_to_the_satoshi(
        value in 0..=2_100_000_000_000_000_u64,
        terms in terms(),
        claims in claims(),
    ) {
        let has_worked = claims.iter().any(|claim| claim.work.0 > 0);
        let Some(distribution) = distribute(value, &terms, claims) else {
            prop_assert!(!has_worked);
            return Ok(());
        };
        let paid: u64 = distribution.lines().map(|line| line.paid).sum();
        prop_assert_eq!(paid + distribution.pool_output(), value);
        let entitled: u64 = distribution.lines().map(|line| line.entitled).sum();
        prop_assert_eq!(entitled + distribution.fee(), value);
    }

    #[test]
    fn no_output_is_too_small_and_none_too_many(
        value in 0..=2_100_000_000_000_000_u64,
        terms in terms(),
        claims in claims(),
    ) {
        let Some(distribution) = distribute(value, &terms, claims) else { return Ok(()) };
        let payees: Vec<_> = distribution.payees().collect();
        prop_assert_eq!(payees.len(), distribution.lines().filter(|line| line.paid > 0).count());
        prop_assert!(payees.iter().all(|line| line.paid >= terms.output_min));
        prop_assert!(payees.len() <= usize::from(terms.outputs_max));
        let bytes: usize = payees.iter().map(|line| line.claim.script.len() + 9).sum();
        prop_assert!(bytes <= usize::try_from(terms.output_bytes_max).unwrap());
    }

    #[test]
    fn nobody_is_paid_more_than_is_due_but_for_what_no_output_could_hold(
        value in 0..=2_100_000_000_000_000_u64,
        terms in terms(),
        claims in claims(),
    ) {
        let Some(distribution) = distribute(value, &terms, claims) else { return Ok(()) };
        let mut surplus = 0;
        for line in distribution.lines() {
            let due = (i128::from(line.entitled) + i128::from(line.claim.balance)).max(0);
            surplus += (i128::from(line.paid) - due).max(0);
        }
        prop_assert!(surplus < i128::from(terms.output_min.max(1)), "{surplus}");
    }

    #[test]
    fn the_order_of_the_claims_changes_nothing(
        value in 0..=2_100_000_000_000_000_u64,
        terms in terms(),
        claims in claims(),
    ) {
        let reversed = claims.iter().rev().cloned().collect();
        prop_assert_eq!(distribute(value, &terms, claims), distribute(value, &terms, reversed));
    }
}
