//! Each endpoint of the API, all that its own document names, asked of a store of a year while
//! shares are brought into it: with blocks that were shared by a hundred accounts each, payouts of
//! the wallet, and as many connections as workers.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, Network, Txid};
use mining::target::Hashes;
use pool_sv2::accounting::api::template::TemplateNow;
use pool_sv2::accounting::api::{Api, Facts, Port};
use pool_sv2::accounting::bookkeeper::{Beginning, Bookkeeper, Sources};
use pool_sv2::accounting::books::Books;
use pool_sv2::accounting::log::cursor::{Cursor, Located, Place};
use pool_sv2::accounting::log::disk::Folder;
use pool_sv2::accounting::log::record::Record;
use pool_sv2::accounting::log::segment::DurableEnd;
use pool_sv2::accounting::log::writer::{LogSettings, LogWriter};
use pool_sv2::accounting::store::sqlite::SqliteStore;
use pool_sv2::accounting::store::{Chunk, Store};
use pool_sv2::coin::Coin;
use pool_sv2::payout::claims::{Position, Withheld};
use pool_sv2::payout::distribution::{Terms, distribute};
use pool_sv2::payout::identity::Mode;
use pool_sv2::payout::settlement::{
    AccountPayout, BlockPayout, PAYOUT_VERSION, PayoutEntry, Settlement, WalletLine, WalletPayout,
};
use pool_sv2::roster::{Attendance, ChannelNow, Roster, Tally};
use pool_sv2::shares::{
    BlockFound, BlockStage, BlockState, Earner, Entry, PAYS_ALL, PayoutRecord, ShareRecord,
};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use service::clock;
use service::health::Health;
use service::questions::{Question, Reply};
use tokio_util::sync::CancellationToken;

use super::ask;

/// Five a day, and one transaction of the wallet a day.
const BLOCKS: usize = 5 * 365;
const PAYOUTS: usize = 365;
/// Accounts that each of them pays.
const LINES: usize = 100;
/// Shares of the log from which a proof is made.
const LOGGED: usize = 1_000_000;
const YEAR_MS: u64 = 365 * 86_400_000;
const TERMS: Terms =
    Terms { fee_basis_points: 100, output_min: 1_000, outputs_max: 100, output_bytes_max: 4_000 };
/// Questions that an endpoint's path does not show.
const FURTHER: [&str; 7] = [
    "api/v1/miners?limit=1000",
    "api/v1/miners?order=hashrate&limit=1000",
    "api/v1/blocks?limit=1000",
    "api/v1/payouts?limit=1000",
    "api/v1/history?from=0&account={account}&worker={worker}",
    "api/v1/history?span=day&from=0&account={account}",
    "api/pools/adit/blocks?page=90&pageSize=20",
];

/// The API over a store, and those who are connected.
pub(super) struct Desk {
    api: Api,
    earners: Vec<Arc<Earner>>,
    /// One that is in the log too.
    block: BlockHash,
    _there: Vec<Attendance>,
}

impl Desk {
    /// Writes blocks and payouts into the store, and a log beside it.
    pub(super) fn new(store: &Path, earners: Vec<Arc<Earner>>, now_ms: u64) -> Self {
        add_money(store, &earners, now_ms);
        let log = Folder(store.with_file_name("log"));
        std::fs::create_dir_all(&log.0).unwrap();
        let (end, block) = write_log(&log, &earners, now_ms);
        let checkpoint = store.with_file_name("books.checkpoint");
        let sources = Sources { log, checkpoint, network: Network::Bitcoin };
        let (_, shelf) = Bookkeeper::open(&sources, Beginning::Needed, end).unwrap();
        let (roster, shutdown) = (Roster::default(), CancellationToken::new());
        let there = earners.iter().map(|earner| connect(&roster, earner, &shutdown)).collect();
        let (host, mode) = ("0.0.0.0".to_owned(), Mode::Pplns);
        let api = Api::new(Facts {
            store: store.to_owned(),
            sources,
            mode,
            fee_basis_points: 100,
            coin: Coin::default(),
            ports: vec![Port { host, port: 3_333, min_difficulty: 1.0, mode }],
            authority_key: "9auq".to_owned(),
            mined: Box::new(|| Some(mined())),
            shelf: Some(shelf),
            health: Health::new(&["node"]),
            roster,
        });
        Self { api, earners, block, _there: there }
    }

