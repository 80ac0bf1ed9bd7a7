//! The state machine of one connection to the upstream.
//!
//! Noise handshake, SetupConnection, one extended channel, then jobs down and shares up; and more
//! channels where teams of miners have their own. Unknown
//! messages are ignored (a client must survive a newer server); what breaks the protocol ends the
//! connection, and the program dials again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use mining::target::Target;
use wire::session::{PeerError, Session, Timers};
use wire::sv2::codec::{DecodeError, Str255};
use wire::sv2::frame::Frame;
use wire::sv2::link::{Link, LinkLimits};
use wire::sv2::mining::{self as messages, Mining};
use wire::sv2::setup::{self, Setup, SetupConnection};

use super::channel::Channel;
use super::open::OpenRequest;
use super::teams::TeamChannels;
use super::waiting::Waiting;
use super::{Command, Event, MinersTotal, UpstreamSettings};
use crate::bridge::notify::ChannelEpoch;
use crate::bridge::submit::Verdict;

/// Noise and SetupConnection together may take so long.
const SETUP_MAX: Duration = Duration::from_secs(10);
/// An upstream that closes its channel so often is asked for one by a new connection, which takes
/// patience; before that at once.
pub(super) const CLOSES_MAX: u32 = 3;
/// UpdateChannel is sent no more often (spec 5.3.7).
pub(super) const UPDATE_INTERVAL: Duration = Duration::from_secs(1);
/// While the miners are the same, a change of their summed hashrate below this part of it is luck.
const UPDATE_THRESHOLD: f64 = 0.2;

/// A job with 255 merkle hashes and two coinbase parts of 64 KiB fits.
const LIMITS: LinkLimits =
    LinkLimits { frame_bytes_max: 256 * 1024, output_bytes_max: 1024 * 1024 };

/// SetupConnection.Success: bit 0, no version bit may be changed (spec 5.3.1).
const REQUIRES_FIXED_VERSION: u32 = 1;

