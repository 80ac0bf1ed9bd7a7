//! One encrypted connection: handshake first, frames after.
//!
//! Every SV2 session owns a link. It buffers what has not arrived whole and what has not been sent;
//! it does not know what a message means, and it has no timer: how long a handshake may take is the
//! session's rule.

use std::sync::Arc;

use bytes::BytesMut;

use super::frame::{EncodedFrame, Frame, HEADER_BYTES, Header};
use super::keys::AuthorityKey;
use super::message::Message;
use super::noise::{
    ACT_1_BYTES, ACT_2_BYTES, ClientHandshake, OpenError, ServerIdentity, Transport, respond,
};
use crate::session::PeerError;

/// Why a link ends whose peer lets what is sent pile up.
pub const OUTPUT_FULL: &str = "bytes waiting for a peer that does not read";

/// Buffers up to this size are kept for the next message: a job and its tip fit.
const KEPT_BYTES_MAX: usize = 2_048;

/// What a link may hold.
#[derive(Debug, Clone, Copy)]
pub struct LinkLimits {
    /// Longest payload that is accepted, in bytes. A longer one ends the link unread.
    pub frame_bytes_max: usize,
    /// Most bytes that may wait to be sent. A peer that lets them pile up is closed.
    pub output_bytes_max: usize,
}

/// One encrypted connection.
pub struct Link {
    state: State,
    input: BytesMut,
    output: BytesMut,
    limits: LinkLimits,
}

enum State {
    /// With the randomness of the handshake.
    AwaitAct1(Arc<ServerIdentity>, [u8; 32]),
    /// With the time of the handshake, in seconds.
    AwaitAct2(Box<ClientHandshake>, u32),
    Open(Box<Transport>),
    Failed,
}

impl Link {
    /// The server's end. `seed` must be fresh randomness.
    pub fn server(identity: Arc<ServerIdentity>, limits: LinkLimits, seed: [u8; 32]) -> Self {
        Self::new(State::AwaitAct1(identity, seed), limits)
    }

    /// The client's end: act 1 waits to be sent. Without a key, any server is taken. `seed` must be
    /// fresh randomness; `unix_now` is in seconds.
    pub fn client(
        authority: Option<AuthorityKey>,
        limits: LinkLimits,
        seed: [u8; 32],
        unix_now: u32,
    ) -> Self {
        let (act_1, handshake) = ClientHandshake::start(authority, seed);
        let mut link = Self::new(State::AwaitAct2(Box::new(handshake), unix_now), limits);
        link.output.extend_from_slice(&act_1);
        link
    }

    fn new(state: State, limits: LinkLimits) -> Self {
        let (input, output) = (BytesMut::new(), BytesMut::new());
        Self { state, input, output, limits }
    }

    /// True once frames can be sent.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// True while a message, or the handshake, has begun to arrive and is not whole.
    pub fn is_within_frame(&self) -> bool {
        let is_pending = matches!(&self.state, State::Open(transport) if transport.is_pending());
        is_pending || !self.input.is_empty()
    }

    /// Takes bytes from the peer and moves the handshake on.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), PeerError> {
        self.input.extend_from_slice(bytes);
        self.state = match std::mem::replace(&mut self.state, State::Failed) {
            State::AwaitAct1(identity, seed) => self.answer_act_1(identity, seed)?,
            State::AwaitAct2(handshake, unix_now) => self.take_act_2(handshake, unix_now)?,
            state => state,
        };
        Ok(())
    }

    fn answer_act_1(
        &mut self,
        identity: Arc<ServerIdentity>,
        seed: [u8; 32],
    ) -> Result<State, PeerError> {
        let Some(act_1) = self.take_handshake::<ACT_1_BYTES>() else {
            return Ok(State::AwaitAct1(identity, seed));
        };
        let (act_2, transport) = respond(&identity, act_1, seed)?;
        self.output.extend_from_slice(&act_2);
        Ok(State::Open(Box::new(transport)))
    }

    fn take_act_2(
        &mut self,
        handshake: Box<ClientHandshake>,
        unix_now: u32,
    ) -> Result<State, PeerError> {
        let Some(act_2) = self.take_handshake::<ACT_2_BYTES>() else {
            return Ok(State::AwaitAct2(handshake, unix_now));
        };
        Ok(State::Open(Box::new(handshake.finish(act_2, unix_now)?)))
    }

    fn take_handshake<const N: usize>(&mut self) -> Option<[u8; N]> {
        let act = *self.input.first_chunk::<N>()?;
        let _ = self.input.split_to(N);
        Some(act)
    }

    /// Takes the next frame that has arrived whole.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, PeerError> {
        let State::Open(transport) = &mut self.state else {
            return Ok(None);
        };
        let opened = transport.open(&mut self.input, self.limits.frame_bytes_max);
        opened.map_err(|error| match error {
            OpenError::Noise(error) => error.into(),
            OpenError::Frame(error) => error.into(),
        })
    }

    /// Queues a message.
    pub fn send<M: Message>(&mut self, message: &M) -> Result<(), PeerError> {
        self.seal(|length| Header::of::<M>(length).to_bytes(), |out| message.encode(out))
    }

    /// Queues a message with fields of extensions appended to it (spec 3.4.3).
    pub fn send_with<M: Message>(&mut self, message: &M, appended: &[u8]) -> Result<(), PeerError> {
        let put = |out: &mut BytesMut| {
            message.encode(out);
            out.extend_from_slice(appended);
        };
        self.seal(|length| Header::of::<M>(length).to_bytes(), put)
    }

    /// Queues a frame made before, with its leading U32s (channel id, job id) replaced by `ids`.
    pub fn send_frame(&mut self, frame: &EncodedFrame, ids: &[u32]) -> Result<(), PeerError> {
        self.seal(|_| *frame.header(), |out| frame.put_payload(ids, out))
    }

    fn seal(
        &mut self,
        header: impl FnOnce(usize) -> [u8; HEADER_BYTES],
        put: impl FnOnce(&mut BytesMut),
    ) -> Result<(), PeerError> {
        let State::Open(transport) = &mut self.state else {
            return Err(PeerError::Misbehaved("a message before the handshake"));
        };
        match transport.seal(&mut self.output, self.limits.output_bytes_max, header, put)? {
            true => Ok(()),
            false => Err(PeerError::OverLimit(OUTPUT_FULL)),
        }
    }

    /// Moves the queued bytes to `out`; false if there were none.
    pub fn poll_transmit(&mut self, out: &mut BytesMut) -> bool {
        if self.output.is_empty() {
            return false;
        }
        if out.is_empty() && self.output.capacity() <= KEPT_BYTES_MAX {
            // The two buffers change places, so that neither is ever allocated again.
            std::mem::swap(out, &mut self.output);
        } else {
            out.unsplit(self.output.split());
        }
        true
    }
}
