//! What becomes of records in the books.

use mining::memo::BlockRecords;
use proptest::prelude::*;

use super::super::log::record::LoggedShare;
use super::super::log::segment::DurableEnd;
use super::super::log::segment::SegmentId;
use super::super::shelf::Shelf;
use super::*;
use crate::payout::claims::Withheld;
use crate::payout::distribution::{Terms, distribute};
use crate::payout::settlement::Settlement;
use crate::shares::{BlockFound, Earner, PAYS_FINDER, PAYS_SHARES};

/// BIP173's and BIP350's examples, on regtest.
const ANN: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
const BOB: &str = "bcrt1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqc8gma6";
/// The same of 20 bytes in base58, as testnet and regtest have it.
const CY: &str = "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn";

const TERMS: Terms =
    Terms { fee_basis_points: 100, output_min: 1_000, outputs_max: 1, output_bytes_max: 1_000 };

/// Books, and the number of their next record.
struct Desk {
    books: Books,
    sequence: u64,
}

impl Desk {
    fn new() -> Self {
        Self { books: Books::new(Network::Regtest), sequence: 0 }
    }

    fn take(&mut self, earner: Option<Earner>, record: Record) -> Result<(), BooksError> {
        let place = Place { epoch: 1, sequence: self.sequence };
        self.sequence += 1;
        self.books.take(&Located { place, earner: earner.map(Arc::new), record })
    }

    fn share(&mut self, minute: u64, account: &str, payout_mode: u8, work: u128) {
        let time_ms = minute * MINUTE_MS;
        let record = Record::Share(LoggedShare { time_ms, earner: 0, work, hash_high: 0 });
        let earner = Earner { payout_mode, ..Earner::named(account, "rig") };
        self.take(Some(earner), record).unwrap();
    }

    /// A block by the present claims; gives what it pays.
    fn block(&mut self, id: u8, value: u64) -> Settlement {
        let claims = Arc::new(self.books.claims(Hashes(1_000)));
        let withheld = Withheld::Nobodys;
        let distribution = distribute(value, &TERMS, &claims, &withheld).unwrap();
        let settlement = Settlement { terms: TERMS, withheld, distribution };
        self.found(id, &settlement);
        settlement
    }

    fn found(&mut self, id: u8, settlement: &Settlement) {
        let block = BlockFound {
            hash: [id; 32],
            height: Some(id.into()),
            prev_hash: [0; 32],
            nbits: 0,
            coinbase_value: 0,
        };
        self.take(None, Record::BlockFound { time_ms: 5, finder: 0, block }).unwrap();
        for bytes in settlement.records(&[id; 32]) {
            self.payout(bytes).unwrap();
        }
    }

    fn payout(&mut self, bytes: Vec<u8>) -> Result<(), BooksError> {
        let payout = PayoutRecord::new(PAYOUT_VERSION, bytes).unwrap();
        self.take(None, Record::Payout { time_ms: 5, payout })
    }

    fn stands(&mut self, id: u8, stage: BlockStage) {
        let state = BlockState::new([id; 32], stage);
        self.take(None, Record::BlockState { time_ms: 6, state }).unwrap();
    }

    fn owed(&self, account: &str) -> i64 {
        self.books.accounts.balance(account).owed
    }
}

#[test]
fn only_work_for_shared_blocks_makes_a_claim() {
    let mut desk = Desk::new();
    desk.share(1, ANN, PAYS_ALL, 30);
    desk.share(1, BOB, PAYS_FINDER, 500);
    desk.share(2, ANN, PAYS_ALL, 12);
    desk.share(2, "no address", PAYS_ALL, 7);
    let claims = desk.books.claims(Hashes(1_000));
    let claimed: Vec<_> = claims.all().iter().map(|it| (&*it.account, it.work)).collect();
    assert_eq!(claimed, [(ANN, Hashes(42))]);
    assert_eq!(claims.position(), Position { epoch: 1, sequence: 4 });
}

#[test]
fn work_of_an_account_too_many_counts_for_nothing_until_another_one_leaves() {
    let mut desk = Desk::new();
    desk.books.accounts_max = 1;
    desk.share(1, ANN, PAYS_ALL, 60);
    desk.share(1, BOB, PAYS_ALL, 40);
    desk.share(1, ANN, PAYS_ALL, 2);
    let claims = desk.books.claims(Hashes(1_000));
    let claimed: Vec<_> = claims.all().iter().map(|it| (&*it.account, it.work)).collect();
    assert_eq!(claimed, [(ANN, Hashes(62))]);
    // Her work is beyond all windows.
    desk.books.window = Window::default();
    desk.share(1, BOB, PAYS_ALL, 40);
    assert!(desk.books.claims(Hashes(1_000)).all().is_empty(), "looked for once a minute");
    desk.share(2, BOB, PAYS_ALL, 41);
    let claims = desk.books.claims(Hashes(1_000));
    assert_eq!((&*claims.all()[0].account, claims.all()[0].work), (BOB, Hashes(41)));
}

