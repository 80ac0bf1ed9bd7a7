//! The scripted miner: sends what a test says and keeps what comes back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcoin::Network;
use bytes::Bytes;
use mining::coinbase::Output;
use mining::extranonce::ExtranonceAllocator;
use mining::job::Job;
use mining::target::Target;
use mining::template::{ChainTip, Template};
use mining::vardiff::VardiffPolicy;
use pool_sv2::downstream::connection::{
    Command, Downstream, Event, LIMITS, LimitCounts, Limits, Settings,
};
use pool_sv2::payout::identity::Identities;
use pool_sv2::payout::{NetworkName, Payout, PayoutConfig};
use pool_sv2::tip_reach::TipReach;
use pool_sv2::work::Work;
use service::metrics::Metrics;
use testkit::pair::Pair;
use testkit::scripted::ScriptedPeer;
use wire::sv2::frame::{EncodedFrame, Frame};
use wire::sv2::keys::AuthoritySecret;
use wire::sv2::link::Link;
use wire::sv2::message::Message;
use wire::sv2::mining::{
    Mining, NewExtendedMiningJob, NewMiningJob, OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccess, OpenStandardMiningChannel, OpenStandardMiningChannelSuccess,
    SetNewPrevHash, SubmitSharesExtended, SubmitSharesStandard,
};
use wire::sv2::noise::ServerIdentity;
use wire::sv2::setup::{PROTOCOL_MINING, SetupConnection};

/// SRI's public test key.
const SECRET: &str = "mkDLTBBRxdBv998612qipDYoTK3YUrqLe8uWw7gu3iXbSrn2n";
const UNIX_NOW: u32 = 1_700_000_100;
/// nTime of the tips here.
pub(crate) const TIP_TIME: u32 = 1_700_000_000;
/// Network targets: one that no hash here meets, and one that every second hash meets.
pub(crate) const HARD: u32 = 0x1700_ffff;
pub(crate) const REGTEST: u32 = 0x207f_ffff;

/// A miner and the pool's side of its connection.
pub(crate) struct Table {
    pub(crate) pair: Pair<ScriptedPeer<Frame>, Downstream>,
}

impl Table {
    /// Handshake done, nothing said; shares may be as easy as any hash.
    pub(crate) fn new() -> Self {
        Self::with_settings(|_| {})
    }

    pub(crate) fn with_min_difficulty(min_difficulty: f64) -> Self {
        Self::with_settings(|settings| settings.vardiff.min_difficulty = min_difficulty)
    }

    pub(crate) fn with_settings(change: impl FnOnce(&mut Settings)) -> Self {
        let authority: AuthoritySecret = SECRET.parse().unwrap();
        let key = authority.public();
        let identity = ServerIdentity::certified(&authority, 3_600, [3; 32], UNIX_NOW);
        let server = Link::server(Arc::new(identity), LIMITS, [1; 32]);
        let client = Link::client(Some(key), LIMITS, [2; 32], UNIX_NOW);
        let mut settings = Settings {
            vardiff: VardiffPolicy {
                shares_per_minute: 6.0,
                search_shares_per_minute: 60.0,
                min_difficulty: 1e-12,
            },
            user_min_difficulty: BTreeMap::new(),
            limits: Limits { channels_per_connection_max: 4, ..Limits::default() },
            counts: LimitCounts::new(&Metrics::new("x")),
            tip_reach: TipReach::new(&Metrics::new("x")),
            extranonces: ExtranonceAllocator::new(100),
            identities: Identities::of_the_pool(Network::Regtest),
            listener: 0,
            reconnect_to: None,
        };
        change(&mut settings);
        let now = Instant::now();
        let mut pair = Pair::new(
            ScriptedPeer::new(client, |frame| Ok(frame.clone())),
            Downstream::new(server, Arc::new(settings), now),
            now,
        );
        pair.drive();
        Self { pair }
    }

    /// A connection that was set up with `flags`, with work on `tip(1)`.
    pub(crate) fn ready(flags: u32) -> Self {
        let mut table = Self::new();
        table.work(1, 1, HARD);
        table.set_up(flags);
        table
    }

    pub(crate) fn set_up(&mut self, flags: u32) {
        self.send(&SetupConnection::of_program(PROTOCOL_MINING, flags, "pool", 1, "test"));
        assert_eq!(self.frame().header.message_type, 0x01, "SetupConnection.Success");
    }

    /// Gives the pool's side a template on a tip whose hash is `tip` in every byte.
    pub(crate) fn work(&mut self, tip: u8, template: u64, nbits: u32) {
        let work = work(tip, template, nbits, self.pair.now).for_miners(payout(), None, None);
        self.pair.command_server(Command::Work(Arc::new(work)));
    }

    pub(crate) fn send<M: Message>(&mut self, message: &M) {
        self.pair.command_client(EncodedFrame::new(message));
    }

    /// The next frame, whatever it is.
    pub(crate) fn frame(&mut self) -> Frame {
        self.try_frame().expect("nothing came from the pool")
    }

    pub(crate) fn try_frame(&mut self) -> Option<Frame> {
        self.pair.client.event()
    }

    /// The next message of the Mining Protocol.
    pub(crate) fn message(&mut self) -> Mining {
        let frame = self.frame();
        Mining::decode(frame.header.message_type, &frame.payload).unwrap()
    }

    pub(crate) fn assert_silent(&mut self) {
        assert_eq!(self.try_frame(), None);
    }

    pub(crate) fn wait(&mut self, duration: Duration) {
        self.pair.run_for(duration);
    }

