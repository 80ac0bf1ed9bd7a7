//! An SV2 pool that does what a test tells it, on the server's end of a link.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rand::SeedableRng;
use rand::rngs::StdRng;
use translator_v1::bridge::notify::ChannelEpoch;
use translator_v1::teams::Channels;
use translator_v1::upstream::promise::Promise;
use translator_v1::upstream::session::UpstreamSession;
use translator_v1::upstream::{Command, Event, MinersTotal, UpstreamSettings};
use wire::session::{PeerError, Session};
use wire::sv2::codec::{Blob, Bytes32, List};
use wire::sv2::extensions::{FIELD_USER_IDENTITY, WORKER_HASHRATE_TRACKING, find_tlv};
use wire::sv2::frame::Frame;
use wire::sv2::keys::AuthoritySecret;
use wire::sv2::link::{Link, LinkLimits};
use wire::sv2::message::Message;
use wire::sv2::mining::{
    NewExtendedMiningJob, OpenExtendedMiningChannel, OpenExtendedMiningChannelSuccess,
    SetNewPrevHash, SubmitSharesExtended,
};
use wire::sv2::noise::ServerIdentity;
use wire::sv2::setup::{SetupConnection, SetupConnectionSuccess};

use crate::device::HARD_NBITS;

pub(crate) const LIMITS: LinkLimits =
    LinkLimits { frame_bytes_max: 65_536, output_bytes_max: 1 << 20 };
/// When the certificates of these tests were made.
const UNIX_NOW: u32 = 1_800_000_000;

/// The channel that the pool opens.
pub(crate) const CHANNEL: u32 = 7;
/// Its group.
pub(crate) const GROUP: u32 = 3;

/// An upstream session, the pool that it talks to, and the time.
pub(crate) struct Pool {
    pub(crate) session: UpstreamSession<u32>,
    pub(crate) now: Instant,
    pub(crate) ended: Option<PeerError>,
    pub(crate) events: VecDeque<Event<u32>>,
    /// How many deadlines have passed.
    pub(crate) deadlines: u32,
    link: Link,
    frames: VecDeque<Frame>,
}

impl Pool {
    /// The client's key is right or wrong; miners are as given.
    pub(crate) fn dialled(miners: MinersTotal, knows_the_key: bool) -> Self {
        Self::dialled_by(miners, knows_the_key, false)
    }

    /// Connected and set up by a client that asks for extensions.
    pub(crate) fn that_names_workers() -> Self {
        let mut pool = Self::dialled_by(MinersTotal::default(), true, true);
        let _: SetupConnection = pool.take();
        pool.send(&SetupConnectionSuccess { used_version: 2, flags: 0 });
        pool
    }

    /// The worker that the next share names.
    pub(crate) fn take_named(&mut self) -> Option<String> {
        let frame = self.frames.pop_front().expect("a share");
        let (_, appended) = SubmitSharesExtended::with_appended(&frame.payload).unwrap();
        let name = find_tlv(appended, WORKER_HASHRATE_TRACKING, FIELD_USER_IDENTITY).unwrap();
        name.map(|name| String::from_utf8(name.to_vec()).unwrap())
    }

    fn dialled_by(miners: MinersTotal, knows_the_key: bool, names_workers: bool) -> Self {
        Self::dialled_with(miners, knows_the_key, (names_workers, Channels::One, None))
    }

    /// Connected and set up by a client whose miners have channels of their own.
    pub(crate) fn with_teams() -> Self {
        let settings = (false, Channels::PerMiner, None);
        let mut pool = Self::dialled_with(MinersTotal::default(), true, settings);
        let _: SetupConnection = pool.take();
        pool.send(&SetupConnectionSuccess { used_version: 2, flags: 0 });
        pool
    }

    /// With an open channel to a client that was promised something.
    pub(crate) fn that_promised(promise: Promise) -> Self {
        let settings = (false, Channels::One, Some(promise));
        let mut pool = Self::dialled_with(MinersTotal::default(), true, settings);
        let _: SetupConnection = pool.take();
        pool.send(&SetupConnectionSuccess { used_version: 2, flags: 0 });
        let request: OpenExtendedMiningChannel = pool.take();
        pool.send(&success(request.request_id, [0xff; 32], 10));
        pool
    }

    fn dialled_with(
        miners: MinersTotal,
        knows_the_key: bool,
        (names_workers, channels, promise): (bool, Channels, Option<Promise>),
    ) -> Self {
        let secret = AuthoritySecret::generate(&mut StdRng::seed_from_u64(1));
        let other = AuthoritySecret::generate(&mut StdRng::seed_from_u64(2));
        let expected = if knows_the_key { secret.public() } else { other.public() };
        let settings = UpstreamSettings {
            host: "pool.example".to_owned(),
            port: 34_254,
            authority: Some(expected),
            user_identity: "farm".to_owned(),
            initial_hashrate: 5e9,
            share_answer_max: Duration::from_secs(30),
            channels,
            promise,
            names_workers,
            first_epoch: ChannelEpoch(100),
        };
        let now = Instant::now();
        let session = UpstreamSession::new(settings, miners, (now, UNIX_NOW), [1; 32]).unwrap();
        let identity = ServerIdentity::certified(&secret, 3600, [3; 32], UNIX_NOW);
        let mut pool = Self {
            session,
            now,
            ended: None,
            events: VecDeque::new(),
            deadlines: 0,
            link: Link::server(Arc::new(identity), LIMITS, [2; 32]),
            frames: VecDeque::new(),
        };
        pool.exchange();
        pool
    }

