//! One miner with its socket, its unsent bytes and its shares in flight.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::time::Instant;

use bytes::{Buf, BytesMut};
use mio::net::TcpStream;
use wire::session::{PeerError, Session};

use super::{Kinds, Target};
use crate::miner::device::Device;
use crate::miner::{Event, Submit};
use crate::tally::Tally;

/// Shares in flight on one connection at which no more are sent.
const IN_FLIGHT_MAX: usize = 1 << 14;

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error("the server closed the connection")]
    Closed,
    #[error("the connection failed: {0}")]
    Stream(#[from] io::Error),
    #[error(transparent)]
    Session(#[from] PeerError),
}

/// One miner at work.
pub(super) struct Seat {
    pub(super) stream: TcpStream,
    miner: Device,
    out: BytesMut,
    /// Sequence number and moment of sending, oldest first.
    in_flight: VecDeque<(u32, Instant)>,
    sequence_number: u32,
    /// Sent and acknowledged since the last report.
    sent: u64,
    acknowledged: u64,
    since: Instant,
    pub(super) is_visitor: bool,
}

/// What is of interest to the crew after a turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) is_now_ready: bool,
    pub(super) tips: u64,
    pub(super) accepted: u64,
}

impl Seat {
    /// Starts to connect.
    pub(super) fn connect(
        target: &Target,
        kinds: Kinds,
        number: usize,
        is_visitor: bool,
    ) -> Result<Self, Lost> {
        let since = Instant::now();
        let stream = TcpStream::connect(target.address)?;
        stream.set_nodelay(true)?;
        let miner = kinds.device(number, target);
        Ok(Self {
            stream,
            miner,
            out: BytesMut::new(),
            in_flight: VecDeque::new(),
            sequence_number: 0,
            sent: 0,
            acknowledged: 0,
            since,
            is_visitor,
        })
    }

    pub(super) fn is_ready(&self) -> bool {
        self.miner.is_ready()
    }

    /// Reads once into `buffer`; gives how many bytes, none if nothing is there.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Lost> {
        match self.stream.read(buffer) {
            Ok(0) => Err(Lost::Closed),
            Ok(read) => Ok(read),
            Err(error) if is_not_yet(&error) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Acts on `bytes` that were read at `at`.
    pub(super) fn take(
        &mut self,
        at: Instant,
        bytes: &[u8],
        tally: &mut Tally,
    ) -> Result<Turn, Lost> {
        let mut turn = Turn::default();
        let handled = self.miner.handle_bytes(at, bytes);
        while let Some(event) = self.miner.poll_event() {
            self.take_event(at, event, tally, &mut turn);
        }
        handled?;
        Ok(turn)
    }

    fn take_event(&mut self, now: Instant, event: Event, tally: &mut Tally, turn: &mut Turn) {
        match event {
            Event::Ready => {
                turn.is_now_ready = true;
                if !self.is_visitor {
                    tally.opening.record(now.saturating_duration_since(self.since));
                }
            }
            Event::Tip { prev_hash } => {
                turn.tips += 1;
                if !self.is_visitor {
                    let name = prev_hash.first_chunk().copied().map_or(0, u32::from_le_bytes);
                    tally.receive(name, now);
                }
            }
            Event::Accepted { last_sequence_number, shares } => {
                turn.accepted += u64::from(shares);
                tally.accepted += u64::from(shares);
                self.acknowledged += u64::from(shares);
                while let Some((number, sent)) = self.in_flight.front().copied()
                    && !is_after(number, last_sequence_number)
                {
                    self.in_flight.pop_front();
                    tally.acknowledging.record(now.saturating_duration_since(sent));
                }
            }
            Event::Rejected { sequence_number, code } => {
                tally.rejected.count(&code.display());
                let place = self.in_flight.iter().position(|(sent, _)| *sent == sequence_number);
                if let Some((_, sent)) = place.and_then(|place| self.in_flight.remove(place)) {
                    tally.rejecting.record(now.saturating_duration_since(sent));
                }
            }
        }
    }

    /// Queues a share, unless too many are in flight or there is no channel yet; says whether.
    pub(super) fn submit(
        &mut self,
        now: Instant,
        is_wrong: bool,
        tally: &mut Tally,
    ) -> Result<bool, Lost> {
        if !self.is_ready() || self.in_flight.len() >= IN_FLIGHT_MAX {
            return Ok(false);
        }
        self.sequence_number = self.sequence_number.wrapping_add(1);
        let sequence_number = self.sequence_number;
        self.miner.handle_command(now, Submit { sequence_number, is_wrong })?;
        self.in_flight.push_back((sequence_number, now));
        self.sent += 1;
        tally.sent += 1;
        Ok(true)
    }

    /// Queues shares until `window` are in flight.
    pub(super) fn fill(&mut self, window: usize, tally: &mut Tally) -> Result<(), Lost> {
        if self.in_flight.len() >= window {
            return Ok(());
        }
        let now = Instant::now();
        while self.in_flight.len() < window && self.submit(now, false, tally)? {}
        Ok(())
    }

    /// Writes as much as the socket takes; the rest goes when it can be written again.
    pub(super) fn flush(&mut self) -> Result<(), Lost> {
        while self.miner.poll_transmit(&mut self.out) {}
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(written) => self.out.advance(written),
                Err(error) if is_not_yet(&error) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Acknowledged shares since the last call, if any were sent.
    pub(super) fn take_acknowledged(&mut self) -> Option<u64> {
        let (sent, acknowledged) = (self.sent, self.acknowledged);
        (self.sent, self.acknowledged) = (0, 0);
        (sent > 0).then_some(acknowledged)
    }
}

/// A socket that is not connected yet says NotConnected.
fn is_not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected | ErrorKind::Interrupted)
}

/// Sequence numbers wrap.
fn is_after(number: u32, other: u32) -> bool {
    let ahead = number.wrapping_sub(other);
    ahead != 0 && ahead < 1 << 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_are_compared_across_their_wrap() {
        assert!(is_after(2, 1) && !is_after(1, 1) && !is_after(1, 2));
        assert!(is_after(1, u32::MAX) && !is_after(u32::MAX, 1));
    }
}
