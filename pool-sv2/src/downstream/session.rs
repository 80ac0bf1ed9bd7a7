//! The state machine of one miner's connection: what happens, and who deals with it.
//!
//! The connection owns its channels: no lock and no other task stands between a share and its
//! verdict. Shares leave as events and are acknowledged when the program says that they are
//! durable; blocks leave first.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use tracing::{debug, info, trace};
use wire::session::{PeerError, Session};
use wire::sv2::codec::{DecodeError, Str255};
use wire::sv2::frame::Frame;
use wire::sv2::mining::{
    CloseChannel, ERROR_JD_NOT_SUPPORTED, Mining, SetCustomMiningJob, SetCustomMiningJobError,
};
use wire::sv2::setup::{
    PROTOCOL_MINING, REQUIRES_STANDARD_JOBS, REQUIRES_VERSION_ROLLING, Setup,
    SetupConnectionSuccess, VERSION, is_setup_message,
};

use super::connection::{Command, Downstream, Event, GROUP_CHANNEL_ID, State, Timer};
use super::request::OpenRequest;

/// Every SetupConnection flag that this pool serves. REQUIRES_WORK_SELECTION waits for job
/// declaration.
const SUPPORTED_FLAGS: u32 = REQUIRES_STANDARD_JOBS | REQUIRES_VERSION_ROLLING;
/// A connection without a channel is of no use to anybody after this (spec 5.3.2).
const FIRST_CHANNEL_MAX: Duration = Duration::from_secs(60);
/// How often the channels' vardiff is asked.
const VARDIFF_INTERVAL: Duration = Duration::from_secs(5);

impl Downstream {
    fn handle_frame(&mut self, now: Instant, frame: &Frame) -> Result<(), PeerError> {
        let kind = frame.header.message_type;
        if frame.header.extension != 0 {
            // Unknown extensions are to be discarded (spec 3.4.1).
            debug!(extension = frame.header.extension, "message of an unknown extension ignored");
            return Ok(());
        }
        match (self.state, is_setup_message(kind)) {
            (State::Refused, _) => Ok(()),
            (State::AwaitSetup, true) => {
                self.handle_setup(now, Setup::decode(kind, &frame.payload)?)
            }
            (State::Open { .. }, false) => match Mining::decode(kind, &frame.payload) {
                Ok(message) => self.handle_message(now, message),
                Err(DecodeError::UnknownMessage(kind)) => {
                    debug!(kind, "message of an unknown type ignored");
                    Ok(())
                }
                Err(error) => Err(error.into()),
            },
            (State::Open { .. }, true) => {
                Err(PeerError::Misbehaved("a common message after the setup"))
            }
            (State::Handshake | State::AwaitSetup, _) => {
                Err(PeerError::Misbehaved("the first message must be SetupConnection"))
            }
        }
    }

    fn handle_setup(&mut self, now: Instant, message: Setup) -> Result<(), PeerError> {
        let Setup::SetupConnection(message) = message else {
            return Err(PeerError::Misbehaved("the first message must be SetupConnection"));
        };
        self.timers.stop(Timer::Setup);
        if let Some(refusal) = message.refusal(PROTOCOL_MINING, SUPPORTED_FLAGS) {
            debug!(code = %refusal.error_code.display(), "connection refused");
            self.state = State::Refused;
            return self.link.send(&refusal);
        }
        debug!(vendor = ?message.vendor, hardware = ?message.hardware_version,
            firmware = ?message.firmware, flags = message.flags, "connection set up");
        let standard_jobs_only = message.flags & REQUIRES_STANDARD_JOBS != 0;
        self.state = State::Open { standard_jobs_only };
        self.timers.set(Timer::FirstChannel, now + FIRST_CHANNEL_MAX);
        self.link.send(&SetupConnectionSuccess { used_version: VERSION, flags: 0 })
    }

