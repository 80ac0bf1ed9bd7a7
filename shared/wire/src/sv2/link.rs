//! One encrypted connection: handshake first, frames after.
//!
//! Every SV2 session owns a link. It buffers what has not arrived whole and what has not been sent;
//! it does not know what a message means, and it has no timer: how long a handshake may take is the
//! session's rule.

use bytes::BytesMut;

use super::frame::{EncodedFrame, Frame};
use super::keys::AuthorityKey;
use super::message::Message;
use super::noise::{
    ACT_1_BYTES, ACT_2_BYTES, ClientHandshake, NoiseError, OpenError, ServerIdentity, Transport,
    respond,
};
use crate::session::PeerError;

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
    /// Randomness and the time of the handshake.
    seed: [u8; 32],
    unix_now: u32,
}

enum State {
    AwaitAct1(ServerIdentity),
    AwaitAct2(ClientHandshake),
    Open(Box<Transport>),
    Failed,
}

impl Link {
    /// The server's end. `seed` must be fresh randomness; `unix_now` is in seconds.
    pub fn server(
        identity: ServerIdentity,
        limits: LinkLimits,
        seed: [u8; 32],
        unix_now: u32,
    ) -> Self {
        Self::new(State::AwaitAct1(identity), limits, seed, unix_now)
    }

    /// The client's end: act 1 waits to be sent. Without a key, any server is taken.
    pub fn client(
        authority: Option<AuthorityKey>,
        limits: LinkLimits,
        seed: [u8; 32],
        unix_now: u32,
    ) -> Result<Self, NoiseError> {
        let (act_1, handshake) = ClientHandshake::start(authority, seed)?;
        let mut link = Self::new(State::AwaitAct2(handshake), limits, seed, unix_now);
        link.output.extend_from_slice(&act_1);
        Ok(link)
    }

    fn new(state: State, limits: LinkLimits, seed: [u8; 32], unix_now: u32) -> Self {
        let (input, output) = (BytesMut::new(), BytesMut::new());
        Self { state, input, output, limits, seed, unix_now }
    }

    /// True once frames can be sent.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Takes bytes from the peer and moves the handshake on.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), PeerError> {
        self.input.extend_from_slice(bytes);
        self.state = match std::mem::replace(&mut self.state, State::Failed) {
            State::AwaitAct1(identity) => self.answer_act_1(identity)?,
            State::AwaitAct2(handshake) => self.take_act_2(handshake)?,
            state => state,
        };
        Ok(())
    }

    fn answer_act_1(&mut self, identity: ServerIdentity) -> Result<State, PeerError> {
        let Some(act_1) = self.take_handshake::<ACT_1_BYTES>() else {
            return Ok(State::AwaitAct1(identity));
        };
        let (act_2, transport) = respond(&identity, act_1, self.seed, self.unix_now)?;
        self.output.extend_from_slice(&act_2);
        Ok(State::Open(Box::new(transport)))
    }

    fn take_act_2(&mut self, handshake: ClientHandshake) -> Result<State, PeerError> {
        let Some(act_2) = self.take_handshake::<ACT_2_BYTES>() else {
            return Ok(State::AwaitAct2(handshake));
        };
        Ok(State::Open(Box::new(handshake.finish(act_2, self.unix_now)?)))
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
        self.send_frame(&EncodedFrame::new(message), &[])
    }

    /// Queues a frame made before, with its leading U32s (channel id, job id) replaced by `ids`.
    pub fn send_frame(&mut self, frame: &EncodedFrame, ids: &[u32]) -> Result<(), PeerError> {
        let State::Open(transport) = &mut self.state else {
            return Err(PeerError::Misbehaved("a message before the handshake"));
        };
        if self.output.len() + frame.payload_len() > self.limits.output_bytes_max {
            return Err(PeerError::OverLimit("bytes waiting for a peer that does not read"));
        }
        Ok(transport.seal(frame, ids, &mut self.output)?)
    }

    /// Moves the queued bytes to `out`; false if there were none.
    pub fn poll_transmit(&mut self, out: &mut BytesMut) -> bool {
        if self.output.is_empty() {
            return false;
        }
        out.unsplit(self.output.split());
        true
    }
}
