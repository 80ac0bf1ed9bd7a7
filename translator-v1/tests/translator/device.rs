//! A V1 miner that talks to a session in lines, hashes like a device, and keeps its own books.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use mining::hash::{Midstate, double_sha256};
use mining::target::Target;
use mining::vardiff::VardiffPolicy;
use serde_json::Value;
use translator_v1::bridge::extranonce::{ExtranonceSplit, Seats};
use translator_v1::bridge::notify::{ChannelEpoch, ChannelTerms, Job, Tip, Work};
use translator_v1::bridge::submit::UpstreamShare;
use translator_v1::downstream::resume::Departed;
use translator_v1::downstream::session::MinerSession;
use translator_v1::downstream::{Answers, Command, Event, MinerIdentity, MinerSettings};
use translator_v1::teams::Channels;
use wire::session::{PeerError, Session};
use wire::sv1::notify::Notify;
use wire::sv1::request::Line;
use wire::sv1::submit::Submit;
use wire::sv2::codec::{Blob, Bytes32, List};
use wire::sv2::mining::NewExtendedMiningJob;

/// What a new miner is told: 2^8 hashes a share.
pub(crate) const MINER_DIFFICULTY: f64 = 1.0 / 16_777_216.0;
/// What the upstream asks: 2^12 hashes a share.
pub(crate) const UPSTREAM_DIFFICULTY: f64 = 1.0 / 1_048_576.0;
/// A block nobody finds here.
pub(crate) const HARD_NBITS: u32 = 0x1d00_ffff;
/// Every second hash is a block.
pub(crate) const REGTEST_NBITS: u32 = 0x207f_ffff;
/// The place of every device in the search space.
const SEAT: u16 = 0x0102;
/// nTime of the samples.
pub(crate) const NTIME: u32 = 0x6500_0000;

/// How a sample job differs from the plainest one.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) id: u32,
    pub(crate) epoch: u64,
    pub(crate) prev_hash: u8,
    pub(crate) nbits: u32,
    pub(crate) version: u32,
    pub(crate) prefix: [u8; 2],
    pub(crate) rollable: u16,
    pub(crate) difficulty: f64,
    /// Distinguishes coinbases.
    pub(crate) content: u8,
    /// Length of the whole coinbase.
    pub(crate) coinbase_bytes: usize,
    /// Hashes of the merkle path.
    pub(crate) branches: u8,
    /// The job's own nTime; none is that of the tip.
    pub(crate) min_ntime: Option<u32>,
}

impl Default for Sample {
    fn default() -> Self {
        Self {
            id: 1,
            epoch: 1,
            prev_hash: 0xa1,
            nbits: HARD_NBITS,
            version: 0x2000_0000,
            prefix: [0xe1, 0xe2],
            rollable: 10,
            difficulty: UPSTREAM_DIFFICULTY,
            content: 0,
            coinbase_bytes: 122,
            branches: 2,
            min_ntime: None,
        }
    }
}

impl Sample {
    /// The job as work that is live from `now` on, its tip known since `since`.
    pub(crate) fn work(self, since: Instant, now: Instant) -> Work {
        let suffix = self.coinbase_bytes - 60 - self.prefix.len() - usize::from(self.rollable);
        let message = NewExtendedMiningJob {
            channel_id: 1,
            job_id: self.id,
            min_ntime: self.min_ntime,
            version: self.version,
            version_rolling_allowed: true,
            merkle_path: List::new((0..self.branches).map(ascending).collect()).unwrap(),
            coinbase_tx_prefix: Blob::new(vec![self.content; 60]).unwrap(),
            coinbase_tx_suffix: Blob::new(vec![0x22; suffix]).unwrap(),
        };
        let tip = Tip {
            prev_hash: [self.prev_hash; 32],
            nbits: self.nbits,
            block_target: Target::from_nbits(self.nbits).unwrap(),
            min_ntime: NTIME,
            since,
        };
        let prefix = Bytes32::new(&self.prefix).unwrap();
        let terms = ChannelTerms {
            epoch: ChannelEpoch(self.epoch),
            split: ExtranonceSplit::new(prefix, self.rollable).unwrap(),
            target: Target::from_difficulty(self.difficulty),
        };
        Work { job: Arc::new(Job::new(message, tip, terms, now)), is_live: true, is_held: false }
    }
}

