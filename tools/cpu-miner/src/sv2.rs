//! The device's side of the Mining Protocol (spec chapter 5): handshake, one channel, shares.
//!
//! Free of I/O. What it does not know (extensions, other channels' messages) it leaves alone; what
//! the protocol forbids ends the session.

mod channel;

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tracing::debug;
use wire::session::{PeerError, Session, Timers};
use wire::sv2::codec::{DecodeError, Str255};
use wire::sv2::frame::Frame;
use wire::sv2::keys::Sv2Url;
use wire::sv2::link::{Link, LinkLimits};
use wire::sv2::mining::{
    Mining, OpenExtendedMiningChannel, OpenExtendedMiningChannelSuccess, OpenStandardMiningChannel,
    OpenStandardMiningChannelSuccess,
};
use wire::sv2::setup::{
    PROTOCOL_MINING, REQUIRES_STANDARD_JOBS, Setup, SetupConnection, SetupConnectionSuccess,
    VERSION, is_setup_message,
};

use self::channel::{Channel, ChannelTerms};
use crate::pool::Event;
use crate::work::{EXTRANONCE_BYTES_MAX, Share};

/// How long the pool may take from the first byte to the open channel.
const OPENING_MAX: Duration = Duration::from_secs(15);
/// A pool that sends nothing for so long is gone; firmware waits as long.
const SILENCE_MAX: Duration = Duration::from_secs(180);
/// A job of the largest coinbase parts and merkle path fits.
const LIMITS: LinkLimits = LinkLimits { frame_bytes_max: 160 * 1024, output_bytes_max: 256 * 1024 };
/// The only request of a connection.
const REQUEST_ID: u32 = 1;
/// Rollable extranonce that is asked for: what a CPU cannot use up.
const EXTRANONCE_BYTES_WANTED: u16 = 4;
/// `SetupConnection.Success`: bit 0, the version must not be rolled (spec 5.3.1).
const REQUIRES_FIXED_VERSION: u32 = 1;
/// `SetupConnection.Success`: bit 1, there are no standard channels (spec 5.3.1).
const REQUIRES_EXTENDED_CHANNELS: u32 = 1 << 1;

/// Which channel the device opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ChannelKind {
    /// Jobs with a fixed merkle root.
    Standard,
    /// Jobs with a coinbase to roll.
    Extended,
}

impl fmt::Display for ChannelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Standard => "standard",
            Self::Extended => "extended",
        })
    }
}

/// What the device says of itself.
#[derive(Debug, Clone)]
pub struct Device {
    /// Where it connects to, and the key to check.
    pub url: Sv2Url,
    /// Which channel it opens.
    pub kind: ChannelKind,
    /// Its user identity.
    pub user: String,
    /// Its hashes per second.
    pub nominal_hash_rate: f32,
}

/// What a session cannot know by itself.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    /// Fresh randomness.
    pub seed: [u8; 32],
    /// Seconds since 1970, for the pool's certificate.
    pub unix_now: u32,
    /// The monotonic time.
    pub now: Instant,
    /// Counts the connections of this process.
    pub connection: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timer {
    Opening,
    Silence,
}

enum State {
    Handshake,
    SettingUp,
    OpeningChannel { fixed_version: bool },
    Mining(Box<Channel>),
}

/// One connection to a pool.
pub struct Sv2Session {
    device: Device,
    link: Link,
    state: State,
    timers: Timers<Timer>,
    events: VecDeque<Event>,
    connection: u32,
}

impl Sv2Session {
    /// Starts the handshake.
    pub fn new(device: Device, start: Start) -> Result<Self, PeerError> {
        let key = device.url.authority_key;
        let link = Link::client(key, LIMITS, start.seed, start.unix_now);
        let mut timers = Timers::default();
        timers.set(Timer::Opening, start.now + OPENING_MAX);
        Ok(Self {
            device,
            link,
            state: State::Handshake,
            timers,
            events: VecDeque::new(),
            connection: start.connection,
        })
    }

    fn set_up(&mut self) -> Result<(), PeerError> {
        let flags = match self.device.kind {
            ChannelKind::Standard => REQUIRES_STANDARD_JOBS,
            ChannelKind::Extended => 0,
        };
        let url = &self.device.url;
        let message =
            SetupConnection::of_program(PROTOCOL_MINING, flags, &url.host, url.port, "cpu-miner");
        self.state = State::SettingUp;
        self.link.send(&message)
    }

