//! One miner as a V2 pool sees it: handshake, setup, one channel, and shares on demand. `v1` is the
//! same for a V1 server, `device` either of them.
//!
//! It reads of each message what a share needs and no more, for thousands of it run on one
//! thread. It hashes nothing: each share is another header, and the target must take any.

pub mod device;
pub mod v1;

use std::collections::VecDeque;
use std::time::Instant;

use bytes::BytesMut;
use wire::session::{PeerError, Session};
use wire::sv2::codec::{Bytes32, Reader, Str255, Wire};
use wire::sv2::frame::Frame;
use wire::sv2::link::{Link, LinkLimits};
use wire::sv2::message::Message;
use wire::sv2::mining::{
    CloseChannel, NewExtendedMiningJob, NewMiningJob, OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccess, OpenMiningChannelError, OpenStandardMiningChannel,
    OpenStandardMiningChannelSuccess, SetNewPrevHash, SubmitSharesError, SubmitSharesExtended,
    SubmitSharesStandard, SubmitSharesSuccess,
};
use wire::sv2::setup::{
    PROTOCOL_MINING, REQUIRES_STANDARD_JOBS, Setup, SetupConnection, is_setup_message,
};

/// What a link may hold: jobs with many outputs, and a full window of shares.
pub const LIMITS: LinkLimits = LinkLimits { frame_bytes_max: 1 << 17, output_bytes_max: 4 << 20 };
/// Future jobs that are kept; the oldest makes room. Firmware keeps eight.
const FUTURE_JOBS_MAX: usize = 8;
/// Rolled bytes that an extended channel asks for, as a V1 miner behind a proxy has.
const EXTRANONCE_BYTES_WANTED: u16 = 8;
/// What is said of the hashrate: so little that a pool sets the easiest target it has.
const NOMINAL_HASH_RATE: f32 = 1.0;
/// The one request of a connection.
const REQUEST_ID: u32 = 1;
/// A bit that no job's id has within a run: shares that are wrong on purpose name such jobs.
const NO_SUCH_JOB: u32 = 1 << 30;

/// Which channel a miner opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Standard, on a connection that requires standard jobs, as a device's is.
    Standard,
    /// Extended, as a proxy's.
    Extended,
}

/// A share to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submit {
    /// Names the share in the pool's answer, and makes its header another one.
    pub sequence_number: u32,
    /// True: for a job that does not exist, so that the pool must reject it.
    pub is_wrong: bool,
}

/// What the pool did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The channel has its first job: shares can be sent.
    Ready,
    /// Another tip than the first is active.
    Tip {
        /// Its hash.
        prev_hash: [u8; 32],
    },
    /// Shares up to this one are accepted.
    Accepted {
        /// The last of them.
        last_sequence_number: u32,
        /// How many.
        shares: u32,
    },
    /// A share is rejected.
    Rejected {
        /// Which.
        sequence_number: u32,
        /// Why.
        code: Str255,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Handshake,
    AwaitSetup,
    AwaitChannel,
    AwaitWork,
    Ready,
}

#[derive(Debug, Clone, Copy)]
struct Job {
    id: u32,
    version: u32,
    ntime: u32,
}

/// One miner's connection.
pub struct Miner {
    link: Link,
    state: State,
    channel: Channel,
    setup: Option<Box<SetupConnection>>,
    user: Str255,
    channel_id: u32,
    group_channel_id: u32,
    extranonce_bytes: usize,
    future: VecDeque<Job>,
    job: Option<Job>,
    events: VecDeque<Event>,
}

impl Miner {
    /// Starts over `link`, a client's, to the pool at `host` and `port`.
    pub fn new(link: Link, channel: Channel, user: &str, host: &str, port: u16) -> Self {
        let flags = match channel {
            Channel::Standard => REQUIRES_STANDARD_JOBS,
            Channel::Extended => 0,
        };
        let setup = SetupConnection::of_program(PROTOCOL_MINING, flags, host, port, "load");
        Self {
            link,
            state: State::Handshake,
            channel,
            setup: Some(Box::new(setup)),
            user: Str255::truncated(user),
            channel_id: 0,
            group_channel_id: 0,
            extranonce_bytes: 0,
            future: VecDeque::new(),
            job: None,
            events: VecDeque::new(),
        }
    }