/// Whoever mines a little for each of very many addresses fills the table for no more than a minute
/// against who works more, whoever came first; and who is owed something stays.
#[test]
fn a_flood_of_names_keeps_nobody_out_who_works_more_and_takes_nothing_that_is_owed() {
    let mut desk = Desk::new();
    desk.books.accounts_max = 2 * FORGOTTEN_PART;
    desk.share(1, ANN, PAYS_ALL, 600);
    desk.share(1, CY, PAYS_ALL, 400);
    // One output: Cy waits for his, and works no more.
    desk.block(1, 100_000);
    desk.books.window.forget(&BTreeSet::from([Arc::from(CY)]));
    let flood = |desk: &mut Desk, minute: u64| {
        (0..100).for_each(|it| desk.share(minute, &format!("{minute}-{it}"), PAYS_ALL, 1));
    };
    flood(&mut desk, 1);
    assert_eq!(desk.books.known.len(), 2 * FORGOTTEN_PART);
    desk.share(1, BOB, PAYS_ALL, 50);
    assert!(!desk.books.known.contains_key(BOB), "there was room once in this minute");
    for minute in 2..20 {
        // He has a moment before the flood goes on.
        desk.share(minute, BOB, PAYS_ALL, 50);
        flood(&mut desk, minute);
    }
    let work = desk.books.window.newest_work(Hashes(u128::MAX));
    assert_eq!((work[ANN], work[BOB]), (Hashes(600), Hashes(18 * 50)));
    assert_eq!(desk.owed(CY), 39_600);
    assert_eq!(desk.books.known.len(), 2 * FORGOTTEN_PART);
    let text = serde_json::to_vec(&desk.books.saved()).unwrap();
    let saved = serde_json::from_slice(&text).unwrap();
    let mut restored = Books::restored(saved, Network::Regtest).unwrap();
    restored.accounts_max = desk.books.accounts_max;
    assert_eq!(restored, desk.books);
}

/// What is laid out for others keeps nobody either.
#[test]
fn who_is_paid_in_full_leaves_a_full_table_once_his_work_and_his_blocks_are_old() {
    let mut desk = Desk::new();
    desk.books.accounts_max = 2;
    desk.share(1, ANN, PAYS_ALL, 60);
    desk.share(1, BOB, PAYS_ALL, 40);
    // Bob is owed his part, and then paid by the second block, in which Ann waits for hers.
    desk.block(1, 100_000);
    let segment = SegmentId { epoch: 1, first_sequence: 0 };
    let shelf = Shelf::new(DurableEnd { segment, offset: 0, sequence: 0 });
    shelf.lay_out_money(&desk.books);
    shelf.lay_out_claims(desk.books.claims(Hashes(1_000)));
    desk.block(2, 100_000);
    assert_eq!((desk.owed(ANN), desk.owed(BOB)), (59_400, 0));
    desk.books.window = Window::default();
    desk.share(2, CY, PAYS_ALL, 7);
    assert!(!desk.books.known.contains_key(CY), "a block may still leave the chain");
    desk.stands(1, BlockStage::Mature);
    desk.stands(2, BlockStage::Mature);
    let text = serde_json::to_vec(&desk.books.saved()).unwrap();
    let saved = serde_json::from_slice(&text).unwrap();
    let mut restored = Desk { books: Books::restored(saved, Network::Regtest).unwrap(), ..desk };
    restored.books.accounts_max = 2;
    for desk in [&mut desk, &mut restored] {
        for id in 0..=u8::MAX {
            let mut hash = [0xff; 32];
            hash[0] = id;
            let payout = PayoutEntry::Wallet(WalletPayout {
                transaction: Txid::from_byte_array(hash),
                raw: String::new(),
                fee: 0,
                lines: Vec::new(),
            });
            desk.payout(serde_json::to_vec(&payout).unwrap()).unwrap();
        }
        desk.share(3, CY, PAYS_ALL, 7);
        let mut known: Vec<_> = desk.books.known.keys().map(|name| &**name).collect();
        known.sort_unstable();
        assert_eq!(known, [ANN, CY]);
        assert_eq!((desk.owed(ANN), desk.books.claims(Hashes(9)).all().len()), (59_400, 2));
    }
    assert_eq!(desk.books, restored.books);
}