/// One connection to the upstream. `T` is what the program attaches to shares.
pub struct UpstreamSession<T> {
    pub(super) settings: UpstreamSettings,
    pub(super) link: Link,
    pub(super) phase: Phase,
    pub(super) timers: Timers<Timer>,
    pub(super) events: VecDeque<Event<T>>,
    pub(super) waiting: Waiting<T>,
    pub(super) teams: TeamChannels<T>,
    pub(super) miners: MinersTotal,
    /// What the upstream was told last, and when.
    pub(super) told: Option<(MinersTotal, Instant)>,
    pub(super) next_request_id: u32,
    pub(super) next_epoch: ChannelEpoch,
    /// True if each share names its worker.
    pub(super) names_workers: bool,
    /// When the upstream was heard last.
    pub(super) heard: Instant,
    /// Channels that the upstream closed.
    closes: u32,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// Noise.
    Handshake,
    /// SetupConnection was sent.
    Setup,
    /// An open request was sent.
    Opening(OpenRequest),
    Open(Box<Channel>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timer {
    Setup,
    Open,
    FirstJob,
    Update,
    /// Held work is given out at the target that there is.
    Release,
    /// Whether the upstream is still alive is to be looked at.
    Silence,
    /// It was asked for a sign of life.
    Answer,
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
        let link = Link::client(settings.authority, LIMITS, seed, unix_now);
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
            teams: TeamChannels::default(),
            miners,
            told: None,
            next_request_id: 1,
            names_workers: false,
            heard: now,
            closes: 0,
        })
    }

    /// True if the upstream wants to know the worker of each share.
    pub fn names_workers(&self) -> bool {
        self.names_workers
    }

    /// True from SetupConnection.Success until the first channel is open.
    pub fn waits_for_first_channel(&self) -> bool {
        matches!(self.phase, Phase::Opening(_)) && self.next_epoch == self.settings.first_epoch
    }

    fn take_frame(&mut self, now: Instant, frame: &Frame) -> Result<(), PeerError> {
        let Frame { header, payload } = frame;
        if header.extension != 0 {
            return self.take_extension(frame);
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
                self.ask_for_extensions()?;
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
            Mining::NewExtendedMiningJob(job) => self.take_job(now, job),
            Mining::SetNewPrevHash(tip) => self.take_prev_hash(now, &tip),
            Mining::SetTarget(message) => {
                let target = Target::from_le_bytes(message.maximum_target);
                self.take_target(message.channel_id, target);
                self.teams.change(message.channel_id, |channel| channel.terms.target = target);
                Ok(())
            }
            Mining::SetExtranoncePrefix(message) => self.take_prefix(&message),
            Mining::SetGroupChannel(message) => {
                if let Phase::Open(channel) = &mut self.phase
                    && message.channel_ids.as_slice().contains(&channel.id)
                {
                    channel.group_id = message.group_channel_id;
                }
                self.teams.regroup(message.channel_ids.as_slice(), message.group_channel_id);
                Ok(())
            }
            Mining::CloseChannel(close) => {
                let reason = close.reason_code.display();
                self.take_team_close(now, close.channel_id, &reason)?;
                self.take_close(now, close.channel_id, &close.reason_code)
            }
            Mining::SubmitSharesSuccess(success) => {
                self.accept_up_to(success.channel_id, success.last_sequence_number);
                Ok(())
            }
            Mining::SubmitSharesError(error) => {
                let waiting = self.waiting_of(error.channel_id);
                if let Some(ticket) = waiting.and_then(|all| all.take(error.sequence_number)) {
                    let verdict = Verdict::Rejected(error.error_code);
                    self.events.push_back(Event::Verdict { ticket, verdict });
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn channel_for(&mut self, channel_id: u32) -> Option<&mut Channel> {
        match &mut self.phase {
            Phase::Open(channel) if channel.answers_to(channel_id) => Some(channel),
            _ => None,
        }
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
        let had_work = channel.job.is_some();
        self.refuse_waiting();
        let reason = reason.display().into_owned();
        self.events.push_back(Event::ChannelClosed { reason });
        for timer in [Timer::FirstJob, Timer::Release] {
            self.timers.stop(timer);
        }
        // Whoever closes what he has just opened is asked again with patience: by a new connection.
        if !had_work {
            return Err(PeerError::Closed("the upstream closed a channel without work"));
        }
        self.closes += 1;
        if self.closes >= CLOSES_MAX {
            return Err(PeerError::Closed("the upstream closes one channel after the other"));
        }
        self.open_channel(now, 0, false)
    }

    /// Sends UpdateChannel if the miners changed and the last one is old enough; else arms a timer.
    pub(super) fn tell_miners(&mut self, now: Instant) -> Result<(), PeerError> {
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
        let channel_id = channel.id;
        self.expect_target(now);
        self.link.send(&messages::UpdateChannel {
            channel_id,
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
            Timer::Release => {
                self.release();
                Ok(())
            }
            Timer::Silence => self.look_at_silence(now),
            Timer::Answer => Err(PeerError::TimedOut("a sign of life: it seems to be frozen")),
        }
    }
}

impl<T> Session for UpstreamSession<T> {
    type Command = Command<T>;
    type Event = Event<T>;

    fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) -> Result<(), PeerError> {
        self.link.receive(bytes)?;
        self.heard = now;
        self.timers.stop(Timer::Answer);
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
            Command::Submit { share, worker, ticket } => self.submit(now, share, &worker, ticket),
            Command::Miners(miners) => {
                self.miners = miners;
                self.tell_miners(now)
            }
            Command::Team { team, wanted } => self.take_team(now, team, wanted),
            Command::NoTeams => self.forget_teams(),
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
        self.look_at_teams(now)
    }

    fn poll_transmit(&mut self, out: &mut BytesMut) -> bool {
        self.link.poll_transmit(out)
    }

    fn poll_event(&mut self) -> Option<Event<T>> {
        self.events.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let own = [self.timers.next(), self.waiting.next_deadline(), self.teams.next_alarm()];
        own.into_iter().flatten().min()
    }
}

/// True if the upstream should hear of it.
pub(super) fn is_worth_telling(told: MinersTotal, now: MinersTotal) -> bool {
    let change = (now.hashrate - told.hashrate).abs();
    now.miners != told.miners || change > told.hashrate * UPDATE_THRESHOLD
}

/// A hashrate as SV2 writes it.
#[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "an F32 on the wire")]
pub(super) fn single(hashrate: f64) -> f32 {
    hashrate as f32
}