    /// True once shares can be sent.
    pub fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    fn take_frame(&mut self, frame: &Frame) -> Result<(), PeerError> {
        let kind = frame.header.message_type;
        if frame.header.extension != 0 {
            return Ok(());
        }
        if is_setup_message(kind) {
            return self.take_setup(Setup::decode(kind, &frame.payload)?);
        }
        let payload = frame.payload.as_ref();
        match kind {
            SubmitSharesSuccess::MESSAGE_TYPE => self.take_success(payload),
            SubmitSharesError::MESSAGE_TYPE => self.take_error(payload),
            NewMiningJob::MESSAGE_TYPE | NewExtendedMiningJob::MESSAGE_TYPE => {
                self.take_job(payload)
            }
            SetNewPrevHash::MESSAGE_TYPE => self.take_prev_hash(payload),
            OpenStandardMiningChannelSuccess::MESSAGE_TYPE => self.take_standard(payload),
            OpenExtendedMiningChannelSuccess::MESSAGE_TYPE => self.take_extended(payload),
            OpenMiningChannelError::MESSAGE_TYPE => {
                let error = OpenMiningChannelError::from_payload(payload)?;
                Err(refused("the channel", &error.error_code))
            }
            CloseChannel::MESSAGE_TYPE => Err(PeerError::Closed("the pool closed the channel")),
            _ => Ok(()),
        }
    }

    fn take_setup(&mut self, message: Setup) -> Result<(), PeerError> {
        match message {
            Setup::SetupConnectionSuccess(_) if self.state == State::AwaitSetup => {
                self.state = State::AwaitChannel;
                self.open_channel()
            }
            Setup::SetupConnectionError(error) => Err(refused("the connection", &error.error_code)),
            Setup::Reconnect(_) => Err(PeerError::Closed("the pool asked to reconnect")),
            _ => Ok(()),
        }
    }

    fn open_channel(&mut self) -> Result<(), PeerError> {
        let (user_identity, max_target) = (self.user.clone(), [0xff; 32]);
        let (request_id, nominal_hash_rate) = (REQUEST_ID, NOMINAL_HASH_RATE);
        match self.channel {
            Channel::Standard => self.link.send(&OpenStandardMiningChannel {
                request_id,
                user_identity,
                nominal_hash_rate,
                max_target,
            }),
            Channel::Extended => self.link.send(&OpenExtendedMiningChannel {
                request_id,
                user_identity,
                nominal_hash_rate,
                max_target,
                min_extranonce_size: EXTRANONCE_BYTES_WANTED,
            }),
        }
    }

    fn take_standard(&mut self, payload: &[u8]) -> Result<(), PeerError> {
        let success = OpenStandardMiningChannelSuccess::from_payload(payload)?;
        self.opened(success.channel_id, success.group_channel_id, 0)
    }

    fn take_extended(&mut self, payload: &[u8]) -> Result<(), PeerError> {
        let success = OpenExtendedMiningChannelSuccess::from_payload(payload)?;
        let extranonce_bytes = usize::from(success.extranonce_size);
        self.opened(success.channel_id, success.group_channel_id, extranonce_bytes)
    }

    fn opened(
        &mut self,
        channel_id: u32,
        group_channel_id: u32,
        extranonce_bytes: usize,
    ) -> Result<(), PeerError> {
        if self.state != State::AwaitChannel {
            return Err(PeerError::Misbehaved("a channel that was not asked for"));
        }
        self.state = State::AwaitWork;
        self.channel_id = channel_id;
        self.group_channel_id = group_channel_id;
        self.extranonce_bytes = extranonce_bytes;
        Ok(())
    }

    fn is_meant(&self, channel_id: u32) -> bool {
        channel_id == self.channel_id || channel_id == self.group_channel_id
    }