#[test]
fn work_that_is_paid_for_at_a_fixed_rate_is_owed_paid_and_owed_again() {
    let mut desk = Desk::new();
    let rate = Rate { value: 100_000, work: Hashes(1_000), fee_basis_points: 100 };
    desk.payout(serde_json::to_vec(&PayoutEntry::Rate(rate)).unwrap()).unwrap();
    desk.share(1, ANN, PAYS_SHARES, 500);
    desk.share(1, BOB, PAYS_FINDER, 500);
    assert!(desk.books.claims(Hashes(1_000)).all().is_empty(), "blocks pay the pool");
    let lines = desk.books.payable();
    let expected = WalletLine { account: ANN.to_owned(), amount: 49_500, earned: 49_500 };
    assert_eq!(lines, [expected]);
    let transaction = Txid::from_byte_array([4; 32]);
    let payout = WalletPayout { transaction, raw: String::new(), fee: 1, lines };
    desk.payout(serde_json::to_vec(&PayoutEntry::Wallet(payout.clone())).unwrap()).unwrap();
    assert!(desk.books.payable().is_empty() && desk.books.balances().count() == 0);
    let outcome = WalletOutcome::Unpaid;
    let settled = PayoutEntry::WalletSettled { transaction, outcome };
    desk.payout(serde_json::to_vec(&settled).unwrap()).unwrap();
    assert_eq!(desk.books.payable(), payout.lines);
    // And no more than was earned is ever paid.
    let transaction = Txid::from_byte_array([5; 32]);
    let lines = vec![WalletLine { account: ANN.to_owned(), amount: 49_501, earned: 49_501 }];
    let payout = PayoutEntry::Wallet(WalletPayout { transaction, lines, ..payout });
    let error = desk.payout(serde_json::to_vec(&payout).unwrap()).unwrap_err();
    assert!(error.to_string().contains("more than was earned"), "{error}");
}

/// Bob's debt was paid by two blocks that stood side by side, and one of them pays him no more.
#[test]
fn who_was_paid_too_much_by_blocks_has_it_taken_off_what_his_shares_earn() {
    let mut desk = Desk::new();
    desk.share(1, ANN, PAYS_ALL, 60);
    desk.share(1, BOB, PAYS_ALL, 40);
    desk.block(1, 100_000);
    desk.block(2, 100_000);
    desk.stands(1, BlockStage::Orphaned);
    desk.stands(2, BlockStage::Mature);
    assert_eq!((desk.owed(ANN), desk.owed(BOB)), (59_400, -39_600));
    let rate = Rate { value: 100_000, work: Hashes(1_000), fee_basis_points: 0 };
    desk.payout(serde_json::to_vec(&PayoutEntry::Rate(rate)).unwrap()).unwrap();
    desk.share(2, BOB, PAYS_SHARES, 300);
    let bobs = |desk: &Desk| desk.books.payable().into_iter().find(|it| it.account == BOB);
    assert_eq!(bobs(&desk), None, "30,000 satoshis do not make up for it");
    desk.share(2, BOB, PAYS_SHARES, 200);
    let line = bobs(&desk).unwrap();
    assert_eq!((line.amount, line.earned), (10_400, 50_000));
    let transaction = Txid::from_byte_array([4; 32]);
    let payout = WalletPayout { transaction, raw: String::new(), fee: 1, lines: vec![line] };
    desk.payout(serde_json::to_vec(&PayoutEntry::Wallet(payout)).unwrap()).unwrap();
    assert_eq!((desk.owed(BOB), bobs(&desk)), (0, None));
    assert_eq!(desk.books.earned().count(), 0);
    // As if it had never been, if it never comes into the chain.
    let outcome = WalletOutcome::Unpaid;
    let settled = PayoutEntry::WalletSettled { transaction, outcome };
    desk.payout(serde_json::to_vec(&settled).unwrap()).unwrap();
    assert_eq!((desk.owed(BOB), bobs(&desk).unwrap().amount), (-39_600, 10_400));
}

#[test]
fn what_a_block_does_not_pay_is_owed_until_a_later_one_does() {
    let mut desk = Desk::new();
    desk.share(1, ANN, PAYS_ALL, 60);
    desk.share(1, BOB, PAYS_ALL, 40);
    desk.block(1, 100_000);
    // One output: Ann's. Bob is owed his 40 % of what the fee leaves.
    assert_eq!((desk.owed(ANN), desk.owed(BOB)), (0, 39_600));
    desk.block(2, 100_000);
    // Now his is the larger debt, and there is money for it and for no more.
    assert_eq!((desk.owed(ANN), desk.owed(BOB)), (59_400, 0));
    assert_eq!(desk.books.accounts.pool(), -59_400);
}