    fn take_frame(&mut self, now: Instant, frame: &Frame) -> Result<(), PeerError> {
        if frame.header.extension != 0 {
            return Ok(());
        }
        let message_type = frame.header.message_type;
        if is_setup_message(message_type) {
            return self.take_setup(Setup::decode(message_type, &frame.payload)?);
        }
        match Mining::decode(message_type, &frame.payload) {
            Ok(message) => self.take_mining(now, message),
            Err(DecodeError::UnknownMessage(unknown)) => {
                debug!(message_type = unknown, "unknown message ignored");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn take_setup(&mut self, message: Setup) -> Result<(), PeerError> {
        match (message, &self.state) {
            (Setup::SetupConnectionSuccess(success), State::SettingUp) => {
                self.open_channel(&success)
            }
            (Setup::SetupConnectionError(error), State::SettingUp) => {
                Err(refused("the connection", &error.error_code))
            }
            (Setup::Reconnect(_), _) => Err(PeerError::Closed("the pool asked to reconnect")),
            (Setup::ChannelEndpointChanged(_), _) => Ok(()),
            _ => Err(PeerError::Misbehaved("a setup message out of turn")),
        }
    }

    fn open_channel(&mut self, success: &SetupConnectionSuccess) -> Result<(), PeerError> {
        if success.used_version != VERSION {
            return Err(PeerError::Misbehaved("a protocol version that was not offered"));
        }
        let fixed_version = success.flags & REQUIRES_FIXED_VERSION != 0;
        self.state = State::OpeningChannel { fixed_version };
        let user_identity = Str255::truncated(&self.device.user);
        let (nominal_hash_rate, max_target) = (self.device.nominal_hash_rate, [0xff; 32]);
        if self.device.kind == ChannelKind::Extended {
            return self.link.send(&OpenExtendedMiningChannel {
                request_id: REQUEST_ID,
                user_identity,
                nominal_hash_rate,
                max_target,
                min_extranonce_size: EXTRANONCE_BYTES_WANTED,
            });
        }
        if success.flags & REQUIRES_EXTENDED_CHANNELS != 0 {
            let remedy = "the pool has no standard channels; use --channel extended";
            return Err(PeerError::Incompatible(remedy.to_owned()));
        }
        self.link.send(&OpenStandardMiningChannel {
            request_id: REQUEST_ID,
            user_identity,
            nominal_hash_rate,
            max_target,
        })
    }

    fn take_mining(&mut self, now: Instant, message: Mining) -> Result<(), PeerError> {
        if let State::Mining(channel) = &mut self.state {
            return channel.take(now, message, &mut self.events);
        }
        let State::OpeningChannel { fixed_version } = self.state else {
            return Err(PeerError::Misbehaved("a mining message before the setup"));
        };
        let terms = match message {
            Mining::OpenStandardMiningChannelSuccess(success) => self.standard_terms(&success)?,
            Mining::OpenExtendedMiningChannelSuccess(success) => self.extended_terms(&success)?,
            Mining::OpenMiningChannelError(error) => {
                return Err(refused("the channel", &error.error_code));
            }
            _ => return Err(PeerError::Misbehaved("a mining message before the channel")),
        };
        let channel = Channel::new(ChannelTerms { fixed_version, ..terms }, self.connection);
        self.state = State::Mining(Box::new(channel));
        self.timers.stop(Timer::Opening);
        self.events.push_back(Event::Ready);
        Ok(())
    }

    fn standard_terms(
        &self,
        success: &OpenStandardMiningChannelSuccess,
    ) -> Result<ChannelTerms, PeerError> {
        self.check_answer(ChannelKind::Standard, success.request_id)?;
        Ok(ChannelTerms {
            channel_id: success.channel_id,
            group_channel_id: success.group_channel_id,
            target: success.target,
            extranonce_prefix: success.extranonce_prefix,
            extranonce_bytes: 0,
            fixed_version: false,
        })
    }

    fn extended_terms(
        &self,
        success: &OpenExtendedMiningChannelSuccess,
    ) -> Result<ChannelTerms, PeerError> {
        self.check_answer(ChannelKind::Extended, success.request_id)?;
        let extranonce_bytes = usize::from(success.extranonce_size);
        let all_bytes = success.extranonce_prefix.as_slice().len() + extranonce_bytes;
        let too_few = success.extranonce_size < EXTRANONCE_BYTES_WANTED;
        if too_few || all_bytes > EXTRANONCE_BYTES_MAX {
            return Err(PeerError::Misbehaved("an extranonce of a size that was not asked for"));
        }
        Ok(ChannelTerms {
            channel_id: success.channel_id,
            group_channel_id: success.group_channel_id,
            target: success.target,
            extranonce_prefix: success.extranonce_prefix,
            extranonce_bytes,
            fixed_version: false,
        })
    }

    fn check_answer(&self, kind: ChannelKind, request_id: u32) -> Result<(), PeerError> {
        if request_id == REQUEST_ID && kind == self.device.kind {
            return Ok(());
        }
        Err(PeerError::Misbehaved("an answer to a request that was not made"))
    }
}

fn refused(what: &str, error_code: &Str255) -> PeerError {
    PeerError::Incompatible(format!("the pool refused {what}: {}", error_code.display()))
}

impl Session for Sv2Session {
    type Command = Share;
    type Event = Event;

    fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) -> Result<(), PeerError> {
        self.timers.set(Timer::Silence, now + SILENCE_MAX);
        self.link.receive(bytes)?;
        if matches!(self.state, State::Handshake) && self.link.is_open() {
            self.set_up()?;
        }
        while let Some(frame) = self.link.next_frame()? {
            self.take_frame(now, &frame)?;
        }
        Ok(())
    }

    fn handle_command(&mut self, _now: Instant, share: Share) -> Result<(), PeerError> {
        match &mut self.state {
            State::Mining(channel) => channel.submit(&share, &mut self.link, &mut self.events),
            // A share of an earlier connection.
            _ => Ok(()),
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), PeerError> {
        match self.timers.pop_expired(now) {
            Some(Timer::Opening) => Err(PeerError::TimedOut("no channel was opened")),
            Some(Timer::Silence) => Err(PeerError::TimedOut("the pool sent nothing")),
            None => Ok(()),
        }
    }

    fn poll_transmit(&mut self, out: &mut BytesMut) -> bool {
        self.link.poll_transmit(out)
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }
}
