//! The state machine of one connection to the upstream.
//!
//! Noise handshake, SetupConnection, one extended channel, then jobs down and shares up. Unknown
//! messages are ignored (a client must survive a newer server); what breaks the protocol ends the
//! connection, and the program dials again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use mining::target::Target;
use wire::session::{PeerError, Session, Timers};
use wire::sv2::codec::{Bytes32, DecodeError, Str255};
use wire::sv2::frame::Frame;
use wire::sv2::link::{Link, LinkLimits};
use wire::sv2::mining::{self as messages, Mining, NewExtendedMiningJob, SubmitSharesExtended};
use wire::sv2::setup::{self, Setup, SetupConnection};

use super::future_jobs::FutureJobs;
use super::waiting::Waiting;
use super::{Command, Event, MinersTotal, UpstreamSettings};
use crate::bridge::extranonce::{ExtranonceSplit, ROLLABLE_BYTES_WANTED};
use crate::bridge::notify::{ChannelEpoch, ChannelTerms, Job, Tip};
use crate::bridge::submit::{UpstreamShare, Verdict};

/// Noise and SetupConnection together may take so long.
const SETUP_MAX: Duration = Duration::from_secs(10);
/// The answer to an open request may take so long.
const OPEN_MAX: Duration = Duration::from_secs(10);
/// An upstream that opens channels and gives no work is no upstream.
const FIRST_JOB_MAX: Duration = Duration::from_secs(30);
/// UpdateChannel is sent no more often (spec 5.3.7).
const UPDATE_INTERVAL: Duration = Duration::from_secs(1);
/// A change of the summed hashrate below this part of it is not worth an UpdateChannel.
const UPDATE_THRESHOLD: f64 = 0.05;

/// A job with 255 merkle hashes and two coinbase parts of 64 KiB fits.
const LIMITS: LinkLimits =
    LinkLimits { frame_bytes_max: 256 * 1024, output_bytes_max: 1024 * 1024 };

/// SetupConnection.Success: bit 0, no version bit may be changed (spec 5.3.1).
const REQUIRES_FIXED_VERSION: u32 = 1;

/// One connection to the upstream. `T` is what the program attaches to shares.
pub struct UpstreamSession<T> {
    settings: UpstreamSettings,
    link: Link,
    phase: Phase,
    timers: Timers<Timer>,
    events: VecDeque<Event<T>>,
    waiting: Waiting<T>,
    miners: MinersTotal,
    /// What the upstream was told last, and when.
    told: Option<(MinersTotal, Instant)>,
    next_request_id: u32,
    next_epoch: ChannelEpoch,
}

#[derive(Debug)]
enum Phase {
    /// Noise.
    Handshake,
    /// SetupConnection was sent.
    Setup,
    /// An open request was sent.
    Opening(OpenRequest),
    Open(Box<Channel>),
}

#[derive(Debug, Clone, Copy)]
struct OpenRequest {
    id: u32,
    /// Which of `ROLLABLE_BYTES_WANTED` it asks for.
    rollable_index: usize,
    /// True if a pool refused the honest 0.
    claims_initial_hashrate: bool,
}

#[derive(Debug)]
struct Channel {
    id: u32,
    group_id: u32,
    terms: ChannelTerms,
    tip: Option<Tip>,
    future_jobs: FutureJobs,
    has_work: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timer {
    Setup,
    Open,
    FirstJob,
    Update,
}

impl Channel {
    /// True if a message for `channel_id` is for this channel, by its own name or its group's.
    fn answers_to(&self, channel_id: u32) -> bool {
        channel_id == self.id || channel_id == self.group_id
    }
}

impl<T> UpstreamSession<T> {
    /// Starts with act 1 of the handshake. `seed` must be fresh randomness, `unix_now` is in
    /// seconds.
    pub fn new(
        settings: UpstreamSettings,
        miners: MinersTotal,
        (now, unix_now): (Instant, u32),
        seed: [u8; 32],
    ) -> Result<Self, PeerError> {
        let link = Link::client(settings.authority, LIMITS, seed, unix_now)?;
        let mut timers = Timers::default();
        timers.set(Timer::Setup, now + SETUP_MAX);
        Ok(Self {
            next_epoch: settings.first_epoch,
            settings,
            link,
            phase: Phase::Handshake,
            timers,
            events: VecDeque::new(),
            waiting: Waiting::default(),
            miners,
            told: None,
            next_request_id: 1,
        })
    }

    /// The tickets of all shares that have no verdict, when the connection is over.
    pub fn into_waiting(mut self) -> Vec<T> {
        self.waiting.drain().collect()
    }