    fn handle_message(&mut self, now: Instant, message: Mining) -> Result<(), PeerError> {
        trace!(message = message.name(), "received");
        match message {
            Mining::SubmitSharesStandard(share) => self.submit_standard(now, &share),
            Mining::SubmitSharesExtended(share) => self.submit_extended(now, &share),
            Mining::OpenStandardMiningChannel(request) => {
                self.request_channel(now, OpenRequest::standard(request))
            }
            Mining::OpenExtendedMiningChannel(request) => {
                self.request_channel(now, OpenRequest::extended(request))
            }
            Mining::UpdateChannel(update) => self.update_channel(now, &update),
            Mining::CloseChannel(close) => {
                self.close_channel(now, &close);
                Ok(())
            }
            Mining::SetCustomMiningJob(request) => self.refuse_custom_job(&request),
            other => {
                debug!(message = other.name(), "message ignored that only a server sends");
                Ok(())
            }
        }
    }

    /// Closes a channel, or all of them if the group is named (spec 5.3.9).
    fn close_channel(&mut self, now: Instant, close: &CloseChannel) {
        let reason = &close.reason_code;
        if close.channel_id == GROUP_CHANNEL_ID {
            info!(channels = self.channels.len(), ?reason, "channels closed");
            self.channels.clear();
        } else if let Some(closed) = self.channels.remove(&close.channel_id) {
            info!(channel = close.channel_id, user = %closed.user, ?reason, "channel closed");
        }
        if self.channels.is_empty() && self.waiting.is_empty() {
            self.timers.set(Timer::FirstChannel, now + FIRST_CHANNEL_MAX);
        }
    }

    fn refuse_custom_job(&mut self, request: &SetCustomMiningJob) -> Result<(), PeerError> {
        self.link.send(&SetCustomMiningJobError {
            channel_id: request.channel_id,
            request_id: request.request_id,
            error_code: Str255::from(ERROR_JD_NOT_SUPPORTED),
        })
    }

    /// A channel is open: watch its difficulty, and stop waiting for the first one.
    pub(super) fn channel_opened(&mut self, now: Instant) {
        self.timers.stop(Timer::FirstChannel);
        if !self.timers.is_set(Timer::Vardiff) {
            self.timers.set(Timer::Vardiff, now + VARDIFF_INTERVAL);
        }
    }

    fn check_vardiff(&mut self, now: Instant) -> Result<(), PeerError> {
        self.timers.set(Timer::Vardiff, now + VARDIFF_INTERVAL);
        let wanted: Vec<_> = self
            .channels
            .iter_mut()
            .filter_map(|(id, open)| Some((*id, open.vardiff.check(now)?)))
            .collect();
        wanted.into_iter().try_for_each(|(id, target)| self.retarget(now, id, target))
    }
}

impl Session for Downstream {
    type Command = Command;
    type Event = Event;

    fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) -> Result<(), PeerError> {
        self.link.receive(bytes)?;
        if self.state == State::Handshake && self.link.is_open() {
            self.state = State::AwaitSetup;
        }
        while let Some(frame) = self.link.next_frame()? {
            self.handle_frame(now, &frame)?;
        }
        Ok(())
    }

    fn handle_command(&mut self, now: Instant, command: Command) -> Result<(), PeerError> {
        match command {
            Command::Work(work) => self.take_work(now, &work),
            Command::Committed(count) => self.acknowledge(count),
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), PeerError> {
        while let Some(timer) = self.timers.pop_expired(now) {
            match timer {
                Timer::Setup => return Err(PeerError::TimedOut("no SetupConnection in time")),
                Timer::FirstChannel if self.waiting.is_empty() => {
                    return Err(PeerError::TimedOut("no channel was opened in time"));
                }
                // Whoever waits for work has asked for a channel.
                Timer::FirstChannel => self.timers.set(timer, now + FIRST_CHANNEL_MAX),
                Timer::Vardiff => self.check_vardiff(now)?,
            }
        }
        Ok(())
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

    fn is_finished(&self) -> bool {
        self.state == State::Refused
    }
}