    /// Asks each endpoint 200 times, for somebody else each time.
    pub(super) fn ask_all(&self) {
        let began = Instant::now();
        let proof = format!("api/v1/blocks/{}/proof/{}", self.block, self.earners[0].account);
        self.found(&proof);
        println!("  the first proof of a block, of {LOGGED} shares: {:.1?}", began.elapsed());
        let described = self.found("api/v1/openapi.json");
        let described: Value = serde_json::from_str(&described).unwrap();
        let paths = described["paths"].as_object().unwrap();
        let paths = paths.keys().map(|path| path.trim_start_matches('/'));
        let mut luck = StdRng::seed_from_u64(2);
        for path in paths.chain(FURTHER) {
            let mut asked = (0..200).map(|_| self.asked(path, &mut luck)).collect::<Vec<_>>();
            ask(path, || self.found(&asked.pop().unwrap()).len());
        }
    }

    fn asked(&self, path: &str, luck: &mut StdRng) -> String {
        let earner = self.earners.choose(luck).unwrap();
        let asked = path
            .replace("{account}", &earner.account)
            .replace("{worker}", &earner.worker)
            .replace("{id}", "adit")
            .replace("{hash}", &self.block.to_string());
        if !asked.contains("{session}") {
            return asked;
        }
        let client = self.found(&format!("api/client/{}", earner.account));
        let client: Value = serde_json::from_str(&client).unwrap();
        let workers = client["workers"].as_array().unwrap();
        let worker = workers.iter().find(|it| it["name"] == *earner.worker).unwrap();
        asked.replace("{session}", worker["sessionId"].as_str().unwrap())
    }

    fn found(&self, asked: &str) -> String {
        let (path, parameters) = asked.split_once('?').unwrap_or((asked, ""));
        let pairs = parameters.split('&').filter_map(|pair| pair.split_once('='));
        let parameters = pairs.map(|(name, value)| (name.into(), value.into())).collect();
        match self.api.answer(&Question { path: path.to_owned(), parameters }) {
            Reply::Found(text) | Reply::Text(text) => text,
            other => panic!("{asked}: {other:?}"),
        }
    }
}

fn connect(roster: &Roster, earner: &Arc<Earner>, shutdown: &CancellationToken) -> Attendance {
    let there = roster.enter(([203, 0, 113, 1], 4_711).into(), 0, shutdown);
    let (earner, tally) = (Arc::clone(earner), Tally::new(clock::now()));
    there.show(vec![ChannelNow { id: 2, is_standard: true, earner, difficulty: 1e6, tally }]);
    there
}

fn hash_of(kind: u8, number: usize) -> [u8; 32] {
    let mut hash = [kind; 32];
    hash[..8].copy_from_slice(&number.to_le_bytes());
    hash
}

fn record(time_ms: u64, entry: &PayoutEntry) -> Record {
    let bytes = serde_json::to_vec(entry).unwrap();
    Record::Payout { time_ms, payout: PayoutRecord::new(PAYOUT_VERSION, bytes).unwrap() }
}

/// Blocks of a year with what each paid, and payouts of the wallet.
fn add_money(store: &Path, earners: &[Arc<Earner>], now_ms: u64) {
    let mut store = SqliteStore::open(store).unwrap();
    let mut luck = StdRng::seed_from_u64(3);
    let ago = |number: usize, of: usize| now_ms - YEAR_MS / of as u64 * (of - number) as u64;
    let mut sequence = 10;
    for number in 0..BLOCKS {
        let time_ms = ago(number, BLOCKS);
        let some: Vec<_> = earners.choose_multiple(&mut luck, LINES).collect();
        let mut chunk = Chunk::new(u64::MAX);
        let mut take = |earner, record| {
            sequence += 1;
            chunk.take(Located { place: Place { epoch: 1, sequence }, earner, record });
        };
        let hash = hash_of(1, number);
        let block = BlockFound {
            hash,
            height: u32::try_from(800_000 + number).ok(),
            prev_hash: [0; 32],
            nbits: 0x1702_ffff,
            coinbase_value: 312_500_000,
        };
        take(Some(Arc::clone(some[0])), Record::BlockFound { time_ms, finder: 0, block });
        // One in fifty is orphaned.
        let last = if number % 50 == 0 { BlockStage::Orphaned } else { BlockStage::Mature };
        for stage in [BlockStage::Submitted, BlockStage::Accepted, last] {
            take(None, Record::BlockState { time_ms, state: BlockState::new(hash, stage) });
        }
        take(None, record(time_ms, &PayoutEntry::Block(shared(hash, &some, &mut luck))));
        if number % (BLOCKS / PAYOUTS) == 0 {
            let line = |earner: &&Arc<Earner>| WalletLine {
                account: earner.account.to_string(),
                amount: 100_000,
                earned: 0,
            };
            let transaction = Txid::from_byte_array(hash_of(2, number));
            let lines = some.iter().map(line).collect();
            let paid = WalletPayout { transaction, raw: String::new(), fee: 1_000, lines };
            take(None, record(time_ms + 1, &PayoutEntry::Wallet(paid)));
        }
        let next = Place { epoch: 1, sequence: sequence + 1 };
        store.apply(0, &chunk, next).unwrap();
    }
}

