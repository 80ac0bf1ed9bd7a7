//! What providers say, and what miners get of it, in paused time.

use bytes::Bytes;
use mining::target::Target;

use service::health::Health;

use super::*;
use crate::app::providers::NAMES;
use crate::payout::{NetworkName, PayoutConfig};

/// The maker at work, with what goes in and what comes out.
struct Bench {
    updates: mpsc::Sender<Update>,
    work: watch::Receiver<Option<Arc<Work>>>,
    health: Health,
}

impl Bench {
    fn start() -> Self {
        Self::start_paying(&PayoutConfig {
            script: Some("51".to_owned()),
            coinbase_tag: String::new(),
            ..PayoutConfig::on(NetworkName::Regtest)
        })
    }

    fn start_paying(config: &PayoutConfig) -> Self {
        Self::start_with(config, None)
    }

    fn start_with(config: &PayoutConfig, shelf: Option<Shelf>) -> Self {
        let (updates, incoming) = mpsc::channel(8);
        let work = watch::Sender::new(None);
        let health = Health::new(&NAMES[..2]);
        let addresses = ["a:1", "b:2"].map(str::to_owned);
        let bench = Self { updates, work: work.subscribe(), health: health.clone() };
        let maker = WorkMaker {
            choice: Choice::new(2),
            work_without_provider: Duration::from_secs(180),
            payout: Arc::new(Payout::from_config(config, [0; 4]).unwrap()),
            shelf,
            extranonces: ExtranonceAllocator::new(1),
            work,
            providers: Providers::new(addresses, health),
            served_until: None,
            tip_epoch: 0,
        };
        tokio::spawn(maker.run(incoming, CancellationToken::new()));
        bench
    }

    async fn say(&self, news: News) {
        self.say_of(0, news).await;
    }

    async fn say_of(&self, provider: usize, news: News) {
        self.updates.send(Update { provider, news }).await.unwrap();
    }

    /// Whether the providers are shown as there, and whether that is enough.
    fn shown(&self) -> ([bool; 2], bool) {
        let up = |name| self.health.shown(name).unwrap().0;
        ([up(NAMES[0]), up(NAMES[1])], self.health.is_well())
    }

    /// The next work; none if it was taken back.
    async fn next(&mut self) -> Option<Arc<Work>> {
        self.work.changed().await.unwrap();
        self.work.borrow_and_update().clone()
    }
}

fn template(tip: u8, header_timestamp: u32, id: u64) -> News {
    let target = Target::MAX;
    let tip = ChainTip { hash: [tip; 32], header_timestamp, nbits: 0x207f_ffff, target };
    News::Template((Arc::new(tip), Arc::new(paying(1, id))))
}

/// A template with one output of its own, that leaves `value_remaining` satoshis.
fn paying(value_remaining: u64, id: u64) -> Template {
    Template {
        id,
        version: 0x2000_0000,
        coinbase_version: 2,
        coinbase_prefix: Bytes::from_static(&[0x51]),
        coinbase_sequence: u32::MAX,
        value_remaining,
        outputs_count: 1,
        outputs: Bytes::from_static(OWN_OUTPUT),
        coinbase_locktime: 0,
        merkle_path: Vec::new(),
    }
}

/// An output of a template: nothing, to OP_RETURN.
const OWN_OUTPUT: &[u8] = &[0, 0, 0, 0, 0, 0, 0, 0, 1, 0x6a];

fn news(value_remaining: u64, nbits: u32) -> News {
    let tip = ChainTip { hash: [1; 32], header_timestamp: 10, nbits, target: Target::MAX };
    News::Template((Arc::new(tip), Arc::new(paying(value_remaining, 1))))
}