/// A hash of the merkle path, no two bytes of which are the same: 77 78 79 and so on, or later.
fn ascending(number: u8) -> [u8; 32] {
    let mut hash = [0; 32];
    (0x77 + number..).zip(&mut hash).for_each(|(next, byte)| *byte = next);
    hash
}

/// How clients put rolled bits into the header version.
#[derive(Clone, Copy)]
pub(crate) enum Rolling {
    /// cgminer and others.
    Or,
    /// ESP-Miner: it sends the difference to the job's version.
    Xor,
}

/// What a device found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) job_id: String,
    pub(crate) extranonce_2: Vec<u8>,
    pub(crate) ntime: u32,
    pub(crate) nonce: u32,
    pub(crate) bits: Option<u32>,
    pub(crate) version: u32,
    pub(crate) hash: [u8; 32],
}

impl Found {
    /// As `mining.submit` with full widths.
    pub(crate) fn line(&self, id: u64, worker: &str) -> String {
        let submit = Submit {
            worker: worker.into(),
            job_id: self.job_id.as_str().into(),
            extranonce_2: self.extranonce_2.clone(),
            ntime: self.ntime,
            nonce: self.nonce,
            version_bits: self.bits,
        };
        submit.line(id).trim_end().to_owned()
    }
}

/// With another vardiff policy; the first difficulty stays the same.
pub(crate) fn settings(shares_per_minute: f64) -> MinerSettings {
    MinerSettings {
        vardiff: VardiffPolicy {
            shares_per_minute,
            search_shares_per_minute: shares_per_minute,
            min_difficulty: 1e-12,
        },
        initial_hashrate: MINER_DIFFICULTY * 4_294_967_296.0 * shares_per_minute / 60.0,
        channels: Channels::One,
        answers: Answers::Upstream,
        lines_per_second_max: 100,
        departed: Departed::default(),
    }
}

/// A miner and the session that serves it.
pub(crate) struct Device {
    pub(crate) session: MinerSession,
    pub(crate) now: Instant,
    pub(crate) ended: Option<PeerError>,
    /// What the session said and no test has taken.
    pub(crate) lines: VecDeque<Value>,
    pub(crate) events: VecDeque<Event>,
    /// What the device knows, from the lines that it was sent.
    pub(crate) extranonce_1: Vec<u8>,
    pub(crate) extranonce_2_bytes: usize,
    pub(crate) difficulty: Option<f64>,
    pub(crate) job: Option<Notify>,
    tips: BTreeMap<u8, Instant>,
    /// Bytes of the session's last words, as one write.
    pub(crate) last_write: String,
}

impl Device {
    /// Connected, and the translator has no work yet.
    pub(crate) fn new() -> Self {
        Self::with_shares_per_minute(6.0)
    }

    /// As `new`, with another vardiff policy; the first difficulty stays the same.
    pub(crate) fn with_shares_per_minute(shares_per_minute: f64) -> Self {
        let settings = settings(shares_per_minute);
        Self::of_settings(&settings, "5e55", Instant::now())
    }

    /// Connected at `now`, with that token.
    pub(crate) fn of_settings(settings: &MinerSettings, token: &str, now: Instant) -> Self {
        let seats = Seats::default();
        // The first seats are others'.
        let seat = (0..=SEAT).map(|_| seats.take().unwrap()).collect::<Vec<_>>().pop().unwrap();
        let identity = MinerIdentity { seat, session: token.to_owned() };
        Self {
            session: MinerSession::new(settings, identity, now),
            now,
            ended: None,
            lines: VecDeque::new(),
            events: VecDeque::new(),
            extranonce_1: Vec::new(),
            extranonce_2_bytes: 0,
            difficulty: None,
            job: None,
            tips: BTreeMap::new(),
            last_write: String::new(),
        }
    }