fn shared(hash: [u8; 32], some: &[&Arc<Earner>], luck: &mut StdRng) -> BlockPayout {
    let line = |earner: &&Arc<Earner>| AccountPayout {
        account: earner.account.to_string(),
        work: Hashes(luck.r#gen()),
        entitled: 3_000_000,
        paid: luck.gen_range(0..2) * 3_000_000,
    };
    let lines = some.iter().map(line).collect();
    BlockPayout {
        block: BlockHash::from_byte_array(hash),
        position: Position::default(),
        window: Hashes(1 << 80),
        root: None,
        terms: TERMS,
        withheld: Withheld::Nobodys,
        value: 312_500_000,
        fee: 3_125_000,
        pool_output: 3_125_000,
        part: 0,
        parts: 1,
        lines,
    }
}

/// Shares of all, and a block that they share.
fn write_log(log: &Folder, earners: &[Arc<Earner>], now_ms: u64) -> (DurableEnd, BlockHash) {
    let settings = LogSettings { node: 0, segment_bytes: 64 << 20 };
    let (mut writer, _) = LogWriter::open(log.clone(), settings, now_ms, 7).unwrap();
    let mut luck = StdRng::seed_from_u64(4);
    let sharing =
        |it: &Arc<Earner>| Arc::new(Earner { payout_mode: PAYS_ALL, ..Earner::clone(it) });
    let earners: Vec<_> = earners.iter().map(sharing).collect();
    for number in 0..LOGGED {
        let earner = Arc::clone(&earners[number % earners.len()]);
        writer
            .push_share(now_ms, &ShareRecord { earner, work: Hashes(1 << 44), hash: luck.r#gen() });
        if number % 2_500 == 2_499 {
            writer.commit().unwrap();
        }
    }
    writer.commit().unwrap();
    let mut books = Books::new(Network::Bitcoin);
    let mut cursor = Cursor::new(log.clone(), Place::default());
    while cursor.read_frame(None, &mut |located| books.take(&located).unwrap()).unwrap() {}
    let (claims, withheld) = (Arc::new(books.claims(Hashes(1 << 80))), Withheld::Nobodys);
    let distribution = distribute(312_500_000, &TERMS, &claims, &withheld).unwrap();
    let settlement = Settlement { terms: TERMS, withheld, distribution };
    let block = BlockHash::from_byte_array(hash_of(5, 0));
    for part in settlement.parts(block) {
        let bytes = serde_json::to_vec(&PayoutEntry::Block(part)).unwrap();
        let payout = PayoutRecord::new(PAYOUT_VERSION, bytes).unwrap();
        writer.push_entry(now_ms, Entry::Payout(payout));
    }
    writer.commit().unwrap();
    (writer.durable_end(), block)
}

/// A coinbase that pays fifty.
fn mined() -> TemplateNow {
    let output = "00f2052a01000000160014751e76e8199196d454941c45d1b3a323f1433bd6";
    let start = "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff\
                 0451515151ffffffff32";
    let coinbase = format!("{start}{}00000000", output.repeat(50));
    let coinbase: Vec<u8> = bitcoin::hex::FromHex::from_hex(&coinbase).unwrap();
    TemplateNow {
        height: Some(850_001),
        prev_hash: [3; 32],
        nbits: 0x1702_ffff,
        difficulty: 110e12,
        id: 7,
        branches: 12,
        since_ms: 1_000,
        tip_since_ms: 500,
        tip_connections: 3,
        tip_last: Duration::from_micros(4_200),
        coinbase: coinbase.into(),
    }
}
