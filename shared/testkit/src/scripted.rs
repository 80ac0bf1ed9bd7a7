//! A peer without a will of its own, at the other end of an encrypted SV2 link: it sends the frames
//! that a test gives it and hands over those that come.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::BytesMut;
use wire::session::{PeerError, Session};
use wire::sv2::codec::DecodeError;
use wire::sv2::frame::{EncodedFrame, Frame};
use wire::sv2::link::Link;

/// Its commands are frames to send, its events what it read out of frames that came.
pub struct ScriptedPeer<T> {
    link: Link,
    read: fn(&Frame) -> Result<T, DecodeError>,
    received: VecDeque<T>,
}

impl<T> ScriptedPeer<T> {
    /// Speaks over `link`, a client's or a server's, and reads frames as the test wants to see
    /// them.
    pub fn new(link: Link, read: fn(&Frame) -> Result<T, DecodeError>) -> Self {
        Self { link, read, received: VecDeque::new() }
    }
}

impl<T> Session for ScriptedPeer<T> {
    type Command = EncodedFrame;
    type Event = T;

    fn handle_bytes(&mut self, _now: Instant, bytes: &[u8]) -> Result<(), PeerError> {
        self.link.receive(bytes)?;
        while let Some(frame) = self.link.next_frame()? {
            self.received.push_back((self.read)(&frame)?);
        }
        Ok(())
    }

    fn handle_command(&mut self, _now: Instant, frame: EncodedFrame) -> Result<(), PeerError> {
        self.link.send_frame(&frame, &[])
    }

    fn handle_timeout(&mut self, _now: Instant) -> Result<(), PeerError> {
        Ok(())
    }

    fn poll_transmit(&mut self, out: &mut BytesMut) -> bool {
        self.link.poll_transmit(out)
    }

    fn poll_event(&mut self) -> Option<T> {
        self.received.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}