    /// Connected to a translator with the plainest work.
    pub(crate) fn with_work() -> Self {
        let mut device = Self::new();
        device.give(Sample::default());
        device
    }

    /// Subscribed and authorized as `w`, with difficulty and a first job, and the answers taken.
    pub(crate) fn logged_in(sample: Sample) -> Self {
        let mut device = Self::new();
        device.give(sample);
        device.login();
        device.lines.clear();
        device
    }

    /// Subscribes and authorizes as `w`.
    pub(crate) fn login(&mut self) {
        self.send(r#"{"id":1,"method":"mining.subscribe","params":["test/1"]}"#);
        self.send(r#"{"id":2,"method":"mining.authorize","params":["w","x"]}"#);
    }

    /// Gives the session work whose tip is known since it was first given.
    pub(crate) fn give(&mut self, sample: Sample) {
        let since = *self.tips.entry(sample.prev_hash).or_insert(self.now);
        let work = sample.work(since, self.now);
        self.command(Command::Work(Some(work)));
    }

    pub(crate) fn command(&mut self, command: Command) {
        let now = self.now;
        self.act(|session| session.handle_command(now, command));
    }

    /// Sends one line.
    pub(crate) fn send(&mut self, line: &str) {
        self.send_bytes(format!("{line}\n").as_bytes());
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        let now = self.now;
        self.act(|session| session.handle_bytes(now, bytes));
    }

    /// Lets time pass, deadlines in their order.
    pub(crate) fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(at) = self.session.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            let now = self.now;
            self.act(|session| session.handle_timeout(now));
            if self.ended.is_some() {
                break;
            }
        }
        self.now = end;
    }

    fn act(&mut self, step: impl FnOnce(&mut MinerSession) -> Result<(), PeerError>) {
        if let Err(error) = step(&mut self.session) {
            self.ended = Some(error);
        }
        self.events.extend(std::iter::from_fn(|| self.session.poll_event()));
        let mut out = BytesMut::new();
        while self.session.poll_transmit(&mut out) {}
        if !out.is_empty() {
            self.last_write = String::from_utf8(out.to_vec()).unwrap();
            self.listen();
        }
    }

    fn listen(&mut self) {
        for line in self.last_write.clone().lines() {
            if let Line::Request(request) = Line::parse(line).unwrap() {
                match &*request.method {
                    "mining.notify" => self.job = Some(Notify::read(&request.params).unwrap()),
                    "mining.set_difficulty" => {
                        self.difficulty = request.params.elements().unwrap().number(0);
                    }
                    "mining.set_extranonce" => {
                        let read = wire::sv1::notify::read_extranonce(&request.params);
                        (self.extranonce_1, self.extranonce_2_bytes) = read.unwrap();
                    }
                    "client.show_message" | "client.reconnect" | "client.get_version" => {}
                    other => panic!("unexpected {other}"),
                }
            }
            let value: Value = serde_json::from_str(line).unwrap();
            if let Some(extranonce_1) = value["result"][1].as_str() {
                self.extranonce_1 = from_hex(extranonce_1);
                self.extranonce_2_bytes = value["result"][2].as_u64().unwrap().try_into().unwrap();
            }
            self.lines.push_back(value);
        }
    }

    /// The next thing that the session said.
    pub(crate) fn line(&mut self) -> Value {
        self.lines.pop_front().expect("the session said something")
    }

    /// What the session said, by method name or as `reply ID`.
    pub(crate) fn said(&mut self) -> Vec<String> {
        let name = |line: Value| match line["method"].as_str() {
            Some(method) => method.to_owned(),
            None => format!("reply {}", line["id"]),
        };
        self.lines.drain(..).map(name).collect()
    }

