//! A peer without a will of its own, at the other end of an encrypted SV2 link: it sends the frames
//! that a test gives it and hands over those that come.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::BytesMut;
use wire::session::{PeerError, Session};
use wire::sv2::frame::{EncodedFrame, Frame};
use wire::sv2::link::Link;

/// Its commands are frames to send, its events frames that came.
pub struct ScriptedPeer {
    link: Link,
    received: VecDeque<Frame>,
}

impl ScriptedPeer {
    /// Speaks over `link`, a client's or a server's.
    pub fn new(link: Link) -> Self {
        Self { link, received: VecDeque::new() }
    }
}

impl Session for ScriptedPeer {
    type Command = EncodedFrame;
    type Event = Frame;

    fn handle_bytes(&mut self, _now: Instant, bytes: &[u8]) -> Result<(), PeerError> {
        self.link.receive(bytes)?;
        while let Some(frame) = self.link.next_frame()? {
            self.received.push_back(frame);
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

    fn poll_event(&mut self) -> Option<Frame> {
        self.received.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}