    fn take_frame(&mut self, now: Instant, frame: &Frame) -> Result<(), PeerError> {
        let Frame { header, payload } = frame;
        if header.extension != 0 {
            return Ok(());
        }
        let taken = match setup::is_setup_message(header.message_type) {
            true => Setup::decode(header.message_type, payload)
                .map(|message| self.take_setup(now, message)),
            false => Mining::decode(header.message_type, payload)
                .map(|message| self.take_mining(now, message)),
        };
        match taken {
            Ok(result) => result,
            Err(DecodeError::UnknownMessage(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn take_setup(&mut self, now: Instant, message: Setup) -> Result<(), PeerError> {
        match message {
            Setup::SetupConnectionSuccess(success) if matches!(self.phase, Phase::Setup) => {
                if success.used_version != setup::VERSION {
                    let version = success.used_version;
                    return Err(PeerError::Incompatible(format!("protocol version {version}")));
                }
                if success.flags & REQUIRES_FIXED_VERSION != 0 {
                    return Err(PeerError::Incompatible("it forbids version rolling".into()));
                }
                self.timers.stop(Timer::Setup);
                self.open_channel(now, 0, false)
            }
            Setup::SetupConnectionError(error) => {
                Err(PeerError::Incompatible(error.error_code.display().into_owned()))
            }
            // The program dials the configured host again: another one would need the same
            // authority key and a failover policy.
            Setup::Reconnect(_) => Err(PeerError::Closed("the upstream asked to reconnect")),
            _ => Ok(()),
        }
    }

    fn take_mining(&mut self, now: Instant, message: Mining) -> Result<(), PeerError> {
        match message {
            Mining::OpenExtendedMiningChannelSuccess(success) => self.take_open(now, &success),
            Mining::OpenMiningChannelError(error) => self.take_open_error(now, &error),
            Mining::NewExtendedMiningJob(job) => self.take_job(job),
            Mining::SetNewPrevHash(tip) => self.take_prev_hash(now, &tip),
            Mining::SetTarget(message) => {
                if let Some(channel) = self.channel_for(message.channel_id) {
                    channel.terms.target = Target::from_le_bytes(message.maximum_target);
                }
                Ok(())
            }
            Mining::SetExtranoncePrefix(message) => self.take_prefix(&message),
            Mining::SetGroupChannel(message) => {
                if let Phase::Open(channel) = &mut self.phase
                    && message.channel_ids.as_slice().contains(&channel.id)
                {
                    channel.group_id = message.group_channel_id;
                }
                Ok(())
            }
            Mining::CloseChannel(close) => {
                self.take_close(now, close.channel_id, &close.reason_code)
            }
            Mining::SubmitSharesSuccess(success) => {
                if self.channel_for(success.channel_id).is_some() {
                    self.accept_up_to(success.last_sequence_number);
                }
                Ok(())
            }
            Mining::SubmitSharesError(error) => {
                if self.channel_for(error.channel_id).is_some()
                    && let Some(ticket) = self.waiting.take(error.sequence_number)
                {
                    let verdict = Verdict::Rejected(error.error_code);
                    self.events.push_back(Event::Verdict { ticket, verdict });
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn channel_for(&mut self, channel_id: u32) -> Option<&mut Channel> {
        match &mut self.phase {
            Phase::Open(channel) if channel.answers_to(channel_id) => Some(channel),
            _ => None,
        }
    }

    fn open_channel(
        &mut self,
        now: Instant,
        rollable_index: usize,
        claims_initial_hashrate: bool,
    ) -> Result<(), PeerError> {
        let Some(rollable) = ROLLABLE_BYTES_WANTED.get(rollable_index) else {
            return Err(PeerError::Incompatible("it has no extranonce for a translator".into()));
        };
        let request =
            OpenRequest { id: self.next_request_id, rollable_index, claims_initial_hashrate };
        self.next_request_id = request.id.wrapping_add(1);
        let hashrate = match claims_initial_hashrate {
            true => self.settings.initial_hashrate,
            false => self.miners.hashrate,
        };
        self.link.send(&messages::OpenExtendedMiningChannel {
            request_id: request.id,
            user_identity: Str255::truncated(&self.settings.user_identity),
            nominal_hash_rate: single(hashrate),
            max_target: Target::MAX.to_le_bytes(),
            min_extranonce_size: *rollable,
        })?;
        self.told = Some((self.miners, now));
        self.timers.set(Timer::Open, now + OPEN_MAX);
        self.phase = Phase::Opening(request);
        Ok(())
    }

    fn take_open(
        &mut self,
        now: Instant,
        success: &messages::OpenExtendedMiningChannelSuccess,
    ) -> Result<(), PeerError> {
        let Phase::Opening(request) = self.phase else {
            return Ok(());
        };
        if request.id != success.request_id {
            return Ok(());
        }
        let split = ExtranonceSplit::new(success.extranonce_prefix, success.extranonce_size)
            .map_err(|error| PeerError::Incompatible(error.to_string()))?;
        let terms = ChannelTerms {
            epoch: self.next_epoch,
            split,
            target: Target::from_le_bytes(success.target),
        };
        self.next_epoch = ChannelEpoch(self.next_epoch.0 + 1);
        self.phase = Phase::Open(Box::new(Channel {
            id: success.channel_id,
            group_id: success.group_channel_id,
            terms,
            tip: None,
            future_jobs: FutureJobs::default(),
            has_work: false,
        }));
        self.timers.stop(Timer::Open);
        self.timers.set(Timer::FirstJob, now + FIRST_JOB_MAX);
        self.events.push_back(Event::ChannelOpened { channel: success.channel_id, terms });
        self.tell_miners(now)
    }

    fn take_open_error(
        &mut self,
        now: Instant,
        error: &messages::OpenMiningChannelError,
    ) -> Result<(), PeerError> {
        let Phase::Opening(request) = self.phase else {
            return Ok(());
        };
        let OpenRequest { id, rollable_index, claims_initial_hashrate } = request;
        if id != error.request_id {
            return Ok(());
        }
        match error.error_code.as_str() {
            Some(
                "unsupported-min-extranonce-size" | messages::ERROR_MIN_EXTRANONCE_SIZE_TOO_LARGE,
            ) => self.open_channel(now, rollable_index + 1, claims_initial_hashrate),
            Some(messages::ERROR_INVALID_NOMINAL_HASHRATE) if !claims_initial_hashrate => {
                self.open_channel(now, rollable_index, true)
            }
            _ => Err(PeerError::Incompatible(error.error_code.display().into_owned())),
        }
    }

    fn take_job(&mut self, job: NewExtendedMiningJob) -> Result<(), PeerError> {
        let Some(channel) = self.channel_for(job.channel_id) else {
            return Ok(());
        };
        if !job.version_rolling_allowed {
            return Err(PeerError::Incompatible("it sent a job without version rolling".into()));
        }
        match (job.min_ntime, channel.tip) {
            (None, _) => {
                channel.future_jobs.keep(job, channel.terms.split);
                Ok(())
            }
            (Some(_), Some(tip)) => {
                let terms = channel.terms;
                self.start_job(Job::new(job, tip, terms));
                Ok(())
            }
            (Some(_), None) => Err(PeerError::Misbehaved("a job to mine before any prev hash")),
        }
    }

    fn take_prev_hash(
        &mut self,
        now: Instant,
        message: &messages::SetNewPrevHash,
    ) -> Result<(), PeerError> {
        let Some(channel) = self.channel_for(message.channel_id) else {
            return Ok(());
        };
        let Some((job, split)) = channel.future_jobs.activate(message.job_id) else {
            return Err(PeerError::Misbehaved("a prev hash for a job that was not sent ahead"));
        };
        let Some(tip) = Tip::new(message, now) else {
            return Err(PeerError::Misbehaved("nBits that no hash can meet"));
        };
        channel.tip = Some(tip);
        // The target in force now holds for jobs that were sent ahead (spec 5.3.21).
        let terms = ChannelTerms { split, ..channel.terms };
        self.start_job(Job::new(job, tip, terms));
        Ok(())
    }

    fn start_job(&mut self, job: Job) {
        if let Phase::Open(channel) = &mut self.phase {
            channel.has_work = true;
        }
        self.timers.stop(Timer::FirstJob);
        self.events.push_back(Event::Job(Arc::new(job)));
    }

    fn take_prefix(&mut self, message: &messages::SetExtranoncePrefix) -> Result<(), PeerError> {
        let Phase::Open(channel) = &mut self.phase else {
            return Ok(());
        };
        if channel.id != message.channel_id {
            return Ok(());
        }
        let (old, new): (&ExtranonceSplit, Bytes32) =
            (&channel.terms.split, message.extranonce_prefix);
        if old.prefix().len() != new.as_slice().len() {
            return Err(PeerError::Misbehaved("an extranonce prefix of another length"));
        }
        channel.terms.split = old.with_prefix(new);
        Ok(())
    }

    fn take_close(
        &mut self,
        now: Instant,
        channel_id: u32,
        reason: &Str255,
    ) -> Result<(), PeerError> {
        let Some(channel) = self.channel_for(channel_id) else {
            return Ok(());
        };
        let had_work = channel.has_work;
        self.refuse_waiting();
        let reason = reason.display().into_owned();
        self.events.push_back(Event::ChannelClosed { reason });
        self.timers.stop(Timer::FirstJob);
        // Whoever closes what he has just opened is asked again with patience: by a new connection.
        if !had_work {
            return Err(PeerError::Closed("the upstream closed a channel without work"));
        }
        self.open_channel(now, 0, false)
    }

    fn refuse_waiting(&mut self) {
        let verdict = |ticket| Event::Verdict { ticket, verdict: Verdict::UpstreamLost };
        self.events.extend(self.waiting.drain().map(verdict));
    }

    fn accept_up_to(&mut self, sequence: u32) {
        while let Some(ticket) = self.waiting.pop_accepted(sequence) {
            let verdict = Verdict::Accepted;
            self.events.push_back(Event::Verdict { ticket, verdict });
        }
    }

    fn submit(&mut self, now: Instant, share: UpstreamShare, ticket: T) -> Result<(), PeerError> {
        let refuse = |ticket, verdict| Event::Verdict { ticket, verdict };
        let Phase::Open(channel) = &self.phase else {
            self.events.push_back(refuse(ticket, Verdict::UpstreamLost));
            return Ok(());
        };
        if channel.terms.epoch != share.epoch {
            self.events.push_back(refuse(ticket, Verdict::UpstreamLost));
            return Ok(());
        }
        let deadline = now + self.settings.share_answer_max;
        let sequence_number = match self.waiting.push(ticket, deadline) {
            Ok(sequence) => sequence,
            Err(ticket) => {
                self.events.push_back(refuse(ticket, Verdict::TooManyWaiting));
                return Ok(());
            }
        };
        self.link.send(&SubmitSharesExtended {
            channel_id: channel.id,
            sequence_number,
            job_id: share.job_id,
            nonce: share.nonce,
            ntime: share.ntime,
            version: share.version,
            extranonce: share.extranonce,
        })
    }

    /// Sends UpdateChannel if the miners changed and the last one is old enough; else arms a timer.
    fn tell_miners(&mut self, now: Instant) -> Result<(), PeerError> {
        let Phase::Open(channel) = &self.phase else {
            return Ok(());
        };
        if let Some((told, at)) = self.told {
            if !is_worth_telling(told, self.miners) {
                return Ok(());
            }
            if now < at + UPDATE_INTERVAL {
                self.timers.set(Timer::Update, at + UPDATE_INTERVAL);
                return Ok(());
            }
        }
        self.told = Some((self.miners, now));
        self.link.send(&messages::UpdateChannel {
            channel_id: channel.id,
            nominal_hash_rate: single(self.miners.hashrate),
            maximum_target: Target::MAX.to_le_bytes(),
        })
    }

    fn expire(&mut self, timer: Timer, now: Instant) -> Result<(), PeerError> {
        match timer {
            Timer::Setup => Err(PeerError::TimedOut("handshake and SetupConnection")),
            Timer::Open => Err(PeerError::TimedOut("the answer to OpenExtendedMiningChannel")),
            Timer::FirstJob => Err(PeerError::TimedOut("the first job")),
            Timer::Update => self.tell_miners(now),
        }
    }
}

impl<T> Session for UpstreamSession<T> {
    type Command = Command<T>;
    type Event = Event<T>;

    fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) -> Result<(), PeerError> {
        self.link.receive(bytes)?;
        if matches!(self.phase, Phase::Handshake) && self.link.is_open() {
            self.link.send(&SetupConnection::of_program(
                setup::PROTOCOL_MINING,
                setup::REQUIRES_VERSION_ROLLING,
                &self.settings.host,
                self.settings.port,
                "translator-v1",
            ))?;
            self.phase = Phase::Setup;
        }
        while let Some(frame) = self.link.next_frame()? {
            self.take_frame(now, &frame)?;
        }
        Ok(())
    }

    fn handle_command(&mut self, now: Instant, command: Command<T>) -> Result<(), PeerError> {
        match command {
            Command::Submit { share, ticket } => self.submit(now, share, ticket),
            Command::Miners(miners) => {
                self.miners = miners;
                self.tell_miners(now)
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), PeerError> {
        while let Some(ticket) = self.waiting.pop_expired(now) {
            let verdict = Verdict::Unanswered;
            self.events.push_back(Event::Verdict { ticket, verdict });
        }
        while let Some(timer) = self.timers.pop_expired(now) {
            self.expire(timer, now)?;
        }
        Ok(())
    }

    fn poll_transmit(&mut self, out: &mut BytesMut) -> bool {
        self.link.poll_transmit(out)
    }

    fn poll_event(&mut self) -> Option<Event<T>> {
        self.events.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        [self.timers.next(), self.waiting.next_deadline()].into_iter().flatten().min()
    }
}

fn is_worth_telling(told: MinersTotal, now: MinersTotal) -> bool {
    let change = (now.hashrate - told.hashrate).abs();
    now.miners != told.miners || change > told.hashrate * UPDATE_THRESHOLD
}

/// A hashrate as SV2 writes it.
#[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "an F32 on the wire")]
fn single(hashrate: f64) -> f32 {
    hashrate as f32
}