#[test]
fn an_orphaned_block_is_owed_by_nobody_and_comes_back_with_its_debts() {
    let mut desk = Desk::new();
    desk.share(1, ANN, PAYS_ALL, 60);
    desk.share(1, BOB, PAYS_ALL, 40);
    desk.block(1, 100_000);
    desk.stands(1, BlockStage::Accepted);
    desk.stands(1, BlockStage::Orphaned);
    assert_eq!((desk.owed(BOB), desk.books.open_blocks().len()), (0, 1), "it may come back");
    desk.stands(1, BlockStage::Accepted);
    assert_eq!(desk.owed(BOB), 39_600);
    desk.stands(1, BlockStage::Mature);
    let balances: Vec<_> = desk.books.balances().map(|(_, balance)| balance).collect();
    assert_eq!(balances, [Balance { owed: 39_600, spendable: 39_600 }]);
    assert!(desk.books.open_blocks().is_empty());
}

#[test]
fn a_block_whose_header_was_sent_twice_counts_once() {
    let mut desk = Desk::new();
    desk.share(1, ANN, PAYS_ALL, 60);
    desk.share(1, BOB, PAYS_ALL, 40);
    let settlement = desk.block(1, 100_000);
    desk.found(1, &settlement);
    assert_eq!((desk.owed(BOB), desk.books.open_blocks().len()), (39_600, 1));
}

#[test]
fn a_block_that_nobody_shares_has_a_fate_and_no_debts() {
    let mut desk = Desk::new();
    let block =
        BlockFound { hash: [9; 32], height: None, prev_hash: [0; 32], nbits: 0, coinbase_value: 5 };
    desk.take(None, Record::BlockFound { time_ms: 5, finder: 0, block }).unwrap();
    desk.stands(9, BlockStage::Submitted);
    assert_eq!(desk.books.open_blocks()[0].stage, BlockStage::Submitted);
    desk.stands(9, BlockStage::Orphaned);
    assert_eq!(desk.books.balances().count(), 0);
}

#[test]
fn a_payout_of_a_later_version_is_not_guessed_at() {
    let mut desk = Desk::new();
    let error = desk.payout(b"{\"kind\":\"later\"}".to_vec()).unwrap_err().to_string();
    assert!(error.contains("use the version of the pool"), "{error}");
}

proptest! {
    /// Shares, blocks and reorgs at random: nobody loses a satoshi, and what the pool holds in
    /// trust is what it owes.
    #[test]
    fn the_books_balance_after_any_events(
        events in prop::collection::vec((0..6_u8, any::<u8>(), 1..1_000_u32), 1..80),
    ) {
        let mut desk = Desk::new();
        let mut blocks: Vec<(Settlement, bool)> = Vec::new();
        for (kind, id, amount) in events {
            match kind {
                0 | 1 => {
                    let account = if kind == 0 { ANN } else { BOB };
                    desk.share(id.into(), account, PAYS_ALL, amount.into());
                }
                2 if desk.books.claims(Hashes(1)).root().is_some() => {
                    let number = u8::try_from(blocks.len()).unwrap();
                    let settlement = desk.block(number, u64::from(amount) * 1_000);
                    let paid: u64 =
                        settlement.distribution.lines().map(|line| line.paid).sum();
                    let pools = settlement.distribution.pool_output();
                    prop_assert_eq!(paid + pools, settlement.distribution.value());
                    blocks.push((settlement, true));
                }
                3 | 4 if !blocks.is_empty() => {
                    let number = usize::from(id) % blocks.len();
                    let stage = if kind == 3 { BlockStage::Orphaned } else { BlockStage::Accepted };
                    desk.stands(u8::try_from(number).unwrap(), stage);
                    blocks[number].1 = kind == 4;
                }
                5 => {
                    let rate = Rate {
                        value: amount.into(),
                        work: Hashes(u128::from(id) + 1),
                        fee_basis_points: 30,
                    };
                    desk.share(id.into(), BOB, PAYS_SHARES, amount.into());
                    let rate = serde_json::to_vec(&PayoutEntry::Rate(rate)).unwrap();
                    desk.payout(rate).unwrap();
                }
                _ => {}
            }
        }
        let text = serde_json::to_vec(&desk.books.saved()).unwrap();
        let restored = Books::restored(serde_json::from_slice(&text).unwrap(), Network::Regtest);
        prop_assert_eq!(restored.as_ref(), Some(&desk.books), "through a checkpoint");
        let held: i128 = blocks
            .iter()
            .filter(|(_, counts)| *counts)
            .map(|(it, _)| {
                i128::from(it.distribution.pool_output()) - i128::from(it.distribution.fee())
            })
            .sum();
        prop_assert_eq!(desk.books.accounts.pool(), -held);
    }
}