/// Firmware: a job comes at least every 30 seconds, whatever the provider does.
#[tokio::test(start_paused = true)]
async fn miners_hear_something_every_thirty_seconds_even_while_the_provider_is_refused() {
    let mut bench = Bench::start();
    bench.say(template(1, 10, 1)).await;
    bench.next().await;
    let start = Instant::now();
    for _ in 0..8 {
        bench.say(News::Lost("connection refused".to_owned())).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    assert!(bench.work.has_changed().unwrap(), "40 s of silence");
    assert!(Instant::now() - start >= Duration::from_secs(40));
}

#[tokio::test(start_paused = true)]
async fn the_second_provider_takes_over_at_once_and_health_names_both() {
    let mut bench = Bench::start();
    assert_eq!(bench.shown(), ([false, false], false));
    bench.say_of(0, template(1, 10, 1)).await;
    assert_eq!(bench.next().await.unwrap().job.template.id, 1);
    assert_eq!(bench.shown(), ([true, false], true), "a spare one may be missing");
    bench.say_of(1, template(1, 10, 21)).await;
    bench.say_of(0, News::Lost("gone".to_owned())).await;
    assert_eq!(bench.next().await.unwrap().job.template.id, 21);
    assert_eq!(bench.shown(), ([false, true], true));
    let (_, detail) = bench.health.shown(NAMES[0]).unwrap();
    assert_eq!(detail, "a:1: gone");
    // The first one is preferred as soon as it is back.
    bench.say_of(0, template(1, 10, 2)).await;
    assert_eq!(bench.next().await.unwrap().job.template.id, 2);
    assert_eq!(bench.health.shown(NAMES[1]).unwrap(), (true, "b:2: it stands by".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn with_no_provider_left_both_are_missed_and_one_that_comes_back_in_time_keeps_the_miners() {
    let mut bench = Bench::start();
    bench.say_of(0, template(1, 10, 1)).await;
    bench.next().await.unwrap();
    bench.say_of(1, template(1, 10, 21)).await;
    bench.say_of(0, News::Lost("gone".to_owned())).await;
    bench.next().await.unwrap();
    bench.say_of(1, News::Lost("gone too".to_owned())).await;
    let lost_at = Instant::now();
    // The last work is sent on every half minute.
    while Instant::now() - lost_at < Duration::from_secs(140) {
        assert_eq!(bench.next().await.unwrap().job.template.id, 21);
    }
    assert_eq!(bench.shown(), ([false, false], false));
    bench.say_of(1, template(1, 10, 22)).await;
    while Instant::now() - lost_at < Duration::from_secs(600) {
        assert!(bench.next().await.is_some(), "taken back, although a provider is there");
    }
    assert_eq!(bench.shown(), ([false, true], true));
}

#[tokio::test(start_paused = true)]
async fn miners_do_not_stay_with_a_provider_whose_node_stands_still() {
    let mut bench = Bench::start();
    bench.say_of(0, template(1, 10, 1)).await;
    bench.next().await.unwrap();
    let News::Template((_, next)) = template(2, 20, 21) else { panic!("no template") };
    let next = Template { coinbase_prefix: Bytes::from_static(&[0x52]), ..Template::clone(&next) };
    let tip =
        ChainTip { hash: [2; 32], header_timestamp: 20, nbits: 0x207f_ffff, target: Target::MAX };
    bench.say_of(1, News::Template((Arc::new(tip), Arc::new(next)))).await;
    let began = Instant::now();
    while bench.next().await.unwrap().job.template.id != 21 {}
    assert_eq!((Instant::now() - began).as_secs(), 30);
    assert_eq!(bench.health.shown(NAMES[0]).unwrap(), (true, "a:1: it stands by".to_owned()));
}

/// Firmware: only a closed connection sends a device to its next pool, and it comes when work has
/// been worth nothing for three minutes.
#[tokio::test(start_paused = true)]
async fn work_is_taken_back_when_no_provider_came_for_too_long() {
    let mut bench = Bench::start();
    bench.say(template(1, 10, 1)).await;
    bench.next().await;
    bench.say(News::Lost("gone".to_owned())).await;
    let lost_at = Instant::now();
    while bench.next().await.is_some() {}
    assert_eq!((Instant::now() - lost_at).as_secs(), 180);
}

#[tokio::test(start_paused = true)]
async fn a_block_that_is_announced_again_is_no_new_tip() {
    let mut bench = Bench::start();
    bench.say(template(1, 10, 1)).await;
    let first = bench.next().await.unwrap();
    bench.say(template(1, 99, 2)).await;
    let again = bench.next().await.unwrap();
    assert_eq!(again.job.tip, first.job.tip);
    assert_eq!(again.tip_epoch, first.tip_epoch);
    assert_eq!(again.job.template.id, 2);
    bench.say(template(2, 99, 3)).await;
    let moved = bench.next().await.unwrap();
    assert_ne!(moved.job.tip, first.job.tip);
    assert_ne!(moved.tip_epoch, first.tip_epoch);
}

/// What comes after the extranonce: sequence, count of outputs, outputs, locktime.
fn outputs_of(work: &Work) -> Vec<u8> {
    let suffix = &work.job.coinbase.suffix;
    suffix[4..suffix.len() - 4].to_vec()
}

#[tokio::test(start_paused = true)]
async fn the_coinbase_of_a_template_that_leaves_nothing_has_the_templates_outputs_alone() {
    let mut bench = Bench::start();
    bench.say(news(0, 0x207f_ffff)).await;
    let work = bench.next().await.unwrap();
    assert_eq!(outputs_of(&work), [&[1], OWN_OUTPUT].concat());
}

#[tokio::test(start_paused = true)]
async fn where_templates_pay_by_themselves_one_that_leaves_something_makes_no_job() {
    let by_template = PayoutConfig {
        by_template: true,
        coinbase_tag: String::new(),
        ..PayoutConfig::on(NetworkName::Mainnet)
    };
    let mut bench = Bench::start_paying(&by_template);
    bench.say(news(1, 0x1d00_ffff)).await;
    bench.say(news(0, 0x1d00_ffff)).await;
    // The first work that comes is that of the second template.
    let work = bench.next().await.unwrap();
    assert_eq!(work.job.template.value_remaining, 0);
    assert_eq!(outputs_of(&work), [&[1], OWN_OUTPUT].concat());
}

#[tokio::test(start_paused = true)]
async fn a_payout_that_anyone_could_take_makes_no_job_on_another_chain_than_regtest() {
    let mut bench = Bench::start();
    bench.say(news(1, 0x1d00_ffff)).await;
    bench.say(news(2, 0x207f_ffff)).await;
    let work = bench.next().await.unwrap();
    assert_eq!(work.job.tip.nbits, 0x207f_ffff);
}

/// Firmware: the same template is sent again with another nTime, so that it is new work.
#[tokio::test(start_paused = true)]
async fn a_job_that_is_sent_again_has_another_ntime() {
    let mut bench = Bench::start();
    bench.say(template(1, 10, 1)).await;
    let mut before = bench.next().await.unwrap();
    for _ in 0..5 {
        let start = Instant::now();
        let again = bench.next().await.unwrap();
        assert_eq!((Instant::now() - start).as_secs(), 30);
        assert!(Arc::ptr_eq(&again.job, &before.job));
        // A channel that was opened this second has the present time.
        assert!(again.ntime > before.ntime && again.ntime > clock::unix_now_seconds() - 1);
        before = again;
    }
}

/// Books that a test writes the log of.
mod shared {
    use super::*;
    use crate::accounting::bookkeeper::{Beginning, Bookkeeper, Sources};
    use crate::accounting::log::disk::Folder;
    use crate::accounting::log::writer::{LogSettings, LogWriter};
    use crate::payout::distribution::Room;
    use crate::payout::identity::Mode;
    use crate::shares::{
        BlockStage, BlockState, Earner, Entry, PAYS_ALL, PayoutRecord, ShareRecord,
    };

    const ANN: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
    const BOB: &str = "bcrt1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqc8gma6";
    const PAYEE: Payee = Payee::Shared(Room { outputs: 1, bytes: 500 });

    /// What the one output to a miner pays.
    fn paid(work: &Arc<Work>) -> u64 {
        let work = work.of(&PAYEE).unwrap();
        let suffix = &work.job.coinbase.suffix;
        // Sequence and count of outputs; the template's own output comes last.
        let value = suffix[5..13].try_into().unwrap();
        u64::from_le_bytes(value)
    }

    /// What a block of that job leaves in the ledger.
    fn records(work: &Arc<Work>, id: u8) -> Vec<Entry> {
        let records = work.of(&PAYEE).unwrap().job.memo.records(&[id; 32]);
        let record = |bytes| PayoutRecord::new(crate::payout::settlement::PAYOUT_VERSION, bytes);
        records.into_iter().map(|bytes| Entry::Payout(record(bytes).unwrap())).collect()
    }

    /// Block 9 is shared; what it pays is known to the books only a moment after the next template.
    #[tokio::test]
    async fn a_job_that_pays_debts_of_before_our_block_is_replaced_as_soon_as_the_books_know() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Folder(folder.path().to_owned());
        let settings = LogSettings { node: 0, segment_bytes: 1 << 20 };
        let (mut writer, _) = LogWriter::open(disk.clone(), settings, 1_000, 3).unwrap();
        for (account, work) in [(ANN, 4), (BOB, 4)] {
            let earner = Arc::new(Earner { payout_mode: PAYS_ALL, ..Earner::named(account, "") });
            let share = ShareRecord { earner, work: mining::target::Hashes(work), hash: [1; 32] };
            writer.push_share(1_000, &share);
        }
        writer.commit().unwrap();
        let durable = watch::Sender::new(writer.durable_end());
        let network = bitcoin::Network::Regtest;
        let checkpoint = folder.path().join("books.checkpoint");
        let sources = Sources { log: disk, checkpoint, network };
        let end = writer.durable_end();
        let (keeper, shelf) = Bookkeeper::open(&sources, Beginning::Needed, end).unwrap();
        let end = durable.subscribe();
        let thread = std::thread::spawn(move || keeper.run(&end, &drop));
        let mut bench = Bench::start_with(
            &PayoutConfig {
                script: Some("51".to_owned()),
                mode: Mode::Pplns,
                coinbase_tag: String::new(),
                ..PayoutConfig::on(NetworkName::Regtest)
            },
            Some(shelf),
        );
        bench.say(news(100_000, 0x207f_ffff)).await;
        let first = bench.next().await.unwrap();
        let mut write = |entries: Vec<Entry>| {
            entries.into_iter().for_each(|entry| writer.push_entry(1_000, entry));
            writer.commit().unwrap();
            durable.send_replace(writer.durable_end());
        };
        // Bob has no output, and is owed his half.
        assert_eq!(paid(&first), 50_000);
        write(records(&first, 9));
        let next = loop {
            let next = bench.next().await.unwrap();
            if paid(&next) != 50_000 {
                break next;
            }
        };
        assert!(Arc::ptr_eq(&next.job, &first.job), "no template has come");
        assert_eq!(paid(&next), 100_000, "his half of this block and of the one before");
        // It is found too, and the next template comes before the books know.
        let found = records(&next, 8);
        bench.say(news(100_000, 0x207f_ffff)).await;
        assert_eq!(paid(&bench.next().await.unwrap()), 50_000, "his debt would be paid twice");
        write(found);
        // Now it is Ann who had no output.
        while paid(&bench.next().await.unwrap()) != 100_000 {}
        // And back, when the node says that both are out of the chain.
        let orphaned = |id| Entry::BlockState(BlockState::new([id; 32], BlockStage::Orphaned));
        write(vec![orphaned(8), orphaned(9)]);
        while paid(&bench.next().await.unwrap()) != 50_000 {}
        drop((bench, durable));
        tokio::task::spawn_blocking(|| thread.join().unwrap()).await.unwrap();
    }
}
