//! The state machine of one miner's connection: what happens, and who deals with it.
//!
//! The connection owns its channels: no lock and no other task stands between a share and its
//! verdict. Shares leave as events and are acknowledged when the program says that they are
//! durable; blocks leave first.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use tracing::{debug, trace};
use wire::session::{PeerError, Session};
use wire::sv2::codec::{DecodeError, Str255};
use wire::sv2::frame::Frame;
use wire::sv2::message::Message;
use wire::sv2::mining::{
    ERROR_JD_NOT_SUPPORTED, Mining, SetCustomMiningJob, SetCustomMiningJobError,
    SubmitSharesExtended,
};
use wire::sv2::setup::{
    PROTOCOL_MINING, REQUIRES_STANDARD_JOBS, REQUIRES_VERSION_ROLLING, Setup, SetupConnection,
    SetupConnectionSuccess, VERSION, is_setup_message,
};

use super::close::REASON_DISMISSED;
use super::connection::{Command, Downstream, Event, State, Timer};
use super::limits::Limit;
use super::pace::Taken;
use super::request::OpenRequest;

/// Every SetupConnection flag that this pool serves. REQUIRES_WORK_SELECTION waits for job
/// declaration.
const SUPPORTED_FLAGS: u32 = REQUIRES_STANDARD_JOBS | REQUIRES_VERSION_ROLLING;
/// How often the channels' vardiff is asked, and channels and their rejected shares are reported.
const VARDIFF_INTERVAL: Duration = Duration::from_secs(5);

impl Downstream {
    fn handle_frame(&mut self, now: Instant, frame: &Frame) -> Result<(), PeerError> {
        let kind = frame.header.message_type;
        if frame.header.extension != 0 {
            return self.handle_extension(frame);
        }
        match (self.state, is_setup_message(kind)) {
            (State::Over, _) => Ok(()),
            (State::AwaitSetup, true) => {
                self.handle_setup(now, Setup::decode(kind, &frame.payload)?)
            }
            (State::Open { .. }, false)
                if self.names_workers && kind == SubmitSharesExtended::MESSAGE_TYPE =>
            {
                self.submit_of_worker(now, &frame.payload)
            }
            (State::Open { .. }, false) => match Mining::decode(kind, &frame.payload) {
                Ok(message) => self.handle_message(now, message),
                Err(DecodeError::UnknownMessage(kind)) => {
                    debug!(kind, "message of an unknown type ignored");
                    Ok(())
                }
                Err(error) => Err(error.into()),
            },
            (State::Open { .. }, true) if kind == SetupConnection::MESSAGE_TYPE => {
                Err(PeerError::Misbehaved("a second SetupConnection"))
            }
            // ChannelEndpointChanged among them: no extension that is spoken here has a state of
            // its own on a channel (spec 3.6.4).
            (State::Open { .. }, true) => {
                debug!(kind, "common message ignored");
                Ok(())
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
            self.state = State::Over;
            return self.link.send(&refusal);
        }
        debug!(vendor = ?message.vendor, hardware = ?message.hardware_version,
            firmware = ?message.firmware, flags = message.flags, "connection set up");
        let standard_jobs_only = message.flags & REQUIRES_STANDARD_JOBS != 0;
        self.state = State::Open { standard_jobs_only };
        self.expect_channel(now);
        self.link.send(&SetupConnectionSuccess { used_version: VERSION, flags: 0 })
    }

    fn handle_message(&mut self, now: Instant, message: Mining) -> Result<(), PeerError> {
        trace!(message = message.name(), "received");
        match message {
            Mining::SubmitSharesStandard(share) => self.submit_standard(now, &share),
            Mining::SubmitSharesExtended(share) => self.submit_extended(now, &share, Ok("")),
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

    /// Without a channel, and without a request for one, the time for the first one starts anew.
    pub(super) fn await_first_channel(&mut self, now: Instant) {
        if self.channels.is_empty() && self.waiting.is_empty() {
            self.expect_channel(now);
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
        if self.channels.len() == 1 {
            self.events.push_back(Event::Settled);
        }
        if !self.timers.is_set(Timer::Vardiff) {
            self.timers.set(Timer::Vardiff, now + VARDIFF_INTERVAL);
        }
    }

    /// A connection without a channel is of no use to anybody after a while (spec 5.3.2).
    fn expect_channel(&mut self, now: Instant) {
        let patience = Duration::from_secs(self.settings.limits.first_channel_seconds);
        self.timers.set(Timer::FirstChannel, now + patience);
    }

    fn check_vardiff(&mut self, now: Instant) -> Result<(), PeerError> {
        self.timers.set(Timer::Vardiff, now + VARDIFF_INTERVAL);
        self.report_rejects();
        self.report_channels();
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
        let mut taken = Taken::default();
        while let Some(frame) = self.link.next_frame()? {
            taken.count(frame.header.message_type);
            self.handle_frame(now, &frame)?;
        }
        self.pace(now, &taken);
        Ok(())
    }

    fn handle_command(&mut self, now: Instant, command: Command) -> Result<(), PeerError> {
        match command {
            Command::Work(work) => self.take_work(now, &work),
            Command::Committed(count) => self.acknowledge(count),
            Command::Leave => self.leave(now),
            Command::Dismiss => self.close_all(REASON_DISMISSED),
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), PeerError> {
        while let Some(timer) = self.timers.pop_expired(now) {
            match timer {
                Timer::Setup => return Err(Limit::Setup.error()),
                Timer::FirstChannel if self.waiting.is_empty() => {
                    return Err(Limit::FirstChannel.error());
                }
                // Whoever waits for work has asked for a channel.
                Timer::FirstChannel => self.expect_channel(now),
                Timer::Vardiff => {
                    self.check_silence(now)?;
                    self.check_vardiff(now)?;
                }
                Timer::Linger => self.state = State::Over,
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

    fn poll_pause(&self) -> Option<Instant> {
        self.paused_until()
    }

    fn is_finished(&self) -> bool {
        self.state == State::Over
    }
}
