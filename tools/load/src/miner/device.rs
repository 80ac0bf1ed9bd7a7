//! A miner of either language, so that the crews need not know which it is.

use std::time::Instant;

use bytes::BytesMut;
use wire::session::{PeerError, Session};

use super::v1::V1Miner;
use super::{Event, Miner, Submit};

/// One miner's connection.
pub enum Device {
    /// It speaks Stratum V1.
    V1(Box<V1Miner>),
    /// It speaks Stratum V2.
    V2(Box<Miner>),
}

impl Device {
    /// True once shares can be sent.
    pub fn is_ready(&self) -> bool {
        match self {
            Self::V1(miner) => miner.is_ready(),
            Self::V2(miner) => miner.is_ready(),
        }
    }
}

impl Session for Device {
    type Command = Submit;
    type Event = Event;

    fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) -> Result<(), PeerError> {
        match self {
            Self::V1(miner) => miner.handle_bytes(now, bytes),
            Self::V2(miner) => miner.handle_bytes(now, bytes),
        }
    }

    fn handle_command(&mut self, now: Instant, submit: Submit) -> Result<(), PeerError> {
        match self {
            Self::V1(miner) => miner.handle_command(now, submit),
            Self::V2(miner) => miner.handle_command(now, submit),
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), PeerError> {
        match self {
            Self::V1(miner) => miner.handle_timeout(now),
            Self::V2(miner) => miner.handle_timeout(now),
        }
    }

    fn poll_transmit(&mut self, out: &mut BytesMut) -> bool {
        match self {
            Self::V1(miner) => miner.poll_transmit(out),
            Self::V2(miner) => miner.poll_transmit(out),
        }
    }

    fn poll_event(&mut self) -> Option<Event> {
        match self {
            Self::V1(miner) => miner.poll_event(),
            Self::V2(miner) => miner.poll_event(),
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::V1(miner) => miner.poll_timeout(),
            Self::V2(miner) => miner.poll_timeout(),
        }
    }
}
