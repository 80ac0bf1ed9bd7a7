//! Payouts of a real node's wallet, interrupted at every step.
//!
//! Between payer and node stands a proxy that stops the world before a call is passed on, or after:
//! as a kill of the pool there would. Then the pool starts again, from nothing but its log.

use std::sync::{Arc, Mutex};

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use mining::target::Hashes;
use serde_json::Value;
use service::health::Health;
use service::metrics::Metrics;
use testkit::node::Node;
use testkit::stub::{Reply, Stub, error, result};

use super::*;
use crate::accounting::bookkeeper::{Beginning, Bookkeeper, Sources};
use crate::accounting::config::LedgerConfig;
use crate::accounting::ledger::Ledger;
use crate::accounting::settle::{check_conflict, settle};
use crate::admin::Till;
use crate::app::till::WalletTill;
use crate::payout::claims::{Claim, Claims, Position, Withheld};
use crate::payout::distribution::{Terms, distribute};
use crate::payout::fixed::Rate;
use crate::payout::settlement::{AccountPayout, BlockPayout, Settlement, WalletOutcome};
use crate::shares::{self, BlockStage, BlockState, Earner, PAYS_SHARES, ShareRecord};

/// The node's wallet, as the test kit makes it.
const WALLET: &str = "testkit";
/// What each account is owed; the one below the threshold is not paid.
const OWED: [u64; 3] = [250_000, 100_000, 99_999];

/// Where a payout is interrupted: at which call, and whether the node has carried it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Interruption {
    method: &'static str,
    is_carried_out: bool,
}

const METHODS: [&str; 4] = [
    "createrawtransaction",
    "fundrawtransaction",
    "signrawtransactionwithwallet",
    "sendrawtransaction",
];

/// Stands before the node; hangs at the interruption, for ever.
async fn proxy(node: &Arc<Mutex<Node>>, at: Option<Interruption>) -> Stub {
    let node = Arc::clone(node);
    Stub::scripted(move |request| {
        let hangs = |is_carried_out| {
            at.is_some_and(|at| at.method == request.method && at.is_carried_out == is_carried_out)
        };
        if hangs(false) {
            return Reply::Hang;
        }
        let answer = call(&node.lock().unwrap(), &request.method, &request.params);
        if hangs(true) {
            return Reply::Hang;
        }
        answer
    })
    .await
}

fn call(node: &Node, method: &str, params: &Value) -> Reply {
    match node.rpc(method, params) {
        Ok(value) => result(&value),
        Err(refused) => {
            let text = refused.to_string();
            let code = if text.contains("-5") { -5 } else { -1 };
            error(code, &text)
        }
    }
}

