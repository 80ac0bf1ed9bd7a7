//! Shares up and verdicts back; the workers' names in them; and whether anybody is still there.
//!
//! A share without a verdict proves nothing, for pools answer in batches. But an upstream that says
//! nothing at all is asked something that every pool has to answer, and left if it does not.

use std::time::{Duration, Instant};

use mining::target::Target;
use wire::session::PeerError;
use wire::sv2::codec::{DecodeError, List, Str255};
use wire::sv2::extensions::{
    FIELD_USER_IDENTITY, NEGOTIATION, Negotiation, RequestExtensions, Tlv,
    WORKER_HASHRATE_TRACKING, put_tlv,
};
use wire::sv2::frame::Frame;
use wire::sv2::mining::{OpenExtendedMiningChannel, SubmitSharesExtended};

use super::Event;
use super::session::{Phase, Timer, UpstreamSession};
use super::waiting::Waiting;
use crate::bridge::submit::{UpstreamShare, Verdict, worker_field};

/// While shares wait for verdicts, an upstream that is silent for so long is asked for a sign of
/// life.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// So long it has for one.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// More than any pool has.
const IMPOSSIBLE_EXTRANONCE_BYTES: u16 = u16::MAX;

impl<T> UpstreamSession<T> {
    /// Asks for the extension with which shares name their workers. The answer may come later, or
    /// never, and changes nothing but the names.
    pub(super) fn ask_for_extensions(&mut self) -> Result<(), PeerError> {
        if !self.settings.names_workers {
            return Ok(());
        }
        let requested_extensions = List::new(vec![WORKER_HASHRATE_TRACKING]).unwrap_or_default();
        self.link.send(&RequestExtensions { request_id: 1, requested_extensions })
    }

    pub(super) fn take_extension(&mut self, frame: &Frame) -> Result<(), PeerError> {
        if frame.header.extension != NEGOTIATION {
            return Ok(());
        }
        match Negotiation::decode(frame.header.message_type, &frame.payload) {
            Ok(Negotiation::RequestExtensionsSuccess(success)) => {
                let supported = success.supported_extensions;
                self.names_workers = supported.as_slice().contains(&WORKER_HASHRATE_TRACKING);
                Ok(())
            }
            Ok(_) | Err(DecodeError::UnknownMessage(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// A share has waited for a while.
    pub(super) fn look_at_silence(&mut self, now: Instant) -> Result<(), PeerError> {
        if self.waiting.next_deadline().is_none() && !self.teams.have_shares_waiting() {
            return Ok(());
        }
        let silent_since = self.heard;
        if silent_since + SILENCE_MAX > now {
            self.timers.set(Timer::Silence, silent_since + SILENCE_MAX);
            return Ok(());
        }
        self.timers.set(Timer::Silence, now + SILENCE_MAX);
        self.timers.set(Timer::Answer, now + ANSWER_MAX);
        // A channel that no pool can open: the answer is a refusal, whatever else it is busy with.
        let request_id = self.next_request_id;
        self.next_request_id = request_id.wrapping_add(1);
        self.link.send(&OpenExtendedMiningChannel {
            request_id,
            user_identity: Str255::truncated(&self.settings.user_identity),
            nominal_hash_rate: 0.0,
            max_target: Target::MAX.to_le_bytes(),
            min_extranonce_size: IMPOSSIBLE_EXTRANONCE_BYTES,
        })
    }

    pub(super) fn refuse_waiting(&mut self) {
        let verdict = |ticket| Event::Verdict { ticket, verdict: Verdict::UpstreamLost };
        self.events.extend(self.waiting.drain().map(verdict));
    }

    /// The shares of that channel that wait.
    pub(super) fn waiting_of(&mut self, channel_id: u32) -> Option<&mut Waiting<T>> {
        match &self.phase {
            Phase::Open(channel) if channel.answers_to(channel_id) => Some(&mut self.waiting),
            _ => self.teams.waiting_of(channel_id),
        }
    }

    pub(super) fn accept_up_to(&mut self, channel_id: u32, sequence: u32) {
        let Some(waiting) = self.waiting_of(channel_id) else { return };
        let accepted: Vec<_> = std::iter::from_fn(|| waiting.pop_accepted(sequence)).collect();
        let verdict = |ticket| Event::Verdict { ticket, verdict: Verdict::Accepted };
        self.events.extend(accepted.into_iter().map(verdict));
    }

    pub(super) fn submit(
        &mut self,
        now: Instant,
        share: UpstreamShare,
        worker: &str,
        ticket: T,
    ) -> Result<(), PeerError> {
        let refuse = |ticket, verdict| Event::Verdict { ticket, verdict };
        let deadline = now + self.settings.share_answer_max;
        let (team, channel_id, waiting) = match &self.phase {
            Phase::Open(channel) if channel.terms.epoch == share.epoch => {
                (None, channel.id, &mut self.waiting)
            }
            _ => match self.teams.of_epoch(share.epoch) {
                Some((team, channel_id, waiting)) => (Some(team), channel_id, waiting),
                None => {
                    self.events.push_back(refuse(ticket, Verdict::UpstreamLost));
                    return Ok(());
                }
            },
        };
        let is_first = waiting.next_deadline().is_none();
        let sequence_number = match waiting.push(ticket, deadline) {
            Ok(sequence) => sequence,
            Err(ticket) => {
                self.events.push_back(refuse(ticket, Verdict::TooManyWaiting));
                // A block is worth more than a verdict on it.
                if !share.is_block {
                    return Ok(());
                }
                waiting.number()
            }
        };
        if let Some(team) = team.filter(|_| is_first) {
            self.teams.set_alarm(deadline, team);
        }
        if !self.timers.is_set(Timer::Silence) {
            self.timers.set(Timer::Silence, now + SILENCE_MAX);
        }
        let message = SubmitSharesExtended {
            channel_id,
            sequence_number,
            job_id: share.job_id,
            nonce: share.nonce,
            ntime: share.ntime,
            version: share.version,
            extranonce: share.extranonce,
        };
        let mut appended = Vec::new();
        let name = worker_field(worker);
        if self.names_workers && !name.is_empty() {
            let (extension, field) = (WORKER_HASHRATE_TRACKING, FIELD_USER_IDENTITY);
            put_tlv(&mut appended, &Tlv { extension, field, value: name.as_bytes() });
        }
        self.link.send_with(&message, &appended)
    }
}