    /// Connected and set up; an open request is on the table.
    pub(crate) fn set_up() -> Self {
        let mut pool = Self::dialled(MinersTotal::default(), true);
        let setup: SetupConnection = pool.take();
        let flags = setup.flags;
        assert_eq!(flags, wire::sv2::setup::REQUIRES_VERSION_ROLLING);
        pool.send(&SetupConnectionSuccess { used_version: 2, flags: 0 });
        pool
    }

    /// With an open channel of 10 rollable bytes behind the prefix e1e2.
    pub(crate) fn open(target: [u8; 32]) -> Self {
        let mut pool = Self::set_up();
        let request: OpenExtendedMiningChannel = pool.take();
        pool.send(&success(request.request_id, target, 10));
        pool
    }

    /// With an open channel and a job 1 being mined on tip a1.
    pub(crate) fn working(target: [u8; 32]) -> Self {
        let mut pool = Self::open(target);
        pool.send(&job(1, None));
        pool.send(&prev_hash(1, 0xa1, HARD_NBITS));
        pool
    }

    pub(crate) fn send<M: Message>(&mut self, message: &M) {
        self.link.send(message).unwrap();
        self.exchange();
    }

    pub(crate) fn command(&mut self, command: Command<u32>) {
        let now = self.now;
        let step = self.session.handle_command(now, command);
        self.ended = step.err().or_else(|| self.ended.take());
        self.exchange();
    }

    /// The next message of the session, which must be of this type.
    pub(crate) fn take<M: Message>(&mut self) -> M {
        let frame = self.frames.pop_front().expect("a message");
        assert_eq!(frame.header.message_type, M::MESSAGE_TYPE, "expected {}", M::NAME);
        assert_eq!(frame.header.channel_msg, M::CHANNEL_MSG);
        M::from_payload(&frame.payload).unwrap()
    }

    /// True if the session has said nothing more.
    pub(crate) fn is_quiet(&self) -> bool {
        self.frames.is_empty()
    }

    /// Lets time pass, deadlines in their order.
    pub(crate) fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(at) = self.session.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.deadlines += 1;
            if let Err(error) = self.session.handle_timeout(self.now) {
                self.ended = Some(error);
                break;
            }
            self.exchange();
        }
        self.now = end;
        self.collect_events();
    }

    /// The verdicts that came, by ticket.
    pub(crate) fn verdicts(&mut self) -> Vec<(u32, translator_v1::bridge::submit::Verdict)> {
        let events = std::mem::take(&mut self.events);
        let verdict = |event| match event {
            Event::Verdict { ticket, verdict } => Some((ticket, verdict)),
            _ => None,
        };
        events.into_iter().filter_map(verdict).collect()
    }

    fn collect_events(&mut self) {
        self.events.extend(std::iter::from_fn(|| self.session.poll_event()));
    }

    /// Carries bytes both ways until nobody has more to say.
    fn exchange(&mut self) {
        loop {
            let (mut up, mut down) = (BytesMut::new(), BytesMut::new());
            let moved = self.session.poll_transmit(&mut up) | self.link.poll_transmit(&mut down);
            if !moved {
                break;
            }
            self.link.receive(&up).unwrap();
            while let Some(frame) = self.link.next_frame().unwrap() {
                self.frames.push_back(frame);
            }
            if !down.is_empty() && self.ended.is_none() {
                self.ended = self.session.handle_bytes(self.now, &down).err();
            }
        }
        self.collect_events();
    }
}

/// The answer to an open request.
pub(crate) fn success(
    request_id: u32,
    target: [u8; 32],
    extranonce_size: u16,
) -> OpenExtendedMiningChannelSuccess {
    OpenExtendedMiningChannelSuccess {
        request_id,
        channel_id: CHANNEL,
        target,
        extranonce_size,
        extranonce_prefix: Bytes32::new(&[0xe1, 0xe2]).unwrap(),
        group_channel_id: GROUP,
    }
}

/// A job for the group whose coinbase pays all to `address`.
pub(crate) fn job_that_pays(address: &str, id: u32) -> NewExtendedMiningJob {
    let address: bitcoin::Address<bitcoin::address::NetworkUnchecked> = address.parse().unwrap();
    let script = address.assume_checked().script_pubkey();
    let coinbase_start =
        |input: &[u8]| [&[2, 0, 0, 0, 1][..], &[0; 32], &[0xff; 4], input].concat();
    // A script of a height and the extranonce; then one output.
    let prefix = coinbase_start(&[16, 3, 1, 2, 3]);
    let output =
        [&50_u64.to_le_bytes()[..], &[script.len().try_into().unwrap()], script.as_bytes()];
    let suffix = [&[0xff; 4][..], &[1], &output.concat(), &[0; 4]].concat();
    NewExtendedMiningJob {
        coinbase_tx_prefix: Blob::new(prefix).unwrap(),
        coinbase_tx_suffix: Blob::new(suffix).unwrap(),
        ..job(id, None)
    }
}

/// A job for the group, to be mined at once from `min_ntime`, or later.
pub(crate) fn job(id: u32, min_ntime: Option<u32>) -> NewExtendedMiningJob {
    NewExtendedMiningJob {
        channel_id: GROUP,
        job_id: id,
        min_ntime,
        version: 0x3000_0000,
        version_rolling_allowed: true,
        merkle_path: List::new(vec![[0x66; 32]]).unwrap(),
        coinbase_tx_prefix: Blob::new(vec![u8::try_from(id).unwrap(); 41]).unwrap(),
        coinbase_tx_suffix: Blob::new(vec![0x55; 90]).unwrap(),
    }
}

/// A tip on which job `id` is mined.
pub(crate) fn prev_hash(id: u32, hash: u8, nbits: u32) -> SetNewPrevHash {
    SetNewPrevHash {
        channel_id: GROUP,
        job_id: id,
        prev_hash: [hash; 32],
        min_ntime: crate::device::NTIME,
        nbits,
    }
}