/// The ledger and the books of one life of the pool.
struct Life {
    shelf: Shelf,
    shares: ShareSender,
    durable: watch::Receiver<DurableEnd>,
    pause: Pause,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Life {
    fn start(folder: &std::path::Path) -> Self {
        let directory = folder.to_owned();
        let config = LedgerConfig { directory, ack_interval_ms: 1, ..LedgerConfig::default() };
        let ledger = Ledger::open(&config, &Metrics::new("x")).unwrap();
        let durable = ledger.durable();
        let end = *durable.borrow();
        let sources = Sources::of(&config, Network::Regtest);
        let (keeper, shelf) = Bookkeeper::open(&sources, Beginning::Needed, end).unwrap();
        let (shares, queue) = shares::queue();
        let followed = durable.clone();
        let threads = vec![
            std::thread::spawn(move || ledger.run(queue, &drop)),
            std::thread::spawn(move || keeper.run(&followed, &drop)),
        ];
        let pause = Pause::new(folder, Health::new(&[]));
        Self { shelf, shares, durable, pause, threads }
    }

    fn payer(&self, proxy: &Stub) -> Payer {
        let endpoint = rpc::http::Endpoint::parse(&proxy.url()).unwrap();
        let config = WalletConfig {
            name: WALLET.to_owned(),
            threshold_sat: 100_000,
            every_seconds: 1,
            confirm_within_blocks: 6,
            fee_rate_max: 50,
            dry_run: false,
        };
        Payer {
            wallet: Rpc::version_2(endpoint),
            config,
            network: Network::Regtest,
            shelf: self.shelf.clone(),
            shares: self.shares.clone(),
            durable: self.durable.clone(),
            pause: self.pause.clone(),
        }
    }

    /// A mature block that paid the accounts nothing of what they were entitled to.
    async fn owe(&self, accounts: &[String]) {
        self.owe_by(7, accounts).await;
    }

    /// The same by a block of its own.
    async fn owe_by(&self, block: u8, accounts: &[String]) {
        let hash = [block; 32];
        let owed_before = self.shelf.payable(1).len();
        let entitled = accounts.iter().zip(OWED);
        let line = |(account, entitled): (&String, u64)| AccountPayout {
            account: account.clone(),
            work: Hashes(1),
            entitled,
            paid: 0,
        };
        let value = OWED.iter().sum();
        let block = PayoutEntry::Block(BlockPayout {
            block: BlockHash::from_byte_array(hash),
            position: Position::default(),
            withheld: Withheld::Nobodys,
            window: Hashes(3),
            root: None,
            terms: Terms {
                fee_basis_points: 0,
                output_min: 1_000,
                outputs_max: 0,
                output_bytes_max: 0,
            },
            value,
            fee: 0,
            pool_output: value,
            part: 0,
            parts: 1,
            lines: entitled.map(line).collect(),
        });
        let record = PayoutRecord::new(PAYOUT_VERSION, serde_json::to_vec(&block).unwrap());
        self.write(Entry::Payout(record.unwrap())).await;
        self.write(Entry::BlockState(BlockState::new(hash, BlockStage::Mature))).await;
        while self.shelf.payable(1).len() < owed_before + accounts.len() {
            tokio::task::yield_now().await;
        }
    }

    async fn write(&self, entry: Entry) {
        let mut gathered = Gathered { entries: vec![entry], ..Gathered::default() };
        self.shares.send(&mut gathered).await.unwrap();
    }

    /// A job whose block pays one of them.
    fn promise(&self, account: &str) -> Arc<Settlement> {
        let claim = Claim {
            account: account.into(),
            script: bitcoin::ScriptBuf::new(),
            work: Hashes(1),
            balance: 0,
        };
        let claims =
            Claims::new(Position { epoch: u64::MAX, sequence: 0 }, Hashes(1), None, vec![claim]);
        let claims = Arc::new(claims);
        let terms =
            Terms { fee_basis_points: 0, output_min: 1_000, outputs_max: 1, output_bytes_max: 100 };
        let settle = |withheld: Withheld| {
            let distribution = distribute(5_000, &terms, &claims, &withheld)?;
            Some(Settlement { terms, withheld, distribution })
        };
        self.shelf.promises().promise(claims.position(), &settle).unwrap()
    }

    /// All that was handed over is written; nothing else is left of this life.
    async fn end(self) {
        drop(self.shares);
        for thread in self.threads {
            tokio::task::spawn_blocking(|| thread.join().unwrap()).await.unwrap();
        }
    }
}

/// What the wallet says that each address has received, in satoshis, in the chain alone.
fn received(node: &Mutex<Node>, accounts: &[String]) -> Vec<u64> {
    let node = node.lock().unwrap();
    let mine = |account: &String| {
        let amount = node.rpc("getreceivedbyaddress", &json!([account, 1])).unwrap();
        Amount::from_str_in(&amount.to_string(), Denomination::Bitcoin).unwrap().to_sat()
    };
    accounts.iter().map(mine).collect()
}

fn addresses(node: &Mutex<Node>) -> Vec<String> {
    OWED.iter().map(|_| node.lock().unwrap().new_address().unwrap()).collect()
}

/// Until nothing is due and all that was sent is in the chain for good.
async fn pay_to_the_end(life: &Life, node: &Arc<Mutex<Node>>) {
    let proxy = proxy(node, None).await;
    let mut payer = life.payer(&proxy);
    payer.round().await.unwrap();
    node.lock().unwrap().generate(6).unwrap();
    payer.round().await.unwrap();
    assert_eq!(life.shelf.unconfirmed(), []);
    assert_eq!(life.shelf.payable(100_000), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_payouts_are_paused_nothing_new_is_made_and_what_was_written_is_still_sent() {
    let node = Arc::new(Mutex::new(Node::start_funded().unwrap()));
    let (folder, accounts) = (tempfile::tempdir().unwrap(), addresses(&node));
    let life = Life::start(folder.path());
    life.owe(&accounts).await;
    let till = WalletTill {
        shelf: life.shelf.clone(),
        config: life.payer(&proxy(&node, None).await).config,
        pause: life.pause.clone(),
    };
    till.pause().unwrap();
    let stub = proxy(&node, None).await;
    let paused = life.payer(&stub).round().await;
    assert!(matches!(paused, Err(PayError::Paused)), "{paused:?}");
    assert!(stub.requests().is_empty(), "the wallet is not even asked");
    let now = till.now();
    assert_eq!((now.is_paused, now.due.len(), now.sent.len()), (true, 2, 0));
    assert_eq!(now.due[0].1, OWED[0]);
    // It goes on, is written and not sent, and then the operator stops it.
    till.go_on().unwrap();
    let at = Interruption { method: "sendrawtransaction", is_carried_out: false };
    let hanging = proxy(&node, Some(at)).await;
    let mut payer = life.payer(&hanging);
    let written = async {
        while life.shelf.unconfirmed().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = payer.round() => panic!("it was to hang"),
        () = written => {}
    }
    drop(payer);
    till.pause().unwrap();
    let sent = till.now().sent;
    assert_eq!((sent.len(), sent[0].amount, till.now().due.len()), (1, 350_000, 0));
    life.payer(&proxy(&node, None).await).round().await.unwrap();
    node.lock().unwrap().generate(1).unwrap();
    assert_eq!(received(&node, &accounts), [OWED[0], OWED[1], 0]);
    life.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_paid_twice_wherever_a_payout_is_interrupted() {
    let node = Arc::new(Mutex::new(Node::start_funded().unwrap()));
    for method in METHODS {
        for is_carried_out in [false, true] {
            let at = Interruption { method, is_carried_out };
            let (folder, accounts) = (tempfile::tempdir().unwrap(), addresses(&node));
            let life = Life::start(folder.path());
            life.owe(&accounts).await;
            let proxy = proxy(&node, Some(at)).await;
            let mut payer = life.payer(&proxy);
            let paying = tokio::spawn(async move { payer.round().await });
            while proxy.requests().last().is_none_or(|last| last.method != method) {
                tokio::task::yield_now().await;
            }
            paying.abort();
            assert!(paying.await.unwrap_err().is_cancelled(), "{at:?}");
            life.end().await;

            let life = Life::start(folder.path());
            let is_written = !life.shelf.unconfirmed().is_empty();
            assert_eq!(is_written, method == "sendrawtransaction", "{at:?}");
            pay_to_the_end(&life, &node).await;
            assert_eq!(received(&node, &accounts), [OWED[0], OWED[1], 0], "{at:?}");
            life.end().await;
            let life = Life::start(folder.path());
            assert_eq!(life.shelf.payable(1).len(), 1, "the small one is owed still");
            life.end().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_the_node_has_lost_is_sent_again_and_not_made_again() {
    let node = Arc::new(Mutex::new(Node::start_funded().unwrap()));
    let (folder, accounts) = (tempfile::tempdir().unwrap(), addresses(&node));
    let life = Life::start(folder.path());
    life.owe(&accounts).await;
    let proxy = proxy(&node, None).await;
    let mut payer = life.payer(&proxy);
    payer.round().await.unwrap();
    payer.round().await.unwrap();
    let sent = life.shelf.unconfirmed();
    assert_eq!(sent.len(), 1);
    let methods: Vec<_> = proxy.requests().iter().map(|it| it.method.clone()).collect();
    assert_eq!(methods.iter().filter(|it| *it == "sendrawtransaction").count(), 2);
    assert_eq!(methods.iter().filter(|it| *it == "fundrawtransaction").count(), 1);
    drop(payer);
    pay_to_the_end(&life, &node).await;
    assert_eq!(received(&node, &accounts), [OWED[0], OWED[1], 0]);
    life.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_and_a_fee_that_is_too_high_pay_nothing() {
    let node = Arc::new(Mutex::new(Node::start_funded().unwrap()));
    let (folder, accounts) = (tempfile::tempdir().unwrap(), addresses(&node));
    let life = Life::start(folder.path());
    life.owe(&accounts).await;
    let proxy = proxy(&node, None).await;
    let mut payer = life.payer(&proxy);
    payer.config.dry_run = true;
    payer.round().await.unwrap();
    assert!(proxy.requests().is_empty());
    payer.config.dry_run = false;
    payer.config.fee_rate_max = 1;
    let error = payer.round().await.unwrap_err();
    assert!(matches!(error, PayError::TooDear { .. }), "{error}");
    assert_eq!(life.shelf.payable(100_000).len(), 2, "they are owed as before");
    drop(payer);
    life.end().await;
}

/// Blocks pay the pool; what is earned needs no block at all.
#[tokio::test(flavor = "multi_thread")]
async fn what_shares_earn_at_a_fixed_rate_is_paid_from_the_wallet() {
    let node = Arc::new(Mutex::new(Node::start_funded().unwrap()));
    let (folder, accounts) = (tempfile::tempdir().unwrap(), addresses(&node));
    let life = Life::start(folder.path());
    let rate = Rate { value: 1_000_000, work: Hashes(1_000), fee_basis_points: 100 };
    let rate = serde_json::to_vec(&PayoutEntry::Rate(rate)).unwrap();
    life.write(Entry::Payout(PayoutRecord::new(PAYOUT_VERSION, rate).unwrap())).await;
    let share = |account: &String, work| ShareRecord {
        earner: Arc::new(Earner { payout_mode: PAYS_SHARES, ..Earner::named(account, "") }),
        work: Hashes(work),
        hash: [1; 32],
    };
    let shares = vec![share(&accounts[0], 200), share(&accounts[1], 101), share(&accounts[2], 100)];
    let mut gathered = Gathered { shares, ..Gathered::default() };
    life.shares.send(&mut gathered).await.unwrap();
    while life.shelf.payable(1).len() < accounts.len() {
        tokio::task::yield_now().await;
    }
    pay_to_the_end(&life, &node).await;
    assert_eq!(received(&node, &accounts), [198_000, 0, 0], "99,990 and less are below it");
    let owed: Vec<_> = life.shelf.payable(1).into_iter().map(|line| line.amount).collect();
    assert_eq!(owed, [99_990, 99_000]);
    life.end().await;
}

/// The node would refuse the whole transaction.
#[tokio::test(flavor = "multi_thread")]
async fn a_balance_of_more_than_all_bitcoins_keeps_nobody_else_from_his() {
    let node = Arc::new(Mutex::new(Node::start_funded().unwrap()));
    let (folder, accounts) = (tempfile::tempdir().unwrap(), addresses(&node));
    let life = Life::start(folder.path());
    life.owe(&accounts[..2]).await;
    let rate = Rate { value: u64::MAX, work: Hashes(1), fee_basis_points: 0 };
    let rate = serde_json::to_vec(&PayoutEntry::Rate(rate)).unwrap();
    life.write(Entry::Payout(PayoutRecord::new(PAYOUT_VERSION, rate).unwrap())).await;
    let earner = Earner { payout_mode: PAYS_SHARES, ..Earner::named(&accounts[2], "") };
    let share = ShareRecord { earner: Arc::new(earner), work: Hashes(1), hash: [1; 32] };
    let mut gathered = Gathered { shares: vec![share], ..Gathered::default() };
    life.shares.send(&mut gathered).await.unwrap();
    while life.shelf.payable(1).len() < accounts.len() {
        tokio::task::yield_now().await;
    }
    assert_eq!(sum(&life.shelf.payable(1)), u64::MAX, "no sum of it overflows");
    let proxy = proxy(&node, None).await;
    let mut payer = life.payer(&proxy);
    payer.round().await.unwrap();
    let sent = life.shelf.unconfirmed();
    let paid: Vec<_> = sent[0].lines.iter().map(|line| line.account.clone()).collect();
    assert_eq!(paid, accounts[..2]);
    drop(payer);
    life.end().await;
}

/// A miner who is found twice, by a block and by the wallet, is paid twice.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_an_output_in_a_job_that_is_mined_is_left_to_the_block() {
    let node = Arc::new(Mutex::new(Node::start_funded().unwrap()));
    let (folder, accounts) = (tempfile::tempdir().unwrap(), addresses(&node));
    let life = Life::start(folder.path());
    life.owe(&accounts).await;
    let proxy = proxy(&node, None).await;
    let mut payer = life.payer(&proxy);
    let job = life.promise(&accounts[0]);
    payer.round().await.unwrap();
    let paid = |life: &Life| -> Vec<_> {
        let sent = life.shelf.unconfirmed();
        sent.into_iter().flat_map(|sent| sent.lines).map(|line| line.account).collect()
    };
    assert_eq!(paid(&life), [&*accounts[1]]);
    drop(job);
    payer.round().await.unwrap();
    assert_eq!(paid(&life), [&*accounts[1], &*accounts[0]], "the tip has moved");
    drop(payer);
    pay_to_the_end(&life, &node).await;
    assert_eq!(received(&node, &accounts), [OWED[0], OWED[1], 0]);
    life.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_debt_that_is_gone_when_the_transaction_is_made_is_not_paid() {
    let node = Arc::new(Mutex::new(Node::start_funded().unwrap()));
    let (folder, accounts) = (tempfile::tempdir().unwrap(), addresses(&node));
    let life = Life::start(folder.path());
    life.owe(&accounts).await;
    let proxy = proxy(&node, None).await;
    let payer = life.payer(&proxy);
    let due = life.shelf.payable(100_000);
    payer.check_still_due(&due).await.unwrap();
    life.write(Entry::BlockState(BlockState::new([7; 32], BlockStage::Orphaned))).await;
    let error = payer.check_still_due(&due).await.unwrap_err();
    assert!(matches!(error, PayError::Changed), "{error}");
    drop(payer);
    life.end().await;
}

/// The first payout is replaced by hand; the second one is not touched by that.
#[tokio::test(flavor = "multi_thread")]
async fn a_payout_in_conflict_stops_others_until_a_person_settles_it() {
    for outcome in [WalletOutcome::Paid, WalletOutcome::Unpaid] {
        let node = Arc::new(Mutex::new(Node::start_funded().unwrap()));
        // Coins for two transactions that have nothing to do with each other.
        node.lock().unwrap().generate(10).unwrap();
        let (folder, accounts) = (tempfile::tempdir().unwrap(), addresses(&node));
        let life = Life::start(folder.path());
        let proxy = proxy(&node, None).await;
        let mut payer = life.payer(&proxy);
        for (block, account) in [(7, &accounts[0]), (8, &accounts[1])] {
            life.owe_by(block, std::slice::from_ref(account)).await;
            payer.round().await.unwrap();
        }
        let sent = life.shelf.unconfirmed();
        let (first, second) = (sent[0].transaction, sent[1].transaction);
        node.lock().unwrap().rpc("bumpfee", &json!([first.to_string()])).unwrap();
        for (blocks, is_safe) in [(1, false), (4, false), (1, true)] {
            node.lock().unwrap().generate(blocks).unwrap();
            let checked = check_conflict(&mut payer.wallet, first).await;
            assert_eq!(checked.is_ok(), is_safe, "{checked:?}");
        }
        let error = payer.round().await.unwrap_err();
        assert!(matches!(error, PayError::InConflict(id) if id == first), "{error}");
        let left: Vec<_> = life.shelf.unconfirmed().iter().map(|it| it.transaction).collect();
        assert_eq!(left, [first], "the other one is looked after");
        life.owe_by(9, &accounts[2..]).await;
        payer.config.threshold_sat = 1_000;
        let error = payer.round().await.unwrap_err();
        assert!(error.to_string().contains("payout settle"), "{error}");
        assert_ne!(first, second);
        drop(payer);
        life.end().await;

        let directory = folder.path().to_owned();
        let ledger = LedgerConfig { directory, ..LedgerConfig::default() };
        let settled = settle(&ledger, Network::Regtest, first, outcome).unwrap();
        assert_eq!(settled.lines[0].account, accounts[0]);
        let life = Life::start(folder.path());
        assert_eq!(life.shelf.unconfirmed(), []);
        let owed: Vec<_> = life.shelf.payable(1).into_iter().map(|it| it.account).collect();
        match outcome {
            WalletOutcome::Paid => assert_eq!(owed, [&*accounts[2]]),
            // They are owed the same, and in the order of their names.
            WalletOutcome::Unpaid => {
                assert!(owed.contains(&accounts[0]) && owed.contains(&accounts[2]), "{owed:?}");
                assert_eq!(owed.len(), 2);
            }
        }
        let mut payer = life.payer(&proxy);
        payer.config.threshold_sat = 1_000;
        payer.round().await.unwrap();
        assert_eq!(life.shelf.unconfirmed().len(), 1, "payouts go on");
        drop(payer);
        life.end().await;
    }
}