    /// Both kinds of jobs begin with the same four fields, and these are all that a share needs.
    fn take_job(&mut self, payload: &[u8]) -> Result<(), PeerError> {
        let mut reader = Reader::new(payload);
        let (channel_id, id) = (u32::decode(&mut reader)?, u32::decode(&mut reader)?);
        let min_ntime = Option::<u32>::decode(&mut reader)?;
        let version = u32::decode(&mut reader)?;
        if !self.is_meant(channel_id) {
            return Ok(());
        }
        match min_ntime {
            Some(ntime) => self.job = Some(Job { id, version, ntime }),
            None => {
                if self.future.len() >= FUTURE_JOBS_MAX {
                    self.future.pop_front();
                }
                self.future.push_back(Job { id, version, ntime: 0 });
            }
        }
        Ok(())
    }

    fn take_prev_hash(&mut self, payload: &[u8]) -> Result<(), PeerError> {
        let message = SetNewPrevHash::from_payload(payload)?;
        if !self.is_meant(message.channel_id) {
            return Ok(());
        }
        let named = self.future.iter().find(|job| job.id == message.job_id);
        let job = named.ok_or(PeerError::Misbehaved("a new tip for a job that was not sent"))?;
        self.job = Some(Job { ntime: message.min_ntime, ..*job });
        self.future.clear();
        if self.state == State::AwaitWork {
            self.state = State::Ready;
            self.events.push_back(Event::Ready);
            return Ok(());
        }
        self.events.push_back(Event::Tip { prev_hash: message.prev_hash });
        Ok(())
    }

    fn take_success(&mut self, payload: &[u8]) -> Result<(), PeerError> {
        let success = SubmitSharesSuccess::from_payload(payload)?;
        self.events.push_back(Event::Accepted {
            last_sequence_number: success.last_sequence_number,
            shares: success.new_submits_accepted_count,
        });
        Ok(())
    }

    fn take_error(&mut self, payload: &[u8]) -> Result<(), PeerError> {
        let error = SubmitSharesError::from_payload(payload)?;
        let (sequence_number, code) = (error.sequence_number, error.error_code);
        self.events.push_back(Event::Rejected { sequence_number, code });
        Ok(())
    }

    fn submit(&mut self, submit: Submit) -> Result<(), PeerError> {
        let job = self.job.ok_or(PeerError::Misbehaved("no job yet"))?;
        let (channel_id, sequence_number) = (self.channel_id, submit.sequence_number);
        let job_id = if submit.is_wrong { job.id ^ NO_SUCH_JOB } else { job.id };
        let Job { version, ntime, .. } = job;
        let nonce = sequence_number;
        if self.channel == Channel::Standard {
            let share =
                SubmitSharesStandard { channel_id, sequence_number, job_id, nonce, ntime, version };
            return self.link.send(&share);
        }
        // Every share rolls its extranonce: the pool must hash the whole merkle path.
        let mut rolled = [0; 32];
        if let Some(start) = rolled.first_chunk_mut() {
            *start = sequence_number.to_le_bytes();
        }
        let rolled = rolled.get(..self.extranonce_bytes).unwrap_or_default();
        let extranonce = Bytes32::new(rolled).unwrap_or_default();
        self.link.send(&SubmitSharesExtended {
            channel_id,
            sequence_number,
            job_id,
            nonce,
            ntime,
            version,
            extranonce,
        })
    }
}

fn refused(what: &str, code: &Str255) -> PeerError {
    PeerError::Incompatible(format!("the pool refused {what}: {}", code.display()))
}

impl Session for Miner {
    type Command = Submit;
    type Event = Event;

    fn handle_bytes(&mut self, _now: Instant, bytes: &[u8]) -> Result<(), PeerError> {
        self.link.receive(bytes)?;
        if self.state == State::Handshake
            && self.link.is_open()
            && let Some(setup) = self.setup.take()
        {
            self.state = State::AwaitSetup;
            self.link.send(setup.as_ref())?;
        }
        while let Some(frame) = self.link.next_frame()? {
            self.take_frame(&frame)?;
        }
        Ok(())
    }

    fn handle_command(&mut self, _now: Instant, submit: Submit) -> Result<(), PeerError> {
        self.submit(submit)
    }

    /// How long an opening may take is the crew's rule.
    fn handle_timeout(&mut self, _now: Instant) -> Result<(), PeerError> {
        Ok(())
    }

    fn poll_transmit(&mut self, out: &mut BytesMut) -> bool {
        self.link.poll_transmit(out)
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

#[cfg(test)]
mod tests;