    /// Sends a share and gives the answer that came at once.
    pub(crate) fn submit(&mut self, found: &Found) -> Value {
        self.lines.clear();
        self.send(&found.line(9, "w"));
        self.line()
    }

    /// Error code and text of the answer to a share.
    pub(crate) fn refusal(&mut self, found: &Found) -> (i64, String) {
        let answer = self.submit(found);
        let text = answer["error"][1].as_str().unwrap_or_default().to_owned();
        (answer["error"][0].as_i64().unwrap_or_default(), text)
    }

    /// The share that the session passed on for the upstream, if it did.
    pub(crate) fn passed_on(&mut self) -> Option<(u64, UpstreamShare)> {
        let events = std::mem::take(&mut self.events);
        events.into_iter().find_map(|event| match event {
            Event::Submit { ticket, share, .. } => Some((ticket, share)),
            _ => None,
        })
    }

    /// Hashes the present job from `nonce` on, without rolling, until the hash suits.
    pub(crate) fn mine(&self, nonce: u32, suits: impl Fn(&[u8; 32]) -> bool) -> Found {
        self.mine_job(self.job.as_ref().unwrap(), nonce, None, suits)
    }

    /// A share that the miner's own target asks for and the upstream's does not.
    pub(crate) fn mine_local(&self) -> Found {
        let own = Target::from_difficulty(self.difficulty.unwrap());
        let upstream = Target::from_difficulty(UPSTREAM_DIFFICULTY);
        self.mine(0, |hash| own.is_met_by(hash) && !upstream.is_met_by(hash))
    }

    /// A share that the upstream counts.
    pub(crate) fn mine_upstream(&self) -> Found {
        let upstream = Target::from_difficulty(UPSTREAM_DIFFICULTY);
        self.mine(0, |hash| upstream.is_met_by(hash))
    }

    /// Hashes `job` with `bits` of the version rolled.
    pub(crate) fn mine_job(
        &self,
        job: &Notify,
        nonce: u32,
        bits: Option<(u32, Rolling)>,
        suits: impl Fn(&[u8; 32]) -> bool,
    ) -> Found {
        let extranonce_2 = vec![0x5e; self.extranonce_2_bytes];
        let version = match bits {
            Some((bits, Rolling::Or)) => job.version | bits,
            Some((bits, Rolling::Xor)) => job.version ^ bits,
            None => job.version,
        };
        let coinbase =
            [&job.coinbase_1[..], &self.extranonce_1, &extranonce_2, &job.coinbase_2].concat();
        let mut root = double_sha256(&coinbase);
        for branch in &job.merkle_path {
            root = double_sha256(&[root, *branch].concat());
        }
        let start = [
            &version.to_le_bytes()[..],
            &job.prev_hash,
            &root,
            &job.ntime.to_le_bytes(),
            &job.nbits.to_le_bytes(),
        ]
        .concat();
        let start = Midstate::after(&start);
        let (nonce, hash) = (nonce..)
            .map(|nonce| (nonce, start.finish(&[&nonce.to_le_bytes()])))
            .find(|(_, hash)| suits(hash))
            .unwrap();
        Found {
            job_id: job.job_id.clone(),
            extranonce_2,
            ntime: job.ntime,
            nonce,
            bits: bits.map(|(bits, _)| bits),
            version,
            hash,
        }
    }
}

/// True if the upstream would count a share with that hash, and its verdict be waited for.
pub(crate) fn counts_upstream(hash: &[u8; 32]) -> bool {
    Target::from_difficulty(UPSTREAM_DIFFICULTY).is_met_by(hash)
}

pub(crate) fn from_hex(text: &str) -> Vec<u8> {
    let pair = |index| u8::from_str_radix(&text[index..index + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(pair).collect()
}