    /// Asks for an extended channel and takes the answer, the first job and its prev hash.
    pub(crate) fn open_extended(&mut self) -> OpenExtended {
        self.open_extended_as("miner.a")
    }

    /// The same for a user of that name.
    pub(crate) fn open_extended_as(&mut self, name: &str) -> OpenExtended {
        let user_identity = wire::sv2::codec::Str255::truncated(name);
        self.send(&OpenExtendedMiningChannel { user_identity, ..extended_request(1) });
        let Mining::OpenExtendedMiningChannelSuccess(channel) = self.message() else {
            panic!("no OpenExtendedMiningChannel.Success")
        };
        let Mining::NewExtendedMiningJob(job) = self.message() else { panic!("no job") };
        let Mining::SetNewPrevHash(prev_hash) = self.message() else { panic!("no prev hash") };
        self.take_settled();
        OpenExtended { channel, job, prev_hash }
    }

    /// What the pool's program is told with the first channel.
    fn take_settled(&mut self) {
        self.pair.server.events.pop_front_if(|event| matches!(event, Event::Settled));
    }

    /// The same for a standard channel.
    pub(crate) fn open_standard(&mut self) -> OpenStandard {
        self.open_standard_as("miner.b")
    }

    /// The same for a user of that name.
    pub(crate) fn open_standard_as(&mut self, name: &str) -> OpenStandard {
        let user_identity = wire::sv2::codec::Str255::truncated(name);
        self.send(&OpenStandardMiningChannel { user_identity, ..standard_request(1) });
        let Mining::OpenStandardMiningChannelSuccess(channel) = self.message() else {
            panic!("no OpenStandardMiningChannel.Success")
        };
        let Mining::NewMiningJob(job) = self.message() else { panic!("no job") };
        let Mining::SetNewPrevHash(prev_hash) = self.message() else { panic!("no prev hash") };
        self.take_settled();
        OpenStandard { channel, job, prev_hash }
    }
}

/// An extended channel with its first work.
pub(crate) struct OpenExtended {
    pub(crate) channel: OpenExtendedMiningChannelSuccess,
    pub(crate) job: NewExtendedMiningJob,
    pub(crate) prev_hash: SetNewPrevHash,
}

/// A standard channel with its first work.
pub(crate) struct OpenStandard {
    pub(crate) channel: OpenStandardMiningChannelSuccess,
    pub(crate) job: NewMiningJob,
    pub(crate) prev_hash: SetNewPrevHash,
}

impl OpenExtended {
    /// A share of the first job; any nonce will do where every hash counts.
    pub(crate) fn share(&self, sequence_number: u32) -> SubmitSharesExtended {
        let size = usize::from(self.channel.extranonce_size);
        SubmitSharesExtended {
            channel_id: self.channel.channel_id,
            sequence_number,
            job_id: self.job.job_id,
            nonce: sequence_number,
            ntime: self.prev_hash.min_ntime,
            version: self.job.version,
            extranonce: wire::sv2::codec::Bytes32::new(&vec![0; size]).unwrap(),
        }
    }
}

impl OpenStandard {
    /// A share of the first job; any nonce will do where every hash counts.
    pub(crate) fn share(&self, sequence_number: u32) -> SubmitSharesStandard {
        SubmitSharesStandard {
            channel_id: self.channel.channel_id,
            sequence_number,
            job_id: self.job.job_id,
            nonce: sequence_number,
            ntime: self.prev_hash.min_ntime,
            version: self.job.version,
        }
    }
}

pub(crate) fn extended_request(request_id: u32) -> OpenExtendedMiningChannel {
    OpenExtendedMiningChannel {
        request_id,
        user_identity: "miner.a".into(),
        nominal_hash_rate: 0.0,
        max_target: [0xff; 32],
        min_extranonce_size: 8,
    }
}

pub(crate) fn standard_request(request_id: u32) -> OpenStandardMiningChannel {
    OpenStandardMiningChannel {
        request_id,
        user_identity: "miner.b".into(),
        nominal_hash_rate: 0.0,
        max_target: [0xff; 32],
    }
}

pub(crate) fn work(tip: u8, template: u64, nbits: u32, now: Instant) -> Work {
    let (chain_tip, template) = self::template(tip, template, nbits);
    let outputs = [Output { value: template.value_remaining, script: Bytes::from_static(&[0x51]) }];
    let job = Job::new(Arc::new(chain_tip), Arc::new(template), b"/t/", &outputs).unwrap();
    Work::new(Arc::new(job), 0, TIP_TIME, now).unwrap()
}

/// The pool's own destination is OP_TRUE, and it takes no fee.
fn payout() -> Arc<Payout> {
    let script = Some("51".to_owned());
    let config = PayoutConfig { script, ..PayoutConfig::on(NetworkName::Regtest) };
    Arc::new(Payout::from_config(&config, [0; 4]).unwrap())
}

pub(crate) fn template(tip: u8, template: u64, nbits: u32) -> (ChainTip, Template) {
    let chain_tip = ChainTip {
        hash: [tip; 32],
        header_timestamp: TIP_TIME,
        nbits,
        target: Target::from_nbits(nbits).unwrap(),
    };
    let template = Template {
        id: template,
        version: 0x2000_0000,
        coinbase_version: 2,
        coinbase_prefix: Bytes::from_static(&[0x03, 0x40, 0xe2, 0x01]),
        coinbase_sequence: u32::MAX,
        value_remaining: 5_000_000_000 + template,
        outputs_count: 0,
        outputs: Bytes::new(),
        coinbase_locktime: 0,
        merkle_path: vec![[8; 32]],
    };
    (chain_tip, template)
}
